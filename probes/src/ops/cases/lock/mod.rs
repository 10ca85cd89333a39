//! Locks: flock, POSIX ranges and open file descriptions, between the processes of one client, and across two.

mod clients;
mod flock;
mod ofd;
mod posix;

use super::prelude::*;

/// The whole of struct flock, for a range from `start`.
fn range(kind: i32, start: i64, len: i64) -> libc::flock {
    // SAFETY: all fields are plain numbers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    (lock.l_start, lock.l_len) = (start, len);
    lock
}

fn fcntl(fd: &OwnedFd, command: i32, lock: &mut libc::flock) -> Result<i32, Errno> {
    // SAFETY: the command is one of the locking ones, which take a struct flock.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), command, std::ptr::from_mut(lock)) })
}

fn set(fd: &OwnedFd, kind: i32, start: i64, len: i64) -> Result<i32, Errno> {
    fcntl(fd, libc::F_SETLK, &mut range(kind, start, len))
}

/// What another process gets that asks for a write lock on the range right now.
fn other_process(path: &'static str, start: i64, len: i64, want: Result<(), Errno>) -> CaseOutcome {
    fork(move |_| {
        let fd = open(path, OFlags::RDWR)?;
        let got = set(&fd, libc::F_WRLCK, start, len).map(drop);
        expect(
            "fcntl",
            &format!("F_SETLK of bytes {start}+{len} by another process"),
            got,
            want,
        )
    })?
    .join()
}
