//! The protocol's rules, against a live session.

mod common;

use std::{fs, os::unix::ffi::OsStrExt};

use common::{Server, Wire};
use libc::{EINVAL, EMFILE, EMSGSIZE, ENOENT, EOPNOTSUPP, EROFS};
use rs9p::{FCall, Flock, LockFlag, LockStatus, LockType};
use server9p::{profile::Profile, session::Limits, wire};

fn lock(typ: LockType, flags: LockFlag, process: u32) -> Flock {
    Flock {
        typ,
        flags,
        start: 0,
        length: 0,
        proc_id: process,
        client_id: "host".into(),
    }
}

#[test]
fn the_msize_is_clamped_and_a_version_that_is_not_known_is_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path(), Profile::Golem);
    let mut wire = Wire::new(server.stream());
    assert_eq!(wire.version(104_857_600), 1 << 20);
    assert_eq!(wire.version(8192), 8192);
    assert_eq!(
        wire.errno(FCall::TVersion {
            msize: 100,
            version: "9P2000.L".into()
        }),
        EMSGSIZE
    );
    let reply = wire.call(FCall::TVersion {
        msize: 8192,
        version: "9P2000.u".into(),
    });
    assert_eq!(
        reply,
        FCall::RVersion {
            msize: 8192,
            version: "unknown".into()
        }
    );
}

#[test]
fn a_version_message_ends_every_fid() {
    let dir = tempfile::tempdir().unwrap();
    let mut wire = Server::new(dir.path(), Profile::Posix).attached_leaking();
    wire.create(1, "file");
    wire.version(8192);
    assert_eq!(wire.errno(FCall::TClunk { fid: 1 }), ENOENT);
    assert_eq!(wire.errno(FCall::TClunk { fid: 0 }), ENOENT);
    wire.attach(0, "");
}

impl Server {
    /// An attached connection of a server that lives as long as the test program.
    fn attached_leaking(self) -> Wire {
        Box::leak(Box::new(self)).attached()
    }
}

#[test]
fn authentication_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut wire = Server::new(dir.path(), Profile::Golem).attached_leaking();
    let auth = FCall::TAuth {
        afid: 7,
        uname: "u".into(),
        aname: String::new(),
        n_uname: 0,
    };
    assert_eq!(wire.errno(auth), EOPNOTSUPP);
    let attach = FCall::TAttach {
        fid: 9,
        afid: 7,
        uname: "u".into(),
        aname: String::new(),
        n_uname: 0,
    };
    assert_eq!(wire.errno(attach), EINVAL);
}

#[test]
fn an_attach_name_leads_below_the_export_and_never_out_of_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("export/a/b")).unwrap();
    std::os::unix::fs::symlink("/", dir.path().join("export/out")).unwrap();
    let server = Server::new(&dir.path().join("export"), Profile::Golem);
    let mut wire = Wire::new(server.stream());
    wire.version(8192);
    let root = wire.attach(0, "");
    assert_eq!(wire.attach(1, "/../../.."), root);
    wire.attach(2, "/a");
    assert!(matches!(wire.walk(2, 3, &["b"]), FCall::RWalk { wqids } if wqids.len() == 1));
    let attach = |name: &str| FCall::TAttach {
        fid: 9,
        afid: rs9p::NOFID,
        uname: String::new(),
        aname: name.into(),
        n_uname: 0,
    };
    assert_eq!(wire.errno(attach("/none")), ENOENT);
    assert_eq!(wire.errno(attach("/out/etc")), libc::ENOTDIR);
}

#[test]
fn a_partial_walk_leaves_the_new_fid_alone_and_a_fid_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    for profile in Profile::ALL {
        let mut wire = Server::new(dir.path(), profile).attached_leaking();
        assert!(
            matches!(wire.walk(0, 1, &["a", "none", "b"]), FCall::RWalk { wqids } if wqids.len() == 1)
        );
        assert_eq!(wire.errno(FCall::TClunk { fid: 1 }), ENOENT);
        assert!(matches!(wire.walk(0, 1, &["a", "b"]), FCall::RWalk { wqids } if wqids.len() == 2));
        let again = FCall::TWalk {
            fid: 0,
            newfid: 1,
            wnames: vec![],
        };
        assert_eq!(wire.errno(again), EINVAL);
        let many = FCall::TWalk {
            fid: 0,
            newfid: 2,
            wnames: vec!["a".into(); 17],
        };
        assert_eq!(wire.errno(many), EINVAL);
        assert!(
            matches!(wire.walk(1, 1, &["..", "..", "..", "a"]), FCall::RWalk { wqids } if wqids.len() == 4)
        );
    }
}

#[test]
fn remove_and_clunk_free_their_fids_whatever_comes_of_them() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("full/inner")).unwrap();
    let mut wire = Server::new(dir.path(), Profile::Golem).attached_leaking();
    wire.walk(0, 1, &["full"]);
    assert_eq!(wire.errno(FCall::TRemove { fid: 1 }), libc::ENOTEMPTY);
    assert_eq!(wire.errno(FCall::TClunk { fid: 1 }), ENOENT);
    wire.create(2, "file");
    fs::remove_file(dir.path().join("file")).unwrap();
    assert_eq!(wire.call(FCall::TClunk { fid: 2 }), FCall::RClunk);
    assert_eq!(wire.errno(FCall::TClunk { fid: 2 }), ENOENT);
}

#[test]
fn a_lock_that_is_waited_for_stalls_nothing_and_can_be_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path(), Profile::Posix);
    let (mut one, mut two) = (server.attached(), server.attached());
    one.create(1, "file");
    two.open(1, &["file"], 2);
    let held = FCall::RLock {
        status: LockStatus::SUCCESS,
    };
    let busy = FCall::RLock {
        status: LockStatus::BLOCKED,
    };
    assert_eq!(
        one.call(FCall::TLock {
            fid: 1,
            flock: lock(LockType::WRLOCK, LockFlag::empty(), 10)
        }),
        held
    );
    assert_eq!(
        two.call(FCall::TLock {
            fid: 1,
            flock: lock(LockType::WRLOCK, LockFlag::empty(), 20)
        }),
        busy
    );

    two.send(
        5,
        FCall::TLock {
            fid: 1,
            flock: lock(LockType::WRLOCK, LockFlag::BLOCK, 20),
        },
    );
    assert!(matches!(
        two.call(FCall::TStatFs { fid: 0 }),
        FCall::RStatFs { .. }
    ));
    two.send(6, FCall::TFlush { oldtag: 5 });
    assert_eq!(
        two.receive(),
        (6, FCall::RFlush),
        "a flushed wait has no reply of its own"
    );

    two.send(
        7,
        FCall::TLock {
            fid: 1,
            flock: lock(LockType::WRLOCK, LockFlag::BLOCK, 20),
        },
    );
    assert!(matches!(
        two.call(FCall::TStatFs { fid: 0 }),
        FCall::RStatFs { .. }
    ));
    assert_eq!(
        one.call(FCall::TLock {
            fid: 1,
            flock: lock(LockType::UNLOCK, LockFlag::empty(), 10)
        }),
        held
    );
    assert_eq!(two.receive(), (7, held));
    drop(two);
    one.send(
        8,
        FCall::TLock {
            fid: 1,
            flock: lock(LockType::WRLOCK, LockFlag::BLOCK, 10),
        },
    );
    assert_eq!(
        one.receive(),
        (
            8,
            FCall::RLock {
                status: LockStatus::SUCCESS
            }
        ),
        "a lost client's locks end"
    );
}

#[test]
fn under_qemus_profiles_every_lock_is_granted_and_none_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path(), Profile::Golem);
    let (mut one, mut two) = (server.attached(), server.attached());
    one.create(1, "file");
    two.open(1, &["file"], 2);
    for wire in [&mut one, &mut two] {
        let reply = wire.call(FCall::TLock {
            fid: 1,
            flock: lock(LockType::WRLOCK, LockFlag::empty(), 1),
        });
        assert_eq!(
            reply,
            FCall::RLock {
                status: LockStatus::SUCCESS
            }
        );
        let asked = rs9p::Getlock {
            typ: LockType::WRLOCK,
            start: 3,
            length: 4,
            proc_id: 9,
            client_id: "c".into(),
        };
        let found = wire.call(FCall::TGetLock {
            fid: 1,
            flock: asked.clone(),
        });
        assert_eq!(
            found,
            FCall::RGetLock {
                flock: rs9p::Getlock {
                    typ: LockType::UNLOCK,
                    ..asked
                }
            }
        );
    }
}

#[test]
fn flushing_what_is_not_there_is_answered_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut wire = Server::new(dir.path(), Profile::Golem).attached_leaking();
    assert_eq!(wire.call(FCall::TFlush { oldtag: 777 }), FCall::RFlush);
    assert_eq!(
        wire.call(FCall::TFlush { oldtag: 1 }),
        FCall::RFlush,
        "even a flush of its own tag"
    );
}

#[test]
fn names_that_are_not_utf8_make_the_round_trip() {
    let dir = tempfile::tempdir().unwrap();
    for profile in Profile::ALL {
        let mut wire = Server::new(dir.path(), profile).attached_leaking();
        let (old, new) = (
            b"caf\xe9 \xff\xfe".as_slice(),
            b"\xf4\x8f\xbf\xbf\x80".as_slice(),
        );
        wire.create(1, &wire::from_wire(old));
        assert!(dir.path().join(std::ffi::OsStr::from_bytes(old)).exists());
        let rename = FCall::TRenameAt {
            olddirfid: 0,
            oldname: wire::from_wire(old),
            newdirfid: 0,
            newname: wire::from_wire(new),
        };
        assert_eq!(wire.call(rename), FCall::RRenameAt);
        wire.open(2, &[], 0);
        let FCall::RReadDir { data } = wire.call(FCall::TReadDir {
            fid: 2,
            offset: 0,
            count: 8000,
        }) else {
            panic!()
        };
        assert!(
            data.data
                .iter()
                .any(|entry| wire::to_wire(&entry.name) == new)
        );
        let link = FCall::TSymlink {
            fid: 0,
            name: "l".into(),
            symtgt: wire::from_wire(old),
            gid: u32::MAX,
        };
        assert!(matches!(wire.call(link), FCall::RSymlink { .. }));
        wire.walk(0, 3, &["l"]);
        assert_eq!(
            wire.call(FCall::TReadLink { fid: 3 }),
            FCall::RReadLink {
                target: wire::from_wire(old)
            }
        );
        fs::remove_file(dir.path().join("l")).unwrap();
        fs::remove_file(dir.path().join(std::ffi::OsStr::from_bytes(new))).unwrap();
    }
}

#[test]
fn a_read_only_export_takes_no_change() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "text").unwrap();
    let server = Server::with(dir.path(), Profile::Posix, true, Limits::default());
    let mut wire = server.attached();
    wire.walk(0, 1, &["file"]);
    for flags in [1, 2, 0o1000, 0o2000] {
        assert_eq!(wire.errno(FCall::TlOpen { fid: 1, flags }), EROFS);
    }
    assert_eq!(
        wire.errno(FCall::TMkDir {
            dfid: 0,
            name: "d".into(),
            mode: 0o755,
            gid: 0
        }),
        EROFS
    );
    assert_eq!(
        wire.errno(FCall::TUnlinkAt {
            dirfd: 0,
            name: "file".into(),
            flags: 0
        }),
        EROFS
    );
    assert_eq!(
        wire.errno(FCall::TxAttrCreate {
            fid: 1,
            name: "user.a".into(),
            attr_size: 1,
            flags: 0
        }),
        EROFS
    );
    assert!(matches!(
        wire.call(FCall::TlOpen { fid: 1, flags: 0 }),
        FCall::RlOpen { .. }
    ));
    assert_eq!(wire.errno(FCall::TRemove { fid: 1 }), EROFS);
    assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), "text");
}

#[test]
fn fids_beyond_the_limit_are_refused_and_the_session_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        fids: 4,
        ..Limits::default()
    };
    let server = Server::with(dir.path(), Profile::Golem, false, limits);
    let mut wire = server.attached();
    for fid in 1..4 {
        wire.walk(0, fid, &[]);
    }
    assert_eq!(
        wire.errno(FCall::TWalk {
            fid: 0,
            newfid: 4,
            wnames: vec![]
        }),
        EMFILE
    );
    assert_eq!(wire.call(FCall::TClunk { fid: 3 }), FCall::RClunk);
    assert!(matches!(wire.walk(0, 4, &[]), FCall::RWalk { .. }));
}

#[test]
fn no_reply_exceeds_the_msize() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), vec![7; 100_000]).unwrap();
    let long = format!("{}/{}", "x".repeat(2000), "y".repeat(2090));
    std::os::unix::fs::symlink(&long, dir.path().join("link")).unwrap();
    let server = Server::new(dir.path(), Profile::Golem);
    let mut wire = Wire::new(server.stream());
    wire.version(4096);
    wire.attach(0, "");
    wire.open(1, &["file"], 0);
    wire.send(
        1,
        FCall::TRead {
            fid: 1,
            offset: 0,
            count: 100_000,
        },
    );
    assert_eq!(wire.receive_frame().len(), 4096);
    wire.walk(0, 2, &["link"]);
    assert_eq!(wire.errno(FCall::TReadLink { fid: 2 }), EMSGSIZE);
}

#[test]
fn requests_before_a_version_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path(), Profile::Golem);
    let mut wire = Wire::new(server.stream());
    assert_eq!(wire.errno(FCall::TStatFs { fid: 0 }), libc::EPROTO);
    wire.version(8192);
    wire.attach(0, "");
}

#[test]
fn a_frame_that_cannot_be_decoded_is_refused_and_the_session_goes_on() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let mut wire = Server::new(dir.path(), Profile::Golem).attached_leaking();
    for (frame, errno) in [
        (&b"\x07\0\0\0\xfe\x09\0"[..], EOPNOTSUPP),
        (b"\x09\0\0\0\x18\x09\0\x01\x02", libc::EPROTO),
        (
            b"\x19\0\0\0\x76\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xffab",
            libc::EPROTO,
        ),
    ] {
        wire.stream.write_all(frame).unwrap();
        assert_eq!(
            wire.receive(),
            (
                9,
                FCall::RlError {
                    ecode: errno as u32
                }
            )
        );
    }
    let mut long = vec![0; 600_000];
    long[..7].copy_from_slice(&[0xc0, 0x27, 0x09, 0, 118, 4, 0]);
    wire.stream.write_all(&long).unwrap();
    assert_eq!(
        wire.receive(),
        (
            4,
            FCall::RlError {
                ecode: EMSGSIZE as u32
            }
        )
    );
    assert!(matches!(
        wire.call(FCall::TStatFs { fid: 0 }),
        FCall::RStatFs { .. }
    ));
}

#[test]
fn a_client_that_does_not_read_its_replies_keeps_no_other_waiting() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), vec![7; 1 << 20]).unwrap();
    let server = Server::new(dir.path(), Profile::Golem);
    let (mut idle, mut busy) = (server.attached(), server.attached());
    let read = FCall::TRead {
        fid: 1,
        offset: 0,
        count: 500_000,
    };
    idle.open(1, &["file"], 0);
    // In one piece, so that the server meets them all at once.
    let frames: Vec<u8> = (0..300)
        .flat_map(|tag| wire::encode_request(tag, read.clone()))
        .collect();
    std::io::Write::write_all(&mut idle.stream, &frames).unwrap();
    busy.open(1, &["file"], 0);
    // More calls than the server needs to meet all that the other asked for.
    for _ in 0..1000 {
        let read = FCall::TRead {
            fid: 1,
            offset: 0,
            count: 100_000,
        };
        assert!(matches!(busy.call(read), FCall::RRead { data } if data.0.len() == 100_000));
    }
    let mut seen: Vec<u16> = (0..300).map(|_| idle.receive().0).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        (0..300).collect::<Vec<_>>(),
        "and gets them all once it reads"
    );
}

#[test]
fn small_replies_that_nobody_reads_are_not_piled_up() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), vec![7; 1 << 20]).unwrap();
    let server = Server::new(dir.path(), Profile::Golem);
    let mut wire = server.attached();
    wire.open(1, &["file"], 0);
    let frames: Vec<u8> = (0..4000)
        .flat_map(|tag| {
            wire::encode_request(
                tag,
                FCall::TRead {
                    fid: 1,
                    offset: 0,
                    count: 60_000,
                },
            )
        })
        .collect();
    let before = resident();
    let mut stream = wire.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || stream.write_all(&frames).unwrap());
    // Another connection's answers show that the server has had its turns meanwhile.
    let mut other = server.attached();
    for _ in 0..2000 {
        assert!(matches!(
            other.call(FCall::TStatFs { fid: 0 }),
            FCall::RStatFs { .. }
        ));
    }
    assert!(
        resident() < before + (100 << 20),
        "240 MB of replies do not lie in memory"
    );
    for tag in 0..4000 {
        assert_eq!(wire.receive().0, tag);
    }
    writing.join().unwrap();
}

/// Bytes of memory that this process holds.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
