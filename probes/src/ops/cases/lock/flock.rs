//! Whole-file locks of open file descriptions: flock.

use rustix::fs::FlockOperation;
use rustix::fs::flock;

use super::*;

const SHARED_NOW: FlockOperation = FlockOperation::NonBlockingLockShared;

const EXCLUSIVE_NOW: FlockOperation = FlockOperation::NonBlockingLockExclusive;

submit!(
    Case::new(
        "lock.flock_exclusive",
        "an exclusive flock keeps other processes out until it is released",
        flock_exclusive
    )
    .source("flock(2)")
    .needed_by(&[
        "util-linux flock",
        "cargo",
        "beads",
        "cron jobs",
        "Go (cmd/go lockedfile)"
    ])
);

fn flock_exclusive(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    flock(&fd, EXCLUSIVE_NOW).call("flock", "lock, LOCK_EX")?;
    let tries = |want: Result<(), Errno>| {
        fork(move |_| {
            let fd = open("lock", OFlags::RDWR)?;
            let got = flock(&fd, EXCLUSIVE_NOW).map_err(|e| Errno::from_raw(e.raw_os_error()));
            expect("flock", "LOCK_EX|LOCK_NB by another process", got, want)
        })?
        .join()
    };
    tries(Err(Errno::EAGAIN))?;
    flock(&fd, FlockOperation::Unlock).call("flock", "lock, LOCK_UN")?;
    tries(Ok(()))
}

submit!(
    Case::new(
        "lock.flock_shared",
        "shared flocks go together and keep an exclusive one out",
        flock_shared
    )
    .source("flock(2)")
    .needed_by(&["cargo (package cache)", "apk", "Go modules", "Chromium"])
);

fn flock_shared(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let first = open("lock", OFlags::RDONLY)?;
    let second = open("lock", OFlags::RDONLY)?;
    let third = open("lock", OFlags::RDWR)?;
    flock(&first, SHARED_NOW).call("flock", "lock, LOCK_SH")?;
    flock(&second, SHARED_NOW).call("flock", "lock, LOCK_SH by a second open")?;
    flock(&third, EXCLUSIVE_NOW).refused(
        "flock",
        "lock, LOCK_EX|LOCK_NB by a third open",
        Errno::EAGAIN,
    )?;
    drop((first, second));
    flock(&third, EXCLUSIVE_NOW).call("flock", "lock, LOCK_EX after both were closed")
}

submit!(
    Case::new(
        "lock.flock_own_opens",
        "two opens of one file by one process exclude each other by flock",
        flock_own_opens
    )
    .source("flock(2): a lock belongs to the open file description")
    .needed_by(&[
        "threads that lock by their own descriptor",
        "rclone",
        "lock libraries (fs4, filelock)"
    ])
);

fn flock_own_opens(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let first = open("lock", OFlags::RDWR)?;
    let second = open("lock", OFlags::RDWR)?;
    flock(&first, EXCLUSIVE_NOW).call("flock", "lock, LOCK_EX")?;
    flock(&second, EXCLUSIVE_NOW).refused(
        "flock",
        "lock, LOCK_EX|LOCK_NB by a second open",
        Errno::EAGAIN,
    )
}

submit!(
    Case::new(
        "lock.flock_inherited",
        "a flock is shared over fork and ends with the last descriptor",
        flock_inherited
    )
    .source("flock(2): fork and dup refer to the same lock")
    .needed_by(&["util-linux flock CMD", "daemons that lock before they fork"])
);

fn flock_inherited(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    flock(&fd, EXCLUSIVE_NOW).call("flock", "lock, LOCK_EX")?;
    let raw = fd.as_raw_fd();
    let mut heir = fork(|parent| {
        parent.tell()?;
        parent.hear()
    })?;
    heir.hear()?;
    // Only this process's descriptor goes; the forked one still has its own.
    drop(fd);
    let other = open("lock", OFlags::RDWR)?;
    flock(&other, EXCLUSIVE_NOW).refused(
        "flock",
        format_args!("lock, while a forked process has descriptor {raw}"),
        Errno::EAGAIN,
    )?;
    heir.tell()?;
    heir.join()?;
    flock(&other, EXCLUSIVE_NOW).call("flock", "lock, after the last descriptor was closed")
}

submit!(
    Case::new(
        "lock.flock_upgrade",
        "a shared flock becomes exclusive when nobody else holds one",
        flock_upgrade
    )
    .source("flock(2): converting a lock")
    .needed_by(&["cargo", "PackageKit", "Berkeley-style readers"])
);

fn flock_upgrade(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let first = open("lock", OFlags::RDWR)?;
    let second = open("lock", OFlags::RDWR)?;
    flock(&first, SHARED_NOW).call("flock", "lock, LOCK_SH")?;
    flock(&second, SHARED_NOW).call("flock", "lock, LOCK_SH by a second open")?;
    flock(&first, EXCLUSIVE_NOW).refused(
        "flock",
        "lock, LOCK_EX|LOCK_NB beside another's LOCK_SH",
        Errno::EAGAIN,
    )?;
    flock(&second, FlockOperation::Unlock).call("flock", "lock, LOCK_UN")?;
    flock(&first, EXCLUSIVE_NOW).call("flock", "lock, LOCK_EX")?;
    flock(&second, SHARED_NOW).refused(
        "flock",
        "lock, LOCK_SH|LOCK_NB beside LOCK_EX",
        Errno::EAGAIN,
    )
}

submit!(
    Case::new(
        "lock.flock_blocking",
        "who waits for a flock gets it when it is released",
        flock_blocking
    )
    .source("flock(2)")
    .needed_by(&[
        "util-linux flock",
        "apt and dpkg hooks",
        "Terraform",
        "make -j with flock"
    ])
);

fn flock_blocking(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    flock(&fd, EXCLUSIVE_NOW).call("flock", "lock, LOCK_EX")?;
    let mut waiter = fork(|parent| {
        let fd = open("lock", OFlags::RDWR)?;
        flock(&fd, EXCLUSIVE_NOW).refused("flock", "lock, LOCK_EX|LOCK_NB", Errno::EAGAIN)?;
        parent.tell()?;
        flock(&fd, FlockOperation::LockExclusive).call("flock", "lock, LOCK_EX")?;
        expect(
            "flock",
            "whether the holder had released it",
            exists("released")?,
            true,
        )
    })?;
    waiter.hear()?;
    waiter.wait_until_blocked()?;
    write("released", b"")?;
    flock(&fd, FlockOperation::Unlock).call("flock", "lock, LOCK_UN")?;
    waiter.join()
}

submit!(
    Case::new(
        "lock.flock_death",
        "the flock of a killed process is free",
        flock_death
    )
    .source("flock(2): released when all descriptors are closed")
    .needed_by(&["every daemon that locks its PID file"])
);

fn flock_death(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let mut holder = fork(|parent| {
        let fd = open("lock", OFlags::RDWR)?;
        flock(&fd, EXCLUSIVE_NOW).call("flock", "lock, LOCK_EX")?;
        parent.tell()?;
        parent.hear()
    })?;
    holder.hear()?;
    let fd = open("lock", OFlags::RDWR)?;
    flock(&fd, EXCLUSIVE_NOW).refused("flock", "lock, LOCK_EX|LOCK_NB", Errno::EAGAIN)?;
    holder.kill()?;
    flock(&fd, EXCLUSIVE_NOW).call("flock", "lock, LOCK_EX after the holder was killed")
}

submit!(
    Case::new(
        "lock.flock_and_posix",
        "flock and POSIX locks on one file do not touch each other",
        flock_and_posix
    )
    .source(
        "flock(2): independent of fcntl locks since Linux 2.0; v9fs makes POSIX locks of flocks"
    )
    .needed_by(&[
        "Dovecot (both kinds)",
        "mailbox programs",
        "Berkeley DB beside flock"
    ])
);

fn flock_and_posix(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let first = open("lock", OFlags::RDWR)?;
    flock(&first, EXCLUSIVE_NOW).call("flock", "lock, LOCK_EX")?;
    other_process("lock", 0, 0, Ok(()))?;
    set(&first, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK")?;
    set(&first, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_UNLCK")?;
    let second = open("lock", OFlags::RDWR)?;
    flock(&second, EXCLUSIVE_NOW).refused(
        "flock",
        "lock, LOCK_EX|LOCK_NB by a second open",
        Errno::EAGAIN,
    )
}
