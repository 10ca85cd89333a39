//! What the profiles do with files, over the wire.

mod common;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use common::{Server, Wire};
use rs9p::{Data, FCall, GetAttrMask, SetAttr, SetAttrMask, Time};
use server9p::profile::Profile;

const NOTHING: SetAttr = SetAttr {
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    atime: Time { sec: 0, nsec: 0 },
    mtime: Time { sec: 0, nsec: 0 },
};

fn stat(wire: &mut Wire, fid: u32) -> Result<rs9p::Stat, i32> {
    match wire.call(FCall::TGetAttr {
        fid,
        req_mask: GetAttrMask::BASIC,
    }) {
        FCall::RGetAttr { stat, .. } => Ok(stat),
        FCall::RlError { ecode } => Err(ecode as i32),
        reply => panic!("{reply:?}"),
    }
}

fn set(wire: &mut Wire, fid: u32, valid: SetAttrMask, stat: SetAttr) -> FCall {
    wire.call(FCall::TSetAttr { fid, valid, stat })
}

fn read(wire: &mut Wire, fid: u32, offset: u64, count: u32) -> Vec<u8> {
    match wire.call(FCall::TRead { fid, offset, count }) {
        FCall::RRead { data } => data.0,
        reply => panic!("{reply:?}"),
    }
}

fn write(wire: &mut Wire, fid: u32, offset: u64, data: &[u8]) -> FCall {
    wire.call(FCall::TWrite {
        fid,
        offset,
        data: Data(data.to_vec()),
    })
}

fn error(errno: i32) -> FCall {
    FCall::RlError {
        ecode: errno as u32,
    }
}

#[test]
fn a_removed_file_is_whole_under_posix_and_out_of_reach_by_path_under_golem() {
    let dir = tempfile::tempdir().unwrap();
    for (profile, reached) in [
        (Profile::Posix, true),
        (Profile::Golem, false),
        (Profile::Qemu, false),
    ] {
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        wire.create(1, "file");
        write(&mut wire, 1, 0, b"0123456789");
        let unlink = FCall::TUnlinkAt {
            dirfd: 0,
            name: "file".into(),
            flags: 0,
        };
        assert_eq!(wire.call(unlink), FCall::RUnlinkAt);
        assert_eq!(read(&mut wire, 1, 2, 100), b"23456789", "{profile}");
        assert_eq!(stat(&mut wire, 1).unwrap().nlink, 0);
        let answer = |reply| if reached { reply } else { error(libc::ENOENT) };
        let mode = SetAttr {
            mode: 0o600,
            ..NOTHING
        };
        assert_eq!(
            set(&mut wire, 1, SetAttrMask::MODE, mode),
            answer(FCall::RSetAttr)
        );
        let size = SetAttr { size: 3, ..NOTHING };
        assert_eq!(
            set(&mut wire, 1, SetAttrMask::SIZE, size),
            answer(FCall::RSetAttr)
        );
        assert_eq!(
            set(&mut wire, 1, SetAttrMask::MTIME, NOTHING),
            answer(FCall::RSetAttr)
        );
        let clone = wire.walk(1, 2, &[]);
        assert_eq!(clone, answer(FCall::RWalk { wqids: vec![] }));
        if reached {
            assert_eq!(stat(&mut wire, 1).unwrap().size, 3);
            assert_eq!(stat(&mut wire, 2).unwrap().mode & 0o7777, 0o600);
        }
    }
}

#[test]
fn a_renamed_file_and_what_lies_below_a_renamed_directory_are_reached_as_before() {
    for profile in Profile::ALL {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), "text").unwrap();
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        wire.walk(0, 1, &["a", "b", "file"]);
        wire.walk(0, 2, &["a"]);
        assert_eq!(
            wire.call(FCall::TRename {
                fid: 2,
                dfid: 0,
                name: "z".into()
            }),
            FCall::RRename
        );
        assert_eq!(stat(&mut wire, 1).unwrap().size, 4, "{profile}");
        let mode = SetAttr {
            mode: 0o640,
            ..NOTHING
        };
        assert_eq!(set(&mut wire, 1, SetAttrMask::MODE, mode), FCall::RSetAttr);
        assert_eq!(
            fs::metadata(dir.path().join("z/b/file")).unwrap().mode() & 0o7777,
            0o640
        );
        assert_eq!(wire.call(FCall::TRemove { fid: 1 }), FCall::RRemove);
        assert!(!dir.path().join("z/b/file").exists());
    }
}

#[test]
fn a_file_that_took_over_a_name_is_met_by_path_and_not_by_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    for (profile, size) in [(Profile::Posix, 3), (Profile::Golem, 5)] {
        fs::write(dir.path().join("file"), "old").unwrap();
        fs::write(dir.path().join("new"), "newer").unwrap();
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        wire.walk(0, 1, &["file"]);
        fs::rename(dir.path().join("new"), dir.path().join("file")).unwrap();
        assert_eq!(stat(&mut wire, 1).unwrap().size, size, "{profile}");
    }
}

#[test]
fn special_files_are_refused_by_golem_and_made_by_qemu_and_posix() {
    for (profile, made) in [
        (Profile::Golem, false),
        (Profile::Qemu, true),
        (Profile::Posix, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        for (name, kind) in [("fifo", libc::S_IFIFO), ("socket", libc::S_IFSOCK)] {
            let mknod = FCall::TMkNod {
                dfid: 0,
                name: name.into(),
                mode: kind | 0o640,
                major: 0,
                minor: 0,
                gid: 0,
            };
            let reply = wire.call(mknod);
            assert_eq!(
                matches!(reply, FCall::RMkNod { .. }),
                made,
                "{profile}: {reply:?}"
            );
            if !made {
                assert_eq!(reply, error(libc::ENXIO));
            }
            let there = fs::symlink_metadata(dir.path().join(name))
                .map(|metadata| metadata.mode() & 0o7777);
            assert_eq!(there.ok(), made.then_some(0o640), "{profile}");
        }
    }
}

#[test]
fn no_special_file_is_opened_under_any_profile() {
    let dir = tempfile::tempdir().unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for profile in Profile::ALL {
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        wire.walk(0, 1, &["fifo"]);
        assert_eq!(wire.errno(FCall::TlOpen { fid: 1, flags: 0 }), libc::ENXIO);
        assert!(stat(&mut wire, 1).is_ok());
    }
}

#[test]
fn a_new_file_gets_exactly_the_mode_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path(), Profile::Golem);
    let mut wire = server.attached();
    wire.walk(0, 1, &[]);
    let create = FCall::TlCreate {
        fid: 1,
        name: "f".into(),
        flags: 2,
        mode: 0o100666,
        gid: u32::MAX,
    };
    assert!(matches!(wire.call(create), FCall::RlCreate { .. }));
    let mkdir = FCall::TMkDir {
        dfid: 0,
        name: "d".into(),
        mode: 0o1777,
        gid: u32::MAX,
    };
    assert!(matches!(wire.call(mkdir), FCall::RMkDir { .. }));
    assert_eq!(
        fs::metadata(dir.path().join("f")).unwrap().mode() & 0o7777,
        0o666
    );
    assert_eq!(
        fs::metadata(dir.path().join("d")).unwrap().mode() & 0o7777,
        0o1777
    );
}

#[test]
fn each_valid_bit_of_setattr_sets_what_it_names_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for profile in Profile::ALL {
        fs::write(&path, "0123456789").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        wire.walk(0, 1, &["file"]);
        let new = SetAttr {
            mode: 0o600,
            size: 4,
            atime: Time {
                sec: 1_000,
                nsec: 7,
            },
            mtime: Time {
                sec: -5i64 as u64,
                nsec: 9,
            },
            ..NOTHING
        };
        let before = stat(&mut wire, 1).unwrap();
        set(
            &mut wire,
            1,
            SetAttrMask::ATIME | SetAttrMask::ATIME_SET,
            new,
        );
        let after = stat(&mut wire, 1).unwrap();
        assert_eq!(
            (after.atime, after.mtime, after.size, after.mode),
            (new.atime, before.mtime, 10, before.mode)
        );
        set(
            &mut wire,
            1,
            SetAttrMask::MTIME | SetAttrMask::MTIME_SET,
            new,
        );
        let after = stat(&mut wire, 1).unwrap();
        assert_eq!(
            (after.atime, after.mtime),
            (new.atime, new.mtime),
            "times before 1970 are kept"
        );
        set(&mut wire, 1, SetAttrMask::ATIME | SetAttrMask::MTIME, new);
        let after = stat(&mut wire, 1).unwrap();
        assert!(
            after.atime.sec >= before.mtime.sec && after.mtime.sec >= before.mtime.sec,
            "the present time is set"
        );
        set(&mut wire, 1, SetAttrMask::MODE, new);
        set(&mut wire, 1, SetAttrMask::SIZE, new);
        let after = stat(&mut wire, 1).unwrap();
        assert_eq!((after.mode & 0o7777, after.size), (0o600, 4));
        let me = SetAttr {
            uid: after.uid,
            gid: after.gid,
            ..NOTHING
        };
        assert_eq!(
            set(&mut wire, 1, SetAttrMask::UID | SetAttrMask::GID, me),
            FCall::RSetAttr
        );
        assert_eq!(
            set(&mut wire, 1, SetAttrMask::CTIME, NOTHING),
            FCall::RSetAttr
        );
    }
}

#[test]
fn appending_goes_to_the_end_whatever_the_offset_says() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("log"), "first ").unwrap();
    let server = Server::new(dir.path(), Profile::Golem);
    let mut wire = server.attached();
    wire.open(1, &["log"], 0o2001);
    assert_eq!(
        write(&mut wire, 1, 0, b"second"),
        FCall::RWrite { count: 6 }
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("log")).unwrap(),
        "first second"
    );
}

/// Names and offsets from `offset` on, one message's worth.
fn entries(wire: &mut Wire, fid: u32, offset: u64, count: u32) -> Vec<(String, u64)> {
    match wire.call(FCall::TReadDir { fid, offset, count }) {
        FCall::RReadDir { data } => data
            .data
            .into_iter()
            .map(|entry| (entry.name, entry.offset))
            .collect(),
        reply => panic!("{reply:?}"),
    }
}

#[test]
fn a_directory_is_read_whole_and_once_and_can_be_resumed_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let expected: BTreeSet<String> = (0..3000)
        .map(|n| format!("entry-{n}-{}", "x".repeat(n % 200)))
        .collect();
    for name in &expected {
        fs::write(dir.path().join(name), "").unwrap();
    }
    for profile in Profile::ALL {
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        wire.open(1, &[], 0);
        let mut all = Vec::new();
        loop {
            let batch = entries(
                &mut wire,
                1,
                all.last().map_or(0, |(_, offset)| *offset),
                4000,
            );
            if batch.is_empty() {
                break;
            }
            all.extend(batch);
        }
        let names: BTreeSet<String> = all.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names.len(), all.len(), "{profile}: no entry comes twice");
        let hidden = [".", ".."].map(str::to_owned).into();
        assert_eq!(
            names.difference(&hidden).cloned().collect::<BTreeSet<_>>(),
            expected
        );
        for at in [0, 1, 1500, all.len() - 2] {
            let next = entries(&mut wire, 1, all[at].1, 4000);
            assert_eq!(
                next[0],
                all[at + 1],
                "{profile}: every offset can be resumed from"
            );
        }
    }
}

#[test]
fn entries_that_are_removed_while_reading_hide_no_others() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..2000 {
        fs::write(dir.path().join(format!("entry-{n}")), "").unwrap();
    }
    let server = Server::new(dir.path(), Profile::Golem);
    let mut wire = server.attached();
    wire.open(1, &[], 0);
    let mut offset = 0;
    loop {
        let batch = entries(&mut wire, 1, offset, 4000);
        let Some((_, last)) = batch.last() else { break };
        offset = *last;
        for (name, _) in batch.iter().filter(|(name, _)| name.starts_with("entry")) {
            let unlink = FCall::TUnlinkAt {
                dirfd: 0,
                name: name.clone(),
                flags: 0,
            };
            assert_eq!(wire.call(unlink), FCall::RUnlinkAt);
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

fn set_xattr(wire: &mut Wire, name: &str, value: &[u8], flags: u32) -> FCall {
    wire.walk(0, 8, &["file"]);
    let create = FCall::TxAttrCreate {
        fid: 8,
        name: name.into(),
        attr_size: value.len() as u64,
        flags,
    };
    assert_eq!(wire.call(create), FCall::RxAttrCreate);
    for (index, part) in value.chunks(3).enumerate() {
        write(wire, 8, index as u64 * 3, part);
    }
    wire.call(FCall::TClunk { fid: 8 })
}

fn get_xattr(wire: &mut Wire, name: &str) -> Result<Vec<u8>, i32> {
    wire.walk(0, 7, &["file"]);
    let walked = wire.call(FCall::TxAttrWalk {
        fid: 7,
        newfid: 9,
        name: name.into(),
    });
    wire.call(FCall::TClunk { fid: 7 });
    match walked {
        FCall::RxAttrWalk { size } => {
            let value = read(wire, 9, 0, 100_000);
            assert_eq!(value.len() as u64, size);
            wire.call(FCall::TClunk { fid: 9 });
            Ok(value)
        }
        FCall::RlError { ecode } => Err(ecode as i32),
        reply => panic!("{reply:?}"),
    }
}

#[test]
fn user_attributes_are_set_read_listed_and_removed() {
    for profile in Profile::ALL {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        assert_eq!(
            set_xattr(&mut wire, "user.one", b"value", 0),
            FCall::RClunk,
            "{profile}"
        );
        assert_eq!(get_xattr(&mut wire, "user.one"), Ok(b"value".to_vec()));
        assert_eq!(
            set_xattr(&mut wire, "user.one", b"v", 1),
            error(libc::EEXIST)
        );
        assert_eq!(
            set_xattr(&mut wire, "user.two", b"v", 2),
            error(libc::ENODATA)
        );
        assert_eq!(set_xattr(&mut wire, "user.two", b"v", 0), FCall::RClunk);
        let list = get_xattr(&mut wire, "").unwrap();
        let names: BTreeSet<_> = list
            .split(|byte| *byte == 0)
            .filter(|name| name.starts_with(b"user."))
            .collect();
        assert_eq!(names, BTreeSet::from([b"user.one".as_slice(), b"user.two"]));
        assert_eq!(set_xattr(&mut wire, "user.two", b"", 2), FCall::RClunk);
        assert_eq!(get_xattr(&mut wire, "user.two"), Err(libc::ENODATA));
        let empty = set_xattr(&mut wire, "user.one", b"", 0);
        assert_eq!(empty, FCall::RClunk);
        let kept = (profile == Profile::Posix)
            .then(Vec::new)
            .ok_or(libc::ENODATA);
        assert_eq!(
            get_xattr(&mut wire, "user.one"),
            kept,
            "{profile}: QEMU removes what is set to nothing"
        );
    }
}

#[test]
fn qemus_profiles_have_no_attributes_but_the_users() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let server = Server::new(dir.path(), Profile::Golem);
    let mut wire = server.attached();
    for name in ["security.selinux", "trusted.x", "system.posix_acl_access"] {
        assert_eq!(get_xattr(&mut wire, name), Err(libc::EOPNOTSUPP));
        assert_eq!(set_xattr(&mut wire, name, b"v", 0), error(libc::EOPNOTSUPP));
    }
    wire.walk(0, 8, &["file"]);
    let large = FCall::TxAttrCreate {
        fid: 8,
        name: "user.l".into(),
        attr_size: 65_537,
        flags: 0,
    };
    assert_eq!(wire.errno(large), libc::E2BIG);
    let short = FCall::TxAttrCreate {
        fid: 8,
        name: "user.s".into(),
        attr_size: 4,
        flags: 0,
    };
    assert_eq!(wire.call(short), FCall::RxAttrCreate);
    write(&mut wire, 8, 0, b"ab");
    assert_eq!(
        wire.errno(FCall::TClunk { fid: 8 }),
        libc::EINVAL,
        "less was written than announced"
    );
    assert_eq!(
        wire.errno(FCall::TClunk { fid: 8 }),
        libc::ENOENT,
        "and the fid is free all the same"
    );
}

#[test]
fn paths_may_be_longer_than_one_system_call_takes() {
    let dir = tempfile::tempdir().unwrap();
    for profile in Profile::ALL {
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        let name = "n".repeat(250);
        wire.walk(0, 1, &[]);
        for _ in 0..40 {
            let mkdir = FCall::TMkDir {
                dfid: 1,
                name: name.clone(),
                mode: 0o755,
                gid: u32::MAX,
            };
            assert!(
                matches!(wire.call(mkdir), FCall::RMkDir { .. }),
                "{profile}"
            );
            assert!(
                matches!(wire.walk(1, 1, &[&name]), FCall::RWalk { wqids } if wqids.len() == 1)
            );
        }
        assert!(stat(&mut wire, 1).is_ok());
        for _ in 0..40 {
            assert!(matches!(wire.walk(1, 1, &[".."]), FCall::RWalk { wqids } if wqids.len() == 1));
            let rmdir = FCall::TUnlinkAt {
                dirfd: 1,
                name: name.clone(),
                flags: 0x200,
            };
            assert_eq!(wire.call(rmdir), FCall::RUnlinkAt, "{profile}");
        }
    }
}
