//! Locks among the programs of one mount, as v9fs keeps them: all are POSIX locks.

use std::{
    fs::File,
    os::fd::AsRawFd,
    process::{Command, Stdio},
    sync::mpsc::channel,
    thread,
};

use rustix::fs::{FlockOperation, flock};

use crate::mounted::{Volume, Wish};

/// Takes or releases a POSIX lock of the whole file; with `wait` waits for it.
fn posix(file: &File, kind: i32, wait: bool) -> Result<(), i32> {
    // SAFETY: zero is a valid flock.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    let command = if wait { libc::F_SETLKW } else { libc::F_SETLK };
    // SAFETY: fcntl reads the flock that it is given.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &lock) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}

#[test]
fn a_flock_excludes_other_open_files_and_ends_with_the_last_descriptor() {
    let Some(volume) = Volume::new() else { return };
    let path = volume.mnt().join("f");
    let first = File::create(&path).unwrap();
    let second = File::open(&path).unwrap();
    flock(&first, FlockOperation::LockExclusive).unwrap();
    let busy = flock(&second, FlockOperation::NonBlockingLockShared);
    assert_eq!(busy, Err(rustix::io::Errno::AGAIN));
    let copy = first.try_clone().unwrap();
    drop(first);
    assert!(flock(&second, FlockOperation::NonBlockingLockShared).is_err());
    drop(copy);
    flock(&second, FlockOperation::NonBlockingLockShared).unwrap();
}

#[test]
fn flock_and_fcntl_conflict_within_one_process() {
    let wish = Wish {
        profile: "golem",
        ..Wish::default()
    };
    let Some(volume) = Volume::mount(&wish) else {
        return;
    };
    let file = File::create(volume.mnt().join("f")).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    assert_eq!(posix(&file, libc::F_WRLCK, false), Err(libc::EAGAIN));
    flock(&file, FlockOperation::Unlock).unwrap();
    assert_eq!(posix(&file, libc::F_WRLCK, false), Ok(()));
}

#[test]
fn one_who_waits_for_a_lock_gets_it_and_stops_nobody_meanwhile() {
    let Some(volume) = Volume::new() else { return };
    let path = volume.mnt().join("f");
    let holder = File::create(&path).unwrap();
    flock(&holder, FlockOperation::LockExclusive).unwrap();
    let (sender, got) = channel();
    // More than there are serving threads.
    let waiters: Vec<_> = (0..20)
        .map(|_| {
            let (path, sender) = (path.clone(), sender.clone());
            thread::spawn(move || {
                let file = File::open(path).unwrap();
                flock(&file, FlockOperation::LockExclusive).unwrap();
                sender.send(()).unwrap();
            })
        })
        .collect();
    for index in 0..50 {
        std::fs::write(volume.mnt().join(format!("other{index}")), "x").unwrap();
    }
    assert!(got.try_recv().is_err(), "the lock is held");
    flock(&holder, FlockOperation::Unlock).unwrap();
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert_eq!(got.try_iter().count(), 20);
}

#[test]
fn a_killed_process_that_waits_for_a_lock_goes() {
    if Command::new("flock").arg("--version").output().is_err() {
        eprintln!("skipped: the program flock (Debian package util-linux) is not installed");
        return;
    }
    let Some(volume) = Volume::new() else { return };
    let path = volume.mnt().join("f");
    let holder = File::create(&path).unwrap();
    flock(&holder, FlockOperation::LockExclusive).unwrap();
    let mut child = Command::new("flock")
        .arg(&path)
        .arg("true")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // It waits once it sleeps in fuse's lock call; being killed earlier must work as well.
    for _ in 0..1000 {
        let stack = std::fs::read_to_string(format!("/proc/{}/wchan", child.id()));
        if stack.is_ok_and(|name| name.contains("fuse") || name.contains("request_wait")) {
            break;
        }
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    flock(&holder, FlockOperation::Unlock).unwrap();
    flock(&holder, FlockOperation::NonBlockingLockExclusive).unwrap();
}
