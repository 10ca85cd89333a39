//! No request leaves the export, whatever happens to the names on the way.

mod common;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use common::{Server, Wire};
use rs9p::{Data, FCall};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use server9p::profile::Profile;

/// How long walks race against renames and links, for each profile.
const RACE: Duration = Duration::from_secs(2);

/// Exchanges two names, where they are there at this moment.
fn exchange(a: &Path, b: &Path) {
    let _ = renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE);
}

/// `outside/inner/file` beside an export with the like of it and a link to what is outside.
fn prepare(dir: &Path) {
    fs::create_dir_all(dir.join("outside/inner")).unwrap();
    fs::write(dir.join("outside/inner/file"), "outside").unwrap();
    fs::create_dir_all(dir.join("export/top/mid/inner")).unwrap();
    fs::write(dir.join("export/top/mid/inner/file"), "inside").unwrap();
    symlink(dir.join("outside"), dir.join("export/top/link")).unwrap();
    symlink("../../../outside", dir.join("export/top/relative")).unwrap();
    fs::create_dir(dir.join("export/elsewhere")).unwrap();
}

/// Tries every way to the file that a link may lead to; says whether the one inside was met.
fn probe(wire: &mut Wire, round: u32) -> bool {
    wire.walk(0, 1, &["top", "mid", "inner", "file"]);
    let opened = matches!(
        wire.call(FCall::TlOpen { fid: 1, flags: 2 }),
        FCall::RlOpen { .. }
    );
    if opened {
        let FCall::RRead { data } = wire.call(FCall::TRead {
            fid: 1,
            offset: 0,
            count: 100,
        }) else {
            panic!()
        };
        assert_eq!(data.0, b"inside", "round {round}");
    }
    wire.call(FCall::TClunk { fid: 1 });
    wire.walk(0, 2, &["top", "mid", "inner"]);
    wire.call(FCall::TMkDir {
        dfid: 2,
        name: "made".into(),
        mode: 0o755,
        gid: u32::MAX,
    });
    wire.call(FCall::TUnlinkAt {
        dirfd: 2,
        name: "made".into(),
        flags: 0x200,
    });
    wire.walk(2, 3, &["..", "..", "..", "..", "outside"]);
    assert_eq!(
        wire.errno(FCall::TClunk { fid: 3 }),
        libc::ENOENT,
        "round {round}: no way leads out by .."
    );
    wire.walk(2, 4, &[]);
    let create = FCall::TlCreate {
        fid: 4,
        name: "new".into(),
        flags: 1,
        mode: 0o644,
        gid: u32::MAX,
    };
    if let FCall::RlCreate { .. } = wire.call(create) {
        wire.call(FCall::TWrite {
            fid: 4,
            offset: 0,
            data: Data(b"x".to_vec()),
        });
        wire.call(FCall::TRemove { fid: 4 });
    }
    wire.call(FCall::TClunk { fid: 4 });
    wire.call(FCall::TClunk { fid: 2 });
    opened
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn renames_and_links_that_race_against_walks_lead_nowhere_else() {
    for profile in [Profile::Golem, Profile::Posix] {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let top = dir.path().join("export/top");
        let server = Server::new(&dir.path().join("export"), profile);
        let done = AtomicBool::new(false);
        let (rounds, met) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for link in ["link", "relative"] {
                        exchange(&top.join("mid"), &top.join(link));
                        exchange(&top.join("mid"), &top.join(link));
                    }
                }
            });
            scope.spawn(|| {
                let away = dir.path().join("export/elsewhere");
                while !done.load(Ordering::Relaxed) {
                    exchange(&top, &away);
                    exchange(&top, &away);
                }
            });
            // Also where an assertion fails, or the scope would wait for ever.
            let _done = SetOnDrop(&done);
            let mut wire = server.attached();
            let begun = Instant::now();
            let (mut rounds, mut met) = (0, 0);
            while begun.elapsed() < RACE {
                met += u32::from(probe(&mut wire, rounds));
                rounds += 1;
            }
            (rounds, met)
        });
        assert!(
            met > 0 && met < rounds,
            "{profile}: of {rounds} walks {met} met the file: names did change"
        );
        let outside: Vec<_> = fs::read_dir(dir.path().join("outside/inner"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(outside, ["file"], "{profile}: nothing was made outside");
        assert_eq!(
            fs::read_to_string(dir.path().join("outside/inner/file")).unwrap(),
            "outside"
        );
    }
}

#[test]
fn links_are_walked_to_and_never_through() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    for profile in Profile::ALL {
        let server = Server::new(&dir.path().join("export"), profile);
        let mut wire = server.attached();
        for link in ["link", "relative"] {
            assert!(
                matches!(wire.walk(0, 1, &["top", link, "inner"]), FCall::RWalk { wqids } if wqids.len() == 2)
            );
            assert!(
                matches!(wire.walk(0, 1, &["top", link]), FCall::RWalk { wqids } if wqids.len() == 2)
            );
            assert_eq!(
                wire.errno(FCall::TlOpen { fid: 1, flags: 0 }),
                libc::ELOOP,
                "{profile}"
            );
            let inside = FCall::TMkDir {
                dfid: 1,
                name: "d".into(),
                mode: 0o755,
                gid: 0,
            };
            assert_eq!(wire.errno(inside), libc::ENOTDIR, "{profile}");
            wire.call(FCall::TClunk { fid: 1 });
        }
    }
}

#[test]
fn names_with_slashes_and_the_export_itself_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    for profile in Profile::ALL {
        let server = Server::new(&dir.path().join("export"), profile);
        let mut wire = server.attached();
        for name in ["../outside", "/etc", "", "a/../.."] {
            let walk = FCall::TWalk {
                fid: 0,
                newfid: 1,
                wnames: vec![name.into()],
            };
            assert_eq!(wire.errno(walk), libc::ENOENT, "{name}");
            let mkdir = FCall::TMkDir {
                dfid: 0,
                name: name.into(),
                mode: 0o755,
                gid: 0,
            };
            assert_eq!(wire.errno(mkdir), libc::ENOENT, "{name}");
            let rename = FCall::TRenameAt {
                olddirfid: 0,
                oldname: "top".into(),
                newdirfid: 0,
                newname: name.into(),
            };
            assert_eq!(wire.errno(rename), libc::ENOENT, "{name}");
        }
        wire.walk(0, 1, &[]);
        assert_eq!(wire.errno(FCall::TRemove { fid: 1 }), libc::EBUSY);
        assert!(dir.path().join("export/top").exists());
    }
}
