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
