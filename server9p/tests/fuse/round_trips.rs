//! How many requests programs' calls become, by the server's counters.

use std::{fs, ops::Range, process::Command};

use server9p::profile::Profile;

use crate::mounted::Counted;

/// Twalk, Tgetattr, Tclunk: what the attributes of a file take, by its name.
const STAT: u64 = 3;

/// What `find` asks of a directory, call by call as v9fs does it: `newfstatat` is Twalk, Tgetattr, Tgetattr, Tclunk;
/// `openat` Twalk, Tgetattr, Twalk, Tlopen; `fstat` Tgetattr; two `getdents`, the second of which finds no more, a Treaddir
/// each; `close` two Tclunks.
const LIST: u64 = 13;

/// At most half as much again as is needed; and not much less, or the test counts something else.
fn about(needed: u64) -> Range<u64> {
    // The kernel believes attributes of directories for a moment, and nodes that it remembers are not clunked yet.
    needed / 2..needed + needed / 2 + 1
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("f{number:05}"))
}

#[test]
fn stat_of_ten_thousand_files_takes_few_more_requests_than_it_needs() {
    for profile in [Profile::Golem, Profile::Posix] {
        let Some(volume) = Counted::new(profile) else {
            return;
        };
        let dir = volume.export.join("d");
        fs::create_dir(&dir).unwrap();
        for name in names(10_000) {
            fs::write(dir.join(name), "").unwrap();
        }
        let mut stat = Command::new("stat");
        let sent = volume.requests_of(stat.args(["-c", "%s"]).args(names(10_000)), "d");
        assert!(about(10_000 * STAT).contains(&sent), "{profile}: {sent}");
    }
}

#[test]
fn find_over_twenty_thousand_takes_few_more_requests_than_it_needs() {
    const DIRS: usize = 200;
    for profile in [Profile::Golem, Profile::Posix] {
        let Some(volume) = Counted::new(profile) else {
            return;
        };
        let (dirs, each) = (DIRS as u64, 99);
        for dir in 0..DIRS {
            let dir = volume.export.join(format!("d{dir}"));
            fs::create_dir(&dir).unwrap();
            for name in names(each) {
                fs::write(dir.join(name), "").unwrap();
            }
        }
        let mut find = Command::new("find");
        let sent = volume.requests_of(find.arg("."), "");
        assert!(about(dirs * LIST).contains(&sent), "{profile}: {sent}");
        // The same, and the attributes of each.
        let sent = volume.requests_of(find.args(["-size", "0"]), "");
        let needed = dirs * LIST + dirs * each as u64 * STAT;
        assert!(about(needed).contains(&sent), "{profile}: {sent}");
    }
}
