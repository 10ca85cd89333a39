//! Ranges locked by open file descriptions, and leases.

use super::*;

fn set_ofd(fd: &OwnedFd, kind: i32, start: i64, len: i64) -> Result<i32, Errno> {
    fcntl(fd, libc::F_OFD_SETLK, &mut range(kind, start, len))
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
        "lock.ofd_inherited",
        "an OFD lock is shared over fork, and ends with the last descriptor",
        ofd_inherited
    )
    .source("fcntl(2): open file description locks are inherited")
    .needed_by(&["containers/storage", "daemons that lock before they fork"])
);

fn ofd_inherited(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set_ofd(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_OFD_SETLK")?;
    let mut heir = fork(|parent| {
        // The lock is this process's too, so it takes it again.
        set_ofd(&fd, libc::F_WRLCK, 0, 0)
            .call("fcntl", "lock, F_OFD_SETLK by the forked process")?;
        parent.tell()?;
        parent.hear()
    })?;
    heir.hear()?;
    drop(open("lock", OFlags::RDWR)?);
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    heir.tell()?;
    heir.join()?;
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    set_ofd(&fd, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_OFD_SETLK, F_UNLCK")?;
    other_process("lock", 0, 0, Ok(()))
}

submit!(
    Case::new(
        "lock.ofd_get",
        "F_OFD_GETLK tells of the lock that is in the way, without a process",
        ofd_get
    )
    .source("fcntl(2): F_OFD_GETLK, l_pid is -1")
    .needed_by(&["QEMU (image locking)", "libvirt"])
);

fn ofd_get(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let first = open("lock", OFlags::RDWR)?;
    let second = open("lock", OFlags::RDWR)?;
    set_ofd(&first, libc::F_WRLCK, 100, 3).call("fcntl", "lock, F_OFD_SETLK, 100+3")?;
    let mut asked = range(libc::F_WRLCK, 0, 0);
    fcntl(&second, libc::F_OFD_GETLK, &mut asked).call("fcntl", "lock, F_OFD_GETLK")?;
    expect(
        "fcntl",
        "kind, start, length and process of the lock",
        (
            i32::from(asked.l_type),
            asked.l_start,
            asked.l_len,
            asked.l_pid,
        ),
        (libc::F_WRLCK, 100, 3, -1),
    )
}

submit!(
    Case::new(
        "lock.lease_broken",
        "who holds a lease is signalled when another process opens the file, which waits until it is given up",
        lease_broken
    )
    .source("fcntl(2): F_SETLEASE, F_SETSIG")
    .needed_by(&["Samba (oplocks)", "nfsd (delegations)"])
);

fn lease_broken(_: &mut Ctx) -> CaseOutcome {
    use nix::sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    };
    let fd = create("data", b"x")?;
    let mut awaited = SigSet::empty();
    awaited.add(Signal::SIGIO);
    awaited.thread_block().call("sigprocmask", "SIGIO")?;
    let signals =
        SignalFd::with_flags(&awaited, SfdFlags::SFD_CLOEXEC).call("signalfd", "SIGIO")?;
    let lease = |kind: i32| {
        // SAFETY: the command takes an integer.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, kind) })
    };
    lease(libc::F_WRLCK).call("fcntl", "data, F_SETLEASE, F_WRLCK")?;
    let mut opener = fork(|parent| {
        parent.tell()?;
        drop(open("data", OFlags::RDONLY)?);
        expect(
            "open",
            "whether the holder had given its lease up",
            exists("given up")?,
            true,
        )
    })?;
    opener.hear()?;
    signals.read_signal().call("read", "a signalfd")?;
    write("given up", b"")?;
    lease(libc::F_UNLCK).call("fcntl", "data, F_SETLEASE, F_UNLCK")?;
    opener.join()
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
