//! Locks: flock, POSIX ranges and open file descriptions, between the processes of one client.

use rustix::fs::{FlockOperation, flock};

use super::prelude::*;

const SHARED_NOW: FlockOperation = FlockOperation::NonBlockingLockShared;
const EXCLUSIVE_NOW: FlockOperation = FlockOperation::NonBlockingLockExclusive;

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

fn set_ofd(fd: &OwnedFd, kind: i32, start: i64, len: i64) -> Result<i32, Errno> {
    fcntl(fd, libc::F_OFD_SETLK, &mut range(kind, start, len))
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

submit!(
    Case::new(
        "lock.posix_exclusive",
        "a POSIX write lock keeps another process out until it is released",
        posix_exclusive
    )
    .source("POSIX fcntl(): F_SETLK")
    .needed_by(&["SQLite", "dpkg and apt", "Berkeley DB", "LMDB", "Samba"])
);

fn posix_exclusive(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_WRLCK")?;
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    set(&fd, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_UNLCK")?;
    other_process("lock", 0, 0, Ok(()))
}

submit!(
    Case::new(
        "lock.posix_ranges",
        "POSIX locks on different ranges of a file do not exclude each other",
        posix_ranges
    )
    .source("POSIX fcntl()")
    .needed_by(&[
        "SQLite (its lock bytes)",
        "Berkeley DB",
        "PostgreSQL tools",
        "Samba"
    ])
);

fn posix_ranges(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 10, 10).call("fcntl", "lock, F_SETLK, 10+10")?;
    other_process("lock", 0, 10, Ok(()))?;
    other_process("lock", 20, 0, Ok(()))?;
    other_process("lock", 19, 1, Err(Errno::EAGAIN))?;
    // SQLite locks bytes behind 1 GiB, wherever the file ends.
    set(&fd, libc::F_WRLCK, 0x4000_0000, 1).call("fcntl", "lock, F_SETLK, 0x40000000+1")?;
    other_process("lock", 0x4000_0000, 1, Err(Errno::EAGAIN))?;
    other_process("lock", 0x4000_0001, 1, Ok(()))
}

submit!(
    Case::new(
        "lock.posix_split",
        "unlocking the middle of a locked range leaves both ends locked",
        posix_split
    )
    .source("POSIX fcntl(): F_UNLCK of a part")
    .needed_by(&["SQLite", "Samba", "Berkeley DB"])
);

fn posix_split(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 30).call("fcntl", "lock, F_SETLK, 0+30")?;
    set(&fd, libc::F_UNLCK, 10, 10).call("fcntl", "lock, F_SETLK, F_UNLCK, 10+10")?;
    other_process("lock", 10, 10, Ok(()))?;
    other_process("lock", 9, 1, Err(Errno::EAGAIN))?;
    other_process("lock", 20, 1, Err(Errno::EAGAIN))
}

submit!(
    Case::new(
        "lock.posix_shared",
        "POSIX read locks of two processes go together and keep a writer out",
        posix_shared
    )
    .source("POSIX fcntl(): F_RDLCK")
    .needed_by(&["SQLite (readers)", "rpm and dnf", "Samba"])
);

fn posix_shared(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_RDLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_RDLCK")?;
    fork(|_| {
        let fd = open("lock", OFlags::RDONLY)?;
        set(&fd, libc::F_RDLCK, 0, 0)
            .call("fcntl", "lock, F_SETLK, F_RDLCK by another process")
            .map(drop)
    })?
    .join()?;
    other_process("lock", 0, 0, Err(Errno::EAGAIN))
}

submit!(
    Case::new(
        "lock.posix_get",
        "F_GETLK tells who holds the lock that is in the way",
        posix_get
    )
    .source("POSIX fcntl(): F_GETLK; google/gvisor#5113")
    .needed_by(&["rpm and dnf", "SQLite (reserved lock)", "dovecot"])
);

fn posix_get(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 5, 10).call("fcntl", "lock, F_SETLK, 5+10")?;
    let holder = std::process::id() as i32;
    fork(move |_| {
        let fd = open("lock", OFlags::RDWR)?;
        let mut asked = range(libc::F_WRLCK, 0, 0);
        fcntl(&fd, libc::F_GETLK, &mut asked).call("fcntl", "lock, F_GETLK")?;
        expect(
            "fcntl",
            "l_type of F_GETLK",
            i32::from(asked.l_type),
            libc::F_WRLCK,
        )?;
        expect(
            "fcntl",
            "the range of F_GETLK",
            (asked.l_start, asked.l_len),
            (5, 10),
        )?;
        expect("fcntl", "l_pid of F_GETLK", asked.l_pid, holder)?;
        let mut free = range(libc::F_WRLCK, 20, 1);
        fcntl(&fd, libc::F_GETLK, &mut free).call("fcntl", "lock, F_GETLK")?;
        expect(
            "fcntl",
            "l_type of F_GETLK on a free range",
            i32::from(free.l_type),
            libc::F_UNLCK,
        )
    })?
    .join()
}

submit!(
    Case::new(
        "lock.posix_blocking",
        "who waits for a POSIX lock gets it when it is released",
        posix_blocking
    )
    .source("POSIX fcntl(): F_SETLKW")
    .needed_by(&["dpkg (frontend lock)", "Berkeley DB", "nix", "SVN"])
);

fn posix_blocking(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK")?;
    let mut waiter = fork(|parent| {
        let fd = open("lock", OFlags::RDWR)?;
        set(&fd, libc::F_WRLCK, 0, 0).refused("fcntl", "lock, F_SETLK", Errno::EAGAIN)?;
        parent.tell()?;
        fcntl(&fd, libc::F_SETLKW, &mut range(libc::F_WRLCK, 0, 0))
            .call("fcntl", "lock, F_SETLKW")?;
        expect(
            "fcntl",
            "whether the holder had released it",
            exists("released")?,
            true,
        )
    })?;
    waiter.hear()?;
    waiter.wait_until_blocked()?;
    write("released", b"")?;
    set(&fd, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_UNLCK")?;
    waiter.join()
}

submit!(
    Case::new(
        "lock.posix_interrupted",
        "waiting for a POSIX lock ends with EINTR when a signal is handled",
        posix_interrupted
    )
    .source("POSIX fcntl(): EINTR")
    .needed_by(&["programs that lock with alarm() as a time limit (dotlock, mutt, SVN)"])
);

extern "C" fn ignore_it(_: i32) {}

fn posix_interrupted(_: &mut Ctx) -> CaseOutcome {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK")?;
    let mut waiter = fork(|parent| {
        let action = SigAction::new(
            SigHandler::Handler(ignore_it),
            SaFlags::empty(),
            SigSet::empty(),
        );
        // SAFETY: the handler does nothing.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.call("sigaction", "SIGUSR1")?;
        let fd = open("lock", OFlags::RDWR)?;
        parent.tell()?;
        fcntl(&fd, libc::F_SETLKW, &mut range(libc::F_WRLCK, 0, 0)).refused(
            "fcntl",
            "lock, F_SETLKW",
            Errno::EINTR,
        )?;
        parent.tell()
    })?;
    waiter.hear()?;
    waiter.wait_until_blocked()?;
    kill(nix::unistd::Pid::from_raw(waiter.pid()), Signal::SIGUSR1).call("kill", "SIGUSR1")?;
    waiter.hear()?;
    waiter.join()
}

submit!(
    Case::new(
        "lock.posix_close",
        "closing any descriptor of a file drops the process's POSIX locks on it",
        posix_close
    )
    .source("POSIX close(): all locks of the process on the file")
    .needed_by(&["SQLite (which defers closing for this)"])
);

fn posix_close(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK")?;
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    drop(open("lock", OFlags::RDONLY)?);
    other_process("lock", 0, 0, Ok(()))
}

submit!(
    Case::new(
        "lock.posix_death",
        "the POSIX lock of a killed process is free, also for who waits",
        posix_death
    )
    .source("POSIX fcntl(): locks end with the process")
    .needed_by(&["SQLite (crash recovery)", "dpkg", "Berkeley DB"])
);

fn posix_death(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let mut holder = fork(|parent| {
        let fd = open("lock", OFlags::RDWR)?;
        set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK")?;
        parent.tell()?;
        parent.hear()
    })?;
    holder.hear()?;
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    let mut waiter = fork(|parent| {
        let fd = open("lock", OFlags::RDWR)?;
        parent.tell()?;
        fcntl(&fd, libc::F_SETLKW, &mut range(libc::F_WRLCK, 0, 0))
            .call("fcntl", "lock, F_SETLKW")
            .map(drop)
    })?;
    waiter.hear()?;
    waiter.wait_until_blocked()?;
    holder.kill()?;
    waiter.join()
}

submit!(
    Case::new(
        "lock.posix_deadlock",
        "of two processes that wait for each other one gets EDEADLK",
        posix_deadlock
    )
    .source("POSIX fcntl(): EDEADLK")
    .needed_by(&[
        "Berkeley DB",
        "Samba",
        "database servers that recover from it"
    ])
);

fn posix_deadlock(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 1).call("fcntl", "lock, F_SETLK, 0+1")?;
    let mut other = fork(|parent| {
        let fd = open("lock", OFlags::RDWR)?;
        set(&fd, libc::F_WRLCK, 1, 1).call("fcntl", "lock, F_SETLK, 1+1")?;
        parent.tell()?;
        fcntl(&fd, libc::F_SETLKW, &mut range(libc::F_WRLCK, 0, 1))
            .call("fcntl", "lock, F_SETLKW, 0+1")
            .map(drop)
    })?;
    other.hear()?;
    other.wait_until_blocked()?;
    fcntl(&fd, libc::F_SETLKW, &mut range(libc::F_WRLCK, 1, 1)).refused(
        "fcntl",
        "lock, F_SETLKW, 1+1, which the other waits behind",
        Errno::EDEADLK,
    )?;
    set(&fd, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_UNLCK")?;
    other.join()
}

submit!(
    Case::new(
        "lock.posix_needs_mode",
        "a write lock needs a descriptor opened for writing: EBADF",
        posix_needs_mode
    )
    .source("POSIX fcntl(): EBADF")
    .needed_by(&["programs that lock read-only databases"])
);

fn posix_needs_mode(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let fd = open("lock", OFlags::RDONLY)?;
    set(&fd, libc::F_WRLCK, 0, 0).refused(
        "fcntl",
        "lock, O_RDONLY, F_SETLK, F_WRLCK",
        Errno::EBADF,
    )?;
    set(&fd, libc::F_RDLCK, 0, 0)
        .call("fcntl", "lock, O_RDONLY, F_SETLK, F_RDLCK")
        .map(drop)
}

submit!(
    Case::new(
        "lock.ofd_exclusive",
        "two opens by one process exclude each other by OFD locks",
        ofd_exclusive
    )
    .source("fcntl(2): F_OFD_SETLK")
    .needed_by(&[
        "QEMU (image locking)",
        "podman and containers/storage",
        "Samba",
        "systemd"
    ])
);

fn ofd_exclusive(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let first = open("lock", OFlags::RDWR)?;
    let second = open("lock", OFlags::RDWR)?;
    set_ofd(&first, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_OFD_SETLK")?;
    set_ofd(&second, libc::F_WRLCK, 0, 0).refused(
        "fcntl",
        "lock, F_OFD_SETLK by a second open",
        Errno::EAGAIN,
    )?;
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    set_ofd(&first, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_OFD_SETLK, F_UNLCK")?;
    set_ofd(&second, libc::F_WRLCK, 0, 0)
        .call("fcntl", "lock, F_OFD_SETLK")
        .map(drop)
}

submit!(
    Case::new(
        "lock.ofd_close",
        "an OFD lock stays when another descriptor of the file is closed",
        ofd_close
    )
    .source("fcntl(2): open file description locks")
    .needed_by(&["QEMU", "containers/storage", "libvirt"])
);

fn ofd_close(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set_ofd(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_OFD_SETLK")?;
    drop(open("lock", OFlags::RDWR)?);
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    drop(fd);
    other_process("lock", 0, 0, Ok(()))
}

submit!(
    Case::new(
        "lock.exclusion",
        "4 processes that add to a counter under a lock lose no addition",
        exclusion
    )
    .source("POSIX fcntl(): F_SETLKW; what locks are for")
    .needed_by(&["SQLite", "job queues by lock file", "package managers"])
);

fn exclusion(_: &mut Ctx) -> CaseOutcome {
    write("count", &0u32.to_le_bytes())?;
    write("lock", b"")?;
    let adders = (0..4)
        .map(|_| {
            fork(|_| {
                let lock = open("lock", OFlags::RDWR)?;
                for _ in 0..25 {
                    fcntl(&lock, libc::F_SETLKW, &mut range(libc::F_WRLCK, 0, 0))
                        .call("fcntl", "lock, F_SETLKW")?;
                    let fd = open("count", OFlags::RDWR)?;
                    let mut bytes = [0; 4];
                    bytes.copy_from_slice(&read_at(&fd, "count", 0, 4)?);
                    let sum = u32::from_le_bytes(bytes) + 1;
                    write_at(&fd, "count", 0, &sum.to_le_bytes())?;
                    set(&lock, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_UNLCK")?;
                }
                Ok(())
            })
        })
        .collect::<CaseOutcome<Vec<_>>>()?;
    for adder in adders {
        adder.join()?;
    }
    contents("fcntl", "count", &100u32.to_le_bytes())
}

submit!(
    Case::new(
        "lock.lease",
        "a read lease on a file is granted, and told of by F_GETLEASE",
        lease
    )
    .source("fcntl(2): F_SETLEASE")
    .needed_by(&["Samba (oplocks)", "nfsd (delegations)"])
);

fn lease(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let fd = open("data", OFlags::RDONLY)?;
    // SAFETY: the command takes an integer.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) })
        .call("fcntl", "data, F_SETLEASE, F_RDLCK")?;
    // SAFETY: the command takes nothing.
    let held = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLEASE) })
        .call("fcntl", "data, F_GETLEASE")?;
    expect("fcntl", "the lease", held, libc::F_RDLCK)
}
