//! Directories are looked at once for what came in together, and never longer.

mod common;

use std::{fs, io::Write, os::unix::fs::PermissionsExt};

use common::{Server, Wire};
use rs9p::FCall;
use server9p::{profile::Profile, wire};

fn walk(newfid: u32, names: &[&str]) -> FCall {
    FCall::TWalk {
        fid: 0,
        newfid,
        wnames: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Sends messages in one write, so that the server has them all at once; their replies in order.
fn together<const N: usize>(wire: &mut Wire, calls: [FCall; N]) -> Vec<FCall> {
    let frames: Vec<u8> = (10..)
        .zip(calls)
        .flat_map(|(tag, call)| wire::encode_request(tag, call))
        .collect();
    wire.stream.write_all(&frames).unwrap();
    let mut replies: Vec<(u16, FCall)> = (0..N).map(|_| wire.receive()).collect();
    replies.sort_by_key(|(tag, _)| *tag);
    replies.into_iter().map(|(_, reply)| reply).collect()
}

/// How many names of a walk were there.
fn steps(reply: &FCall) -> usize {
    match reply {
        FCall::RWalk { wqids } => wqids.len(),
        _ => 0,
    }
}

#[test]
fn a_message_sees_what_those_before_it_did_to_directories() {
    for profile in Profile::ALL {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("d/e")).unwrap();
        fs::write(dir.path().join("d/e/f"), "f").unwrap();
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        let rename = FCall::TRenameAt {
            olddirfid: 0,
            oldname: "d".into(),
            newdirfid: 0,
            newname: "moved".into(),
        };
        let replies = together(
            &mut wire,
            [
                walk(1, &["d", "e", "f"]),
                rename,
                walk(2, &["d", "e", "f"]),
                walk(3, &["moved", "e", "f"]),
                FCall::TUnlinkAt {
                    dirfd: 0,
                    name: "moved".into(),
                    flags: 0x200,
                },
                walk(4, &["moved", "e", "f"]),
            ],
        );
        let steps: Vec<usize> = replies.iter().map(steps).collect();
        assert_eq!(steps, [3, 0, 0, 3, 0, 3], "{profile}: {replies:?}");
        assert!(matches!(replies[1], FCall::RRenameAt), "{profile}");
        assert!(
            matches!(replies[4], FCall::RlError { ecode } if ecode == libc::ENOTEMPTY as u32),
            "{profile}: {:?}",
            replies[4]
        );
    }
}

#[test]
fn the_host_s_changes_count_for_the_next_message() {
    for profile in Profile::ALL {
        let dir = tempfile::tempdir().unwrap();
        for name in ["d", "other"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("d/f"), "").unwrap();
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        for round in 0..50u32 {
            assert_eq!(steps(&wire.call(walk(100 + 2 * round, &["d", "f"]))), 2);
            fs::rename(dir.path().join("d"), dir.path().join("away")).unwrap();
            fs::rename(dir.path().join("other"), dir.path().join("d")).unwrap();
            assert_eq!(
                steps(&wire.call(walk(101 + 2 * round, &["d", "f"]))),
                1,
                "{profile}"
            );
            fs::rename(dir.path().join("d"), dir.path().join("other")).unwrap();
            fs::rename(dir.path().join("away"), dir.path().join("d")).unwrap();
        }
    }
}

#[test]
fn a_new_file_has_the_mode_that_was_asked_for_and_its_fid_can_be_cloned() {
    for profile in Profile::ALL {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::new(dir.path(), profile);
        let mut wire = server.attached();
        for (fid, mode) in (1..).zip([0o644, 0o4711, 0o2666, 0o000, 0o777]) {
            let name = format!("f{fid}");
            wire.walk(0, fid, &[]);
            let reply = wire.call(FCall::TlCreate {
                fid,
                name: name.clone(),
                flags: 1,
                mode,
                gid: u32::MAX,
            });
            assert!(matches!(reply, FCall::RlCreate { .. }), "{reply:?}");
            let made = fs::metadata(dir.path().join(&name)).unwrap();
            assert_eq!(made.permissions().mode() & 0o7777, mode, "{profile}");
            // The clone is none of the open file: it can be opened itself, after the first is gone too.
            assert_eq!(steps(&wire.walk(fid, 100 + fid, &[])), 0);
            wire.call(FCall::TClunk { fid });
            let reply = wire.call(FCall::TGetAttr {
                fid: 100 + fid,
                req_mask: rs9p::GetAttrMask::BASIC,
            });
            assert!(matches!(reply, FCall::RGetAttr { .. }), "{reply:?}");
        }
    }
}
