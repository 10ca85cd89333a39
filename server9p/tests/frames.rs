//! Every message survives the wire, and no frame hurts a session.

mod common;

use std::{fs, io::Write, sync::LazyLock};

use common::{Server, Wire};
use proptest::prelude::*;
use rs9p::*;
use server9p::{profile::Profile, wire};

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| wire::from_wire(&bytes))
}

fn qid() -> impl Strategy<Value = QId> {
    (any::<u8>(), any::<u32>(), any::<u64>()).prop_map(|(typ, version, path)| QId {
        typ: QIdType::from_bits_truncate(typ),
        version,
        path,
    })
}

fn time() -> impl Strategy<Value = Time> {
    any::<(u64, u64)>().prop_map(|(sec, nsec)| Time { sec, nsec })
}

fn flock() -> impl Strategy<Value = Flock> {
    (0..3u8, 0..4u32, any::<(u64, u64, u32)>(), name()).prop_map(
        |(typ, flags, (start, length, proc_id), client_id)| {
            let (typ, flags) = (
                LockType::from_bits_truncate(typ),
                LockFlag::from_bits_truncate(flags),
            );
            Flock {
                typ,
                flags,
                start,
                length,
                proc_id,
                client_id,
            }
        },
    )
}

fn getlock() -> impl Strategy<Value = Getlock> {
    flock().prop_map(|lock| Getlock {
        typ: lock.typ,
        start: lock.start,
        length: lock.length,
        proc_id: lock.proc_id,
        client_id: lock.client_id,
    })
}

type Numbers = (u32, u32, u32, u32, u32);

/// Every request there is. What the server's decoder leaves in the frame (a Twrite's data) is empty here.
fn request() -> impl Strategy<Value = FCall> {
    let n = any::<Numbers>;
    prop_oneof![
        n().prop_map(|(fid, ..)| FCall::TStatFs { fid }),
        n().prop_map(|(fid, flags, ..)| FCall::TlOpen { fid, flags }),
        (n(), name()).prop_map(|((fid, flags, mode, gid, _), name)| FCall::TlCreate {
            fid,
            name,
            flags,
            mode,
            gid
        }),
        (n(), name(), name()).prop_map(|((fid, gid, ..), name, symtgt)| FCall::TSymlink {
            fid,
            name,
            symtgt,
            gid
        }),
        (n(), name()).prop_map(|((dfid, mode, major, minor, gid), name)| FCall::TMkNod {
            dfid,
            name,
            mode,
            major,
            minor,
            gid
        }),
        (n(), name()).prop_map(|((fid, dfid, ..), name)| FCall::TRename { fid, dfid, name }),
        n().prop_map(|(fid, ..)| FCall::TReadLink { fid }),
        (n(), any::<u64>()).prop_map(|((fid, ..), mask)| FCall::TGetAttr {
            fid,
            req_mask: GetAttrMask::from_bits_truncate(mask)
        }),
        (n(), any::<u64>(), time(), time()).prop_map(
            |((fid, valid, mode, uid, gid), size, atime, mtime)| {
                let stat = SetAttr {
                    mode,
                    uid,
                    gid,
                    size,
                    atime,
                    mtime,
                };
                FCall::TSetAttr {
                    fid,
                    valid: SetAttrMask::from_bits_truncate(valid),
                    stat,
                }
            }
        ),
        (n(), name()).prop_map(|((fid, newfid, ..), name)| FCall::TxAttrWalk { fid, newfid, name }),
        (n(), name(), any::<u64>()).prop_map(|((fid, flags, ..), name, attr_size)| {
            FCall::TxAttrCreate {
                fid,
                name,
                attr_size,
                flags,
            }
        }),
        (n(), any::<u64>()).prop_map(|((fid, count, ..), offset)| FCall::TReadDir {
            fid,
            offset,
            count
        }),
        n().prop_map(|(fid, ..)| FCall::TFSync { fid }),
        (n(), flock()).prop_map(|((fid, ..), flock)| FCall::TLock { fid, flock }),
        (n(), getlock()).prop_map(|((fid, ..), flock)| FCall::TGetLock { fid, flock }),
        (n(), name()).prop_map(|((dfid, fid, ..), name)| FCall::TLink { dfid, fid, name }),
        (n(), name()).prop_map(|((dfid, mode, gid, ..), name)| FCall::TMkDir {
            dfid,
            name,
            mode,
            gid
        }),
        (n(), name(), name()).prop_map(|((olddirfid, newdirfid, ..), oldname, newname)| {
            FCall::TRenameAt {
                olddirfid,
                oldname,
                newdirfid,
                newname,
            }
        }),
        (n(), name()).prop_map(|((dirfd, flags, ..), name)| FCall::TUnlinkAt {
            dirfd,
            name,
            flags
        }),
        (n(), name(), name()).prop_map(|((afid, n_uname, ..), uname, aname)| FCall::TAuth {
            afid,
            uname,
            aname,
            n_uname
        }),
        (n(), name(), name()).prop_map(|((fid, afid, n_uname, ..), uname, aname)| FCall::TAttach {
            fid,
            afid,
            uname,
            aname,
            n_uname
        }),
        (n(), name()).prop_map(|((msize, ..), version)| FCall::TVersion { msize, version }),
        any::<u16>().prop_map(|oldtag| FCall::TFlush { oldtag }),
        (n(), proptest::collection::vec(name(), 0..20)).prop_map(|((fid, newfid, ..), wnames)| {
            FCall::TWalk {
                fid,
                newfid,
                wnames,
            }
        }),
        (n(), any::<u64>()).prop_map(|((fid, count, ..), offset)| FCall::TRead {
            fid,
            offset,
            count
        }),
        (n(), any::<u64>()).prop_map(|((fid, ..), offset)| FCall::TWrite {
            fid,
            offset,
            data: Data(vec![])
        }),
        n().prop_map(|(fid, ..)| FCall::TClunk { fid }),
        n().prop_map(|(fid, ..)| FCall::TRemove { fid }),
    ]
}

/// Every reply there is.
fn reply() -> impl Strategy<Value = FCall> {
    let n = any::<Numbers>;
    let entry =
        (qid(), any::<u64>(), any::<u8>(), name()).prop_map(|(qid, offset, typ, name)| DirEntry {
            qid,
            offset,
            typ,
            name,
        });
    prop_oneof![
        n().prop_map(|(ecode, ..)| FCall::RlError { ecode }),
        (n(), any::<(u64, u64, u64, u64, u64, u64)>()).prop_map(
            |((typ, bsize, namelen, ..), v)| {
                let (blocks, bfree, bavail, files, ffree, fsid) = v;
                FCall::RStatFs {
                    statfs: StatFs {
                        typ,
                        bsize,
                        blocks,
                        bfree,
                        bavail,
                        files,
                        ffree,
                        fsid,
                        namelen,
                    },
                }
            }
        ),
        (qid(), n()).prop_map(|(qid, (iounit, ..))| FCall::RlOpen { qid, iounit }),
        (qid(), n()).prop_map(|(qid, (iounit, ..))| FCall::RlCreate { qid, iounit }),
        qid().prop_map(|qid| FCall::RSymlink { qid }),
        qid().prop_map(|qid| FCall::RMkNod { qid }),
        Just(FCall::RRename),
        name().prop_map(|target| FCall::RReadLink { target }),
        (
            qid(),
            n(),
            any::<(u64, u64, u64, u64, u64)>(),
            [time(), time(), time()]
        )
            .prop_map(
                |(
                    qid,
                    (mode, uid, gid, ..),
                    (nlink, rdev, size, blksize, blocks),
                    [atime, mtime, ctime],
                )| {
                    let stat = Stat {
                        mode,
                        uid,
                        gid,
                        nlink,
                        rdev,
                        size,
                        blksize,
                        blocks,
                        atime,
                        mtime,
                        ctime,
                    };
                    FCall::RGetAttr {
                        valid: GetAttrMask::BASIC,
                        qid,
                        stat,
                    }
                }
            ),
        Just(FCall::RSetAttr),
        any::<u64>().prop_map(|size| FCall::RxAttrWalk { size }),
        Just(FCall::RxAttrCreate),
        proptest::collection::vec(entry, 0..9).prop_map(|data| FCall::RReadDir {
            data: DirEntryData::with(data)
        }),
        Just(FCall::RFSync),
        (0..4u8).prop_map(|status| FCall::RLock {
            status: LockStatus::from_bits_truncate(status)
        }),
        getlock().prop_map(|flock| FCall::RGetLock { flock }),
        Just(FCall::RLink),
        qid().prop_map(|qid| FCall::RMkDir { qid }),
        Just(FCall::RRenameAt),
        Just(FCall::RUnlinkAt),
        qid().prop_map(|aqid| FCall::RAuth { aqid }),
        qid().prop_map(|qid| FCall::RAttach { qid }),
        (n(), name()).prop_map(|((msize, ..), version)| FCall::RVersion { msize, version }),
        Just(FCall::RFlush),
        proptest::collection::vec(qid(), 0..20).prop_map(|wqids| FCall::RWalk { wqids }),
        any::<Vec<u8>>().prop_map(|data| FCall::RRead { data: Data(data) }),
        n().prop_map(|(count, ..)| FCall::RWrite { count }),
        Just(FCall::RClunk),
        Just(FCall::RRemove),
    ]
}

/// A live server, shared by all cases, and the directory that it serves.
static SERVER: LazyLock<(tempfile::TempDir, Server)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "text").unwrap();
    let server = Server::new(dir.path(), Profile::Posix);
    (dir, server)
});

/// A session that got `bytes`: it answers a Tversion that comes after them, or has closed the connection.
fn survives(bytes: &[u8]) {
    let mut client = SERVER.1.attached();
    client.open(1, &["file"], 0);
    let broken = client.stream.write_all(bytes).is_err();
    // Whatever the bytes were, an end of the stream ends the session; both ways the server must let go.
    client.stream.shutdown(std::net::Shutdown::Write).ok();
    let mut rest = Vec::new();
    let read = std::io::Read::read_to_end(&mut client.stream, &mut rest);
    assert!(
        broken || read.is_ok() || read.unwrap_err().kind() == std::io::ErrorKind::ConnectionReset
    );
    let mut fresh = SERVER.1.attached();
    assert!(
        matches!(fresh.call(FCall::TStatFs { fid: 0 }), FCall::RStatFs { .. }),
        "the server goes on"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_decoded_as_it_was_encoded(tag: u16, call in request()) {
        let frame = wire::encode_request(tag, call.clone());
        prop_assert_eq!(u32::from_le_bytes(frame[..4].try_into().unwrap()) as usize, frame.len());
        let decoded = wire::decode_request(&frame).unwrap();
        prop_assert_eq!((decoded.tag, decoded.call), (tag, call));
    }

    #[test]
    fn every_reply_is_decoded_as_it_was_encoded(tag: u16, call in reply()) {
        let frame = wire::encode_reply(tag, wire::Reply::Call(call.clone()));
        prop_assert_eq!(wire::decode_reply(&frame), Some((tag, call)));
    }

    #[test]
    fn a_write_keeps_its_data_in_the_frame(tag: u16, fid: u32, offset: u64, data: Vec<u8>) {
        let call = FCall::TWrite { fid, offset, data: Data(data.clone()) };
        let frame = wire::encode_request(tag, call);
        let decoded = wire::decode_request(&frame).unwrap();
        prop_assert_eq!(&frame[decoded.payload.unwrap()], data.as_slice());
    }

    #[test]
    fn a_frame_that_was_cut_or_changed_is_decoded_or_refused(
        call in request(),
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let mut frame = wire::encode_request(1, call);
        let at = at.index(frame.len());
        frame[at] = byte;
        let _ = wire::decode_request(&frame);
        let end = wire::HEADER + cut.index(frame.len() - wire::HEADER + 1);
        let _ = wire::decode_request(&frame[..end]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_end_a_session_and_nothing_else(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        survives(&bytes);
    }

    #[test]
    fn well_framed_nonsense_is_answered(
        calls in proptest::collection::vec((request(), any::<prop::sample::Index>(), any::<u8>()), 1..30)
    ) {
        let mut bytes = Vec::new();
        for (index, (call, at, byte)) in calls.into_iter().enumerate() {
            let mut frame = wire::encode_request(index as u16 + 10, call);
            // The size is left as it is, so that what follows is still framed.
            let at = 4 + at.index(frame.len() - 4);
            frame[at] = byte;
            bytes.extend_from_slice(&frame);
        }
        survives(&bytes);
    }
}

#[test]
fn a_frame_that_claims_too_much_ends_the_connection_and_takes_no_memory() {
    for size in [0u32, 3, 6, 0x7fff_ffff, 0xffff_ffff] {
        let server = &SERVER.1;
        let mut client = Wire::new(server.stream());
        client.version(8192);
        client
            .stream
            .write_all(&[&size.to_le_bytes()[..], &[100, 0, 0]].concat())
            .unwrap();
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut client.stream, &mut rest).ok();
        assert!(rest.is_empty());
    }
}
