//! FIFOs, sockets and devices as entries of a directory.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixDatagram, UnixListener, UnixStream},
};

use rustix::fs::FileType;

use super::super::prelude::*;

const REFUSED: &str =
    "QEMU hw/9pfs/9p-util.h refuses to open special files since the fix of CVE-2023-2861";

fn kind(path: &str) -> CaseOutcome<FileType> {
    Ok(FileType::from_raw_mode(lstat(path)?.st_mode))
}

fn make_fifo(path: &str) -> CaseOutcome {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o644)).call("mkfifo", path)
}

submit!(
    Case::new("special.mkfifo", "a FIFO is made, has its type and mode, and is removed", mkfifo)
        .source("POSIX mkfifo(); QEMU hw/9pfs/9p-util.h refuses to open special files since the fix of CVE-2023-2861")
        .needed_by(&["s6 and runit (supervise/control)", "tmux-like scripts", "Bazel tests"])
);

fn mkfifo(_: &mut Ctx) -> CaseOutcome {
    make_fifo("fifo")?;
    expect("mkfifo", "the type of fifo", kind("fifo")?, FileType::Fifo)?;
    expect(
        "mkfifo",
        "the mode of fifo",
        permissions(&lstat("fifo")?),
        "0644".into(),
    )?;
    unlink("fifo")?;
    holds("unlink", ".", &[])
}

submit!(
    Case::new(
        "special.fifo_transfer",
        "a FIFO passes bytes between two processes",
        fifo_transfer
    )
    .source(REFUSED)
    .needed_by(&["s6 and runit", "shell scripts", "MPlayer slave mode"])
);

fn fifo_transfer(_: &mut Ctx) -> CaseOutcome {
    make_fifo("fifo")?;
    let writer = fork(|_| {
        let fd = open("fifo", OFlags::WRONLY)?;
        rustix::io::write(&fd, b"through")
            .call("write", "fifo")
            .map(drop)
    })?;
    let fd = open("fifo", OFlags::RDONLY)?;
    let mut bytes = [0; 16];
    let n = rustix::io::read(&fd, &mut bytes).call("read", "fifo")?;
    writer.join()?;
    same_bytes("read", "fifo", &bytes[..n], b"through")
}

submit!(
    Case::new(
        "special.stream_socket",
        "a stream socket is bound to a name, and a client connects by it",
        stream_socket
    )
    .source(REFUSED)
    .needed_by(&[
        "PostgreSQL, MySQL, redis (local sockets)",
        "ssh-agent, gpg-agent",
        "Docker",
        "tmux"
    ])
);

fn stream_socket(_: &mut Ctx) -> CaseOutcome {
    let listener = UnixListener::bind("socket").call("bind", "socket")?;
    expect(
        "bind",
        "the type of socket",
        kind("socket")?,
        FileType::Socket,
    )?;
    let client = fork(|_| {
        let mut stream = UnixStream::connect("socket").call("connect", "socket")?;
        stream.write_all(b"hello").call("write", "socket")
    })?;
    let (mut stream, _) = listener.accept().call("accept", "socket")?;
    let mut got = Vec::new();
    stream.read_to_end(&mut got).call("read", "socket")?;
    client.join()?;
    same_bytes("read", "socket", &got, b"hello")
}

submit!(
    Case::new(
        "special.datagram_socket",
        "a datagram socket is bound to a name, and receives what is sent there",
        datagram_socket
    )
    .source(REFUSED)
    .needed_by(&[
        "syslog (/dev/log)",
        "systemd-notify",
        "wpa_supplicant",
        "Postfix"
    ])
);

fn datagram_socket(_: &mut Ctx) -> CaseOutcome {
    let receiver = UnixDatagram::bind("socket").call("bind", "socket")?;
    let sender = UnixDatagram::unbound().call("socket", "AF_UNIX, SOCK_DGRAM")?;
    sender
        .send_to(b"message", "socket")
        .call("sendto", "socket")?;
    let mut bytes = [0; 16];
    let n = receiver.recv(&mut bytes).call("recv", "socket")?;
    same_bytes("recv", "socket", &bytes[..n], b"message")
}

submit!(
    Case::new(
        "special.socket_in_use",
        "a second bind to a socket's name fails with EADDRINUSE, also when nobody listens",
        socket_in_use
    )
    .source("unix(7): EADDRINUSE")
    .needed_by(&["daemons that remove a stale socket first"])
);

fn socket_in_use(_: &mut Ctx) -> CaseOutcome {
    drop(UnixListener::bind("socket").call("bind", "socket")?);
    UnixListener::bind("socket").refused("bind", "socket, a second time", Errno::EADDRINUSE)?;
    UnixStream::connect("socket").refused(
        "connect",
        "socket, where nobody listens",
        Errno::ECONNREFUSED,
    )?;
    unlink("socket")?;
    UnixListener::bind("socket")
        .call("bind", "socket, after unlink")
        .map(drop)
}

submit!(
    Case::new(
        "special.abstract_socket",
        "a socket with an abstract name works, as it needs no file",
        abstract_socket
    )
    .source("unix(7): abstract sockets")
    .needed_by(&["D-Bus", "X11", "as a remedy where named sockets fail"])
);

fn abstract_socket(ctx: &mut Ctx) -> CaseOutcome {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("probe9p-{}-{:?}", std::process::id(), ctx.side);
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)
        .call("bind", "an abstract name")?;
    let receiver = UnixDatagram::bind_addr(&address).call("bind", "an abstract name")?;
    let sender = UnixDatagram::unbound().call("socket", "AF_UNIX, SOCK_DGRAM")?;
    sender
        .send_to_addr(b"message", &address)
        .call("sendto", "an abstract name")?;
    let mut bytes = [0; 16];
    let n = receiver.recv(&mut bytes).call("recv", "an abstract name")?;
    same_bytes("recv", "the datagram", &bytes[..n], b"message")
}

submit!(
    Case::new(
        "special.character_device",
        "root makes a character device, which works as the one in /dev",
        character_device
    )
    .source("POSIX mknod(); RPi-Distro/pi-gen#158")
    .needed_by(&[
        "debootstrap (test-dev-null)",
        "container image unpacking",
        "chroot set-up"
    ])
    .needs(&[Need::HostRoot])
);

fn character_device(_: &mut Ctx) -> CaseOutcome {
    let device = rustix::fs::makedev(1, 5);
    rustix::fs::mknodat(CWD, "zero", FileType::CharacterDevice, mode(0o666), device)
        .call("mknod", "zero, S_IFCHR, 1:5")?;
    expect(
        "mknod",
        "type and number",
        (kind("zero")?, lstat("zero")?.st_rdev),
        (FileType::CharacterDevice, device),
    )
}

submit!(
    Case::new(
        "special.block_device",
        "root makes a block device with its numbers",
        block_device
    )
    .source("POSIX mknod()")
    .needed_by(&["udev-less images", "debootstrap", "tar as root"])
    .needs(&[Need::HostRoot])
);

fn block_device(_: &mut Ctx) -> CaseOutcome {
    let device = rustix::fs::makedev(7, 200);
    rustix::fs::mknodat(CWD, "loop", FileType::BlockDevice, mode(0o600), device)
        .call("mknod", "loop, S_IFBLK, 7:200")?;
    expect(
        "mknod",
        "type and number",
        (kind("loop")?, lstat("loop")?.st_rdev),
        (FileType::BlockDevice, device),
    )
}

submit!(
    Case::new(
        "special.regular_by_mknod",
        "mknod makes a regular file",
        regular_by_mknod
    )
    .source("POSIX mknod(): S_IFREG")
    .needed_by(&["cpio", "old archivers", "LTP"])
);

fn regular_by_mknod(_: &mut Ctx) -> CaseOutcome {
    rustix::fs::mknodat(CWD, "data", FileType::RegularFile, mode(0o640), 0)
        .call("mknod", "data, S_IFREG")?;
    expect("mknod", "the type", kind("data")?, FileType::RegularFile)?;
    expect(
        "mknod",
        "the mode",
        permissions(&stat("data")?),
        "0640".into(),
    )?;
    expect("mknod", "the size", stat("data")?.st_size, 0)
}
