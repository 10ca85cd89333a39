//! Nothing is left on the server of what programs have closed.

use std::{
    fs::{self, File},
    io::Write,
    thread,
    time::{Duration, Instant},
};

use server9p::stack::Cache;

use crate::mounted::{Inside, Volume};

/// Descriptors that the server's process, or the child that serves for it, has open.
fn server_descriptors(server: u32) -> usize {
    let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
    children
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .chain([server])
        .filter_map(|pid: u32| Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count()))
        .sum()
}

#[test]
fn closed_files_leave_no_descriptors_on_the_server() {
    let Some(volume) = Volume::new() else { return };
    let mnt = volume.mnt();
    let churn = || {
        for round in 0..40 {
            let path = mnt.join(format!("f{}", round % 7));
            let dir = mnt.join(format!("d{}", round % 3));
            fs::create_dir_all(&dir).unwrap();
            let mut file = File::create(&path).unwrap();
            file.write_all(b"x").unwrap();
            let _ = file.metadata();
            let _ = fs::metadata(mnt.join("missing"));
            fs::read_dir(&mnt).unwrap().count();
            fs::rename(&path, dir.join("g")).unwrap();
            fs::remove_file(dir.join("g")).unwrap();
            drop(file);
            fs::remove_dir(&dir).unwrap();
        }
    };
    churn();
    let before = server_descriptors(volume.server());
    churn();
    churn();
    // The kernel tells of closed files and dropped names when it comes to it.
    let started = Instant::now();
    while server_descriptors(volume.server()) > before + 4 {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{} descriptors, {before} before",
            server_descriptors(volume.server())
        );
        thread::yield_now();
    }
}

#[test]
fn every_fid_is_clunked_once_nothing_uses_it() {
    for cache in [Cache::None, Cache::Mmap] {
        let Some(inside) = Inside::new(cache) else {
            return;
        };
        let churn = "for i in 1 2 3 4 5 6 7 8 9 10; do
            mkdir -p d/e; echo x > d/f; cat d/f > d/e/g; ln d/f h; ln -s d/f s; cat s h; mv d/f d/e/m
            ls -lR . ; stat missing || true; rm -r d h s
        done > /dev/null 2>&1";
        inside.run(churn);
        let fids = || inside.mount.client().fids_in_use();
        inside.run("cd / && true");
        let started = Instant::now();
        // The superblock's, and root's of the user.
        while fids() > 2 {
            let late = started.elapsed() > Duration::from_secs(20);
            assert!(!late, "{} fids are left with cache={cache}", fids());
            // Its replies are read by whoever comes next.
            inside.run("stat . > /dev/null");
        }
    }
}

#[test]
fn a_lost_server_ends_the_mount_and_hangs_nobody() {
    let Some(mut volume) = Volume::new() else {
        return;
    };
    let path = volume.mnt().join("f");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"x").unwrap();
    volume.kill_server();
    assert!(file.write_all(b"y").is_err());
    assert!(
        !volume.daemon_succeeds(),
        "it tells that the server is gone"
    );
    assert!(!crate::mounted::is_mounted(&volume.mnt()));
}
