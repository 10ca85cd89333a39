//! `probe9p mount` as other programs of the machine see it.

mod common;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
    process::{Child, Stdio},
    time::Duration,
};

use common::{Place, all_end, descendants, fuse, handles, mounts};
use rustix::process::{Pid, Signal, kill_process};

/// A directory with a file in it and a place to mount it at; the server must get through to them.
fn place() -> (Place, PathBuf, PathBuf) {
    let place = Place::new();
    let (dir, point) = (place.path().join("dir"), place.path().join("point"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&point).unwrap();
    fs::write(dir.join("file"), "text").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if nix::unistd::geteuid().is_root() {
        chown(&dir, Some(65534), Some(65534)).unwrap();
    }
    (place, dir, point)
}

fn mounted(place: &Place) -> (Child, String) {
    let args = ["mount", "dir", "point"];
    let mut command = place.command(&args);
    let mut child = command
        .current_dir(place.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        // Before it may stand what is not as in a guest here.
        .find(|line| !line.contains("page cache"));
    (child, line.unwrap())
}

#[test]
fn a_signal_unmounts_and_a_kill_does_too() {
    if !fuse("a_signal_unmounts_and_a_kill_does_too") {
        return;
    }
    for (signal, code) in [
        (Signal::INT, Some(0)),
        (Signal::TERM, Some(0)),
        (Signal::KILL, None),
    ] {
        let (place, dir, point) = place();
        let (mut child, line) = mounted(&place);
        assert!(line.contains("is mounted at point"), "{line}");
        assert_eq!(fs::read(point.join("file")).unwrap(), b"text");
        fs::write(point.join("new"), "made on the volume").unwrap();
        assert_eq!(fs::read(dir.join("new")).unwrap(), b"made on the volume");
        let helpers = handles(&descendants(Pid::from_child(&child)));
        assert!(helpers.len() >= 3, "a server, a daemon and a watcher");
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), code);
        assert!(
            all_end(&helpers, Duration::from_secs(30)),
            "every process ends after {signal:?}"
        );
        assert_eq!(
            mounts(place.path()),
            [""; 0],
            "nothing is mounted after {signal:?}"
        );
    }
}

#[test]
fn the_death_of_any_helper_leaves_no_mount() {
    if !fuse("the_death_of_any_helper_leaves_no_mount") {
        return;
    }
    // The server and the daemon; the watcher's death alone leaves the mount to its owner, who is there.
    for victim in ["@serve", "@fuse"] {
        let (place, ..) = place();
        let (mut child, _) = mounted(&place);
        let pids = descendants(Pid::from_child(&child));
        let helpers = handles(&pids);
        let named = |pid: &&Pid| {
            let line =
                fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(victim)
        };
        kill_process(*pids.iter().find(named).unwrap(), Signal::KILL).unwrap();
        assert_eq!(
            child.wait().unwrap().code(),
            Some(3),
            "the end of {victim} is an error"
        );
        assert!(
            all_end(&helpers, Duration::from_secs(30)),
            "every process ends with {victim}"
        );
        assert_eq!(
            mounts(place.path()),
            [""; 0],
            "nothing is mounted without {victim}"
        );
    }
}

#[test]
fn unfit_directories_are_named_with_the_remedy() {
    let (place, dir, _) = place();
    let (dir, file) = (dir.to_str().unwrap().to_owned(), dir.join("file"));
    place
        .run(&["mount", &dir, "/no/such/point"])
        .says(3, "/no/such/point cannot be used");
    place
        .run(&["mount", &dir, file.to_str().unwrap()])
        .says(3, "is not a directory");
    place
        .run(&["mount", &dir, &dir])
        .says(3, "lie in each other; mount it elsewhere");
}
