//! The rarer calls on an open file that has no name any more: locks, copies, what is told of it, and where else it is
//! reached from.

use rustix::fs::{FallocateFlags, SeekFrom, StatxFlags, XattrFlags};

use super::*;

/// A struct flock for the whole file.
fn whole(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Another process, which inherits the descriptor's file by /proc, must not get the lock.
fn lock_keeps_out(fd: &OwnedFd, name: &str, command: i32, twin: &OwnedFd) -> CaseOutcome {
    let mut lock = whole(libc::F_WRLCK);
    // SAFETY: the command is a locking one, which takes a struct flock.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), command, &mut lock) })
        .call("fcntl", format_args!("{GONE}, {name}, F_WRLCK"))?;
    fork(|_| {
        let mut lock = whole(libc::F_WRLCK);
        // SAFETY: as above.
        check(unsafe { libc::fcntl(twin.as_raw_fd(), command, &mut lock) }).refused(
            "fcntl",
            format_args!("{GONE}, {name}, F_WRLCK by another process"),
            Errno::EAGAIN,
        )
    })?
    .join()?;
    lock = whole(libc::F_UNLCK);
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), command, &mut lock) })
        .call("fcntl", format_args!("{GONE}, {name}, F_UNLCK"))
        .map(drop)
}

/// The same nameless file, opened twice.
fn nameless_twice() -> CaseOutcome<(OwnedFd, OwnedFd)> {
    let first = create("data", b"x")?;
    let second = open("data", OFlags::RDWR)?;
    unlink("data")?;
    Ok((first, second))
}

submit!(
    Case::new(
        "inode.unlinked_posix_lock",
        "a POSIX lock on a file without a name keeps other processes out, and is released",
        unlinked_posix_lock
    )
    .source("POSIX fcntl(): F_SETLK; unlink()")
    .needed_by(&[
        "SQLite (temporary databases)",
        "daemons whose PID file was removed"
    ])
);

fn unlinked_posix_lock(_: &mut Ctx) -> CaseOutcome {
    let (first, second) = nameless_twice()?;
    lock_keeps_out(&first, "F_SETLK", libc::F_SETLK, &second)
}

submit!(
    Case::new(
        "inode.unlinked_ofd_lock",
        "an OFD lock on a file without a name keeps other opens out, and is released",
        unlinked_ofd_lock
    )
    .source("fcntl(2): F_OFD_SETLK")
    .needed_by(&["systemd", "libvirt and QEMU (image locks)"])
);

fn unlinked_ofd_lock(_: &mut Ctx) -> CaseOutcome {
    let (first, second) = nameless_twice()?;
    lock_keeps_out(&first, "F_OFD_SETLK", libc::F_OFD_SETLK, &second)
}

submit!(
    Case::new(
        "inode.unlinked_fallocate",
        "fallocate gives an open file without a name its length",
        unlinked_fallocate
    )
    .source("fallocate(2)")
    .needed_by(&[
        "Wayland clients (shared buffers)",
        "MySQL (temporary tablespaces)"
    ])
);

fn unlinked_fallocate(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"x")?;
    rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, 50_000).call("fallocate", GONE)?;
    let end = rustix::fs::seek(&fd, SeekFrom::End(0)).call("lseek", GONE)?;
    expect("fallocate", "the end", end, 50_000)
}

submit!(
    Case::new(
        "inode.unlinked_copy_file_range",
        "copy_file_range copies from an open file without a name into another",
        unlinked_copy_file_range
    )
    .source("copy_file_range(2)")
    .needed_by(&[
        "coreutils cp by descriptor",
        "Go os.File.ReadFrom",
        "Rust io::copy"
    ])
);

fn unlinked_copy_file_range(_: &mut Ctx) -> CaseOutcome {
    let from = nameless(&[b'c'; 20_000])?;
    let to = create("copy", b"")?;
    let mut done = 0;
    while done < 20_000 {
        let (mut a, mut b) = (done, done);
        let n = rustix::fs::copy_file_range(
            &from,
            Some(&mut a),
            &to,
            Some(&mut b),
            20_000 - done as usize,
        )
        .call("copy_file_range", format_args!("{GONE}, copy"))?;
        ensure("copy_file_range", n > 0, "copy_file_range copied nothing")?;
        done += n as u64;
    }
    contents("copy_file_range", "copy", &[b'c'; 20_000])
}

submit!(
    Case::new(
        "inode.unlinked_sendfile",
        "sendfile sends an open file without a name into another",
        unlinked_sendfile
    )
    .source("sendfile(2)")
    .needed_by(&[
        "nginx (proxy_temp_path)",
        "Python shutil.copyfileobj and zero-copy servers"
    ])
);

fn unlinked_sendfile(_: &mut Ctx) -> CaseOutcome {
    let from = nameless(&[b's'; 20_000])?;
    let to = create("copy", b"")?;
    let mut at = 0;
    while at < 20_000 {
        let rest = 20_000 - at as usize;
        let n = rustix::fs::sendfile(&to, &from, Some(&mut at), rest)
            .call("sendfile", format_args!("copy, {GONE}"))?;
        ensure("sendfile", n > 0, "sendfile sent nothing")?;
    }
    contents("sendfile", "copy", &[b's'; 20_000])
}

submit!(
    Case::new(
        "inode.unlinked_splice",
        "splice moves bytes from a pipe into an open file without a name, and back",
        unlinked_splice
    )
    .source("splice(2)")
    .needed_by(&["HAProxy, nginx (temporary files)", "systemd-journald"])
);

fn unlinked_splice(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"")?;
    let (out, input) = rustix::pipe::pipe().call("pipe2", "")?;
    let flags = rustix::pipe::SpliceFlags::empty();
    let sent = rustix::io::write(&input, b"through a pipe").call("write", "pipe")?;
    let mut at = 0;
    while (at as usize) < sent {
        let rest = sent - at as usize;
        let n = rustix::pipe::splice(&out, None, &fd, Some(&mut at), rest, flags)
            .call("splice", format_args!("pipe, {GONE}"))?;
        ensure("splice", n > 0, "splice moved nothing")?;
    }
    same_bytes(
        "splice",
        GONE,
        &read_at(&fd, GONE, 0, 50)?,
        b"through a pipe",
    )?;
    let mut from = 8;
    let n = rustix::pipe::splice(&fd, Some(&mut from), &input, None, 6, flags)
        .call("splice", format_args!("{GONE}, pipe"))?;
    let mut bytes = [0; 6];
    let got = rustix::io::read(&out, &mut bytes[..n]).call("read", "pipe")?;
    same_bytes("splice", "pipe", &bytes[..got], &b"a pipe"[..n])
}

submit!(
    Case::new(
        "inode.unlinked_vectors",
        "readv, writev, preadv and pwritev work on an open file without a name",
        unlinked_vectors
    )
    .source(POSIX)
    .needed_by(&[
        "Java NIO (temporary files)",
        "MariaDB (temporary tables)",
        "Rust std (write_vectored)"
    ])
);

fn unlinked_vectors(_: &mut Ctx) -> CaseOutcome {
    use std::io::{IoSlice, IoSliceMut};
    let fd = nameless(b"")?;
    let n = rustix::io::writev(&fd, &[IoSlice::new(b"01"), IoSlice::new(b"234")])
        .call("writev", GONE)?;
    expect("writev", "the count", n, 5)?;
    let n = rustix::io::pwritev(&fd, &[IoSlice::new(b"AB"), IoSlice::new(b"C")], 5)
        .call("pwritev", GONE)?;
    expect("pwritev", "the count", n, 3)?;
    let (mut first, mut second) = ([0; 3], [0; 9]);
    let mut pieces = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    let n = rustix::io::preadv(&fd, &mut pieces, 1).call("preadv", GONE)?;
    expect("preadv", "the count", n, 7)?;
    same_bytes(
        "preadv",
        GONE,
        &[&first[..], &second[..4]].concat(),
        b"1234ABC",
    )?;
    rustix::fs::seek(&fd, SeekFrom::Start(6)).call("lseek", GONE)?;
    let mut pieces = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    let n = rustix::io::readv(&fd, &mut pieces).call("readv", GONE)?;
    expect("readv", "the count", n, 2)?;
    same_bytes("readv", GONE, &first[..2], b"BC")
}

submit!(
    Case::new(
        "inode.unlinked_state",
        "flags, a duplicate, readahead, advice, fdatasync and sync_file_range of an open file without a name succeed",
        unlinked_state
    )
    .source("fcntl(2): F_SETFL; dup(2); readahead(2); posix_fadvise(2); sync_file_range(2)")
    .needed_by(&["PostgreSQL (temporary files)", "RocksDB", "sort (advice on temporary files)"])
);

fn unlinked_state(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(&[b'x'; 10_000])?;
    rustix::fs::fcntl_setfl(&fd, OFlags::APPEND).call("fcntl", format_args!("{GONE}, F_SETFL"))?;
    let flags = rustix::fs::fcntl_getfl(&fd).call("fcntl", format_args!("{GONE}, F_GETFL"))?;
    let appends = flags.contains(OFlags::APPEND);
    expect("fcntl", "whether O_APPEND is set", appends, true)?;
    let twin = rustix::io::dup(&fd).call("dup", GONE)?;
    let n = rustix::io::write(&twin, b"end").call("write", GONE)?;
    expect("write", "the count", n, 3)?;
    same_bytes("write", GONE, &read_at(&fd, GONE, 10_000, 9)?, b"end")?;
    let raw = fd.as_raw_fd();
    // SAFETY: the call takes an open descriptor and numbers.
    check(unsafe { libc::readahead(raw, 0, 10_000) }).call("readahead", GONE)?;
    // SAFETY: as above. It returns its error, and sets no errno.
    let advised = unsafe { libc::posix_fadvise(raw, 0, 0, libc::POSIX_FADV_DONTNEED) };
    expect("posix_fadvise", "its result", advised, 0)?;
    rustix::fs::fdatasync(&fd).call("fdatasync", GONE)?;
    // SAFETY: as above.
    check(unsafe { libc::sync_file_range(raw, 0, 0, libc::SYNC_FILE_RANGE_WRITE) })
        .call("sync_file_range", GONE)?;
    same_bytes(
        "posix_fadvise",
        GONE,
        &read_at(&fd, GONE, 9_998, 9)?,
        b"xxend",
    )
}

submit!(
    Case::new(
        "inode.unlinked_fstatfs",
        "fstatfs of an open file without a name tells of its filesystem",
        unlinked_fstatfs
    )
    .source("POSIX fstatvfs()")
    .needed_by(&[
        "databases that check for room",
        "systemd (type of a temporary file's filesystem)"
    ])
);

fn unlinked_fstatfs(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"x")?;
    let by_fd = rustix::fs::fstatvfs(&fd).call("fstatfs", GONE)?;
    let by_name = rustix::fs::statvfs(".").call("statfs", ".")?;
    expect("fstatfs", "f_blocks", by_fd.f_blocks, by_name.f_blocks)?;
    expect("fstatfs", "f_frsize", by_fd.f_frsize, by_name.f_frsize)
}

submit!(
    Case::new(
        "inode.unlinked_statx",
        "statx with AT_EMPTY_PATH tells of an open file without a name",
        unlinked_statx
    )
    .source("statx(2): AT_EMPTY_PATH")
    .needed_by(&[
        "Rust std (File::metadata)",
        "glibc fstat on newer machines",
        "systemd"
    ])
);

fn unlinked_statx(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"0123456789")?;
    let told = rustix::fs::statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
        .call("statx", format_args!("{GONE}, AT_EMPTY_PATH"))?;
    expect("statx", "stx_size", told.stx_size, 10)
}

submit!(
    Case::new(
        "inode.unlinked_xattrs",
        "attributes of an open file without a name are listed and removed",
        unlinked_xattrs
    )
    .source("flistxattr(2), fremovexattr(2)")
    .needed_by(&[
        "cp --preserve=xattr by descriptor",
        "systemd (coredump metadata)"
    ])
);

fn unlinked_xattrs(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"x")?;
    rustix::fs::fsetxattr(&fd, "user.k", b"value", XattrFlags::empty())
        .call("fsetxattr", "data")?;
    unlink("data")?;
    let mut list = [0; 64];
    let n = rustix::fs::flistxattr(&fd, &mut list).call("flistxattr", GONE)?;
    ensure(
        "flistxattr",
        list[..n].split(|b| *b == 0).any(|name| name == b"user.k"),
        "user.k is not in the list",
    )?;
    rustix::fs::fremovexattr(&fd, "user.k").call("fremovexattr", GONE)?;
    rustix::fs::fgetxattr(&fd, "user.k", &mut list[..]).refused("fgetxattr", GONE, Errno::ENODATA)
}

submit!(
    Case::new(
        "inode.unlinked_proc_link",
        "the link of /proc/self/fd says of an open file that its name was removed",
        unlinked_proc_link
    )
    .source("proc(5): /proc/PID/fd, \"(deleted)\"")
    .needed_by(&["lsof", "fuser", "needrestart", "checkrestart"])
);

fn unlinked_proc_link(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"x")?;
    let told = std::fs::read_link(proc_fd(&fd)).call("readlink", "/proc/self/fd/N")?;
    let told = told.to_string_lossy();
    ensure(
        "readlink",
        told.ends_with("/data (deleted)"),
        format_args!("the link of a file whose name was removed is {told:?}"),
    )
}

submit!(
    Case::new(
        "inode.unlinked_passed",
        "an open file without a name is passed to another process, which reads and writes it",
        unlinked_passed
    )
    .source("unix(7): SCM_RIGHTS; POSIX unlink()")
    .needed_by(&[
        "Wayland clients",
        "Chromium (shared files)",
        "privilege-separated daemons (OpenSSH)"
    ])
);

fn unlinked_passed(_: &mut Ctx) -> CaseOutcome {
    use rustix::net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
        SocketType,
    };
    let fd = nameless(b"passed on")?;
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .call("socketpair", "")?;
    let other = fork(|_| {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut got = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        rustix::net::recvmsg(
            &theirs,
            &mut [std::io::IoSliceMut::new(&mut byte)],
            &mut got,
            rustix::net::RecvFlags::empty(),
        )
        .call("recvmsg", "a descriptor")?;
        let fd = got.drain().find_map(|message| match message {
            rustix::net::RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let Some(fd) = fd else {
            return Err(Stop::broken("recvmsg", "no descriptor came"));
        };
        same_bytes("recvmsg", GONE, &read_at(&fd, GONE, 0, 20)?, b"passed on")?;
        write_at(&fd, GONE, 0, b"PASSED")
    })?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    ensure(
        "sendmsg",
        message.push(SendAncillaryMessage::ScmRights(&fds)),
        "the message has no room",
    )?;
    rustix::net::sendmsg(
        &ours,
        &[std::io::IoSlice::new(b".")],
        &mut message,
        SendFlags::empty(),
    )
    .call("sendmsg", "a descriptor")?;
    other.join()?;
    same_bytes("pwrite", GONE, &read_at(&fd, GONE, 0, 20)?, b"PASSED on")
}
