//! Allocating room, and moving bytes between files inside the kernel.

use rustix::fs::FallocateFlags;

use super::prelude::*;

submit!(
    Case::new(
        "io.fallocate",
        "fallocate gives a file its length and room",
        fallocate
    )
    .source("fallocate(2); kata-containers/runtime#687")
    .needed_by(&["systemd-journald", "fio", "qemu-img", "BitTorrent clients"])
);

fn fallocate(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"kept")?;
    rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, 100_000)
        .call("fallocate", "data, 0+100000")?;
    expect("fallocate", "st_size", stat("data")?.st_size, 100_000)?;
    same_bytes(
        "fallocate",
        "data",
        &read_at(&fd, "data", 0, 6)?,
        b"kept\0\0",
    )
}

submit!(
    Case::new(
        "io.posix_fallocate",
        "posix_fallocate gives a file its length, if need be by writing",
        posix_fallocate
    )
    .source("POSIX posix_fallocate(); glibc writes where the filesystem has no fallocate")
    .needed_by(&[
        "MySQL (InnoDB)",
        "aria2",
        "Transmission",
        "sqlite with chunk sizes"
    ])
);

fn posix_fallocate(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"kept")?;
    // SAFETY: the descriptor is open; the call takes numbers alone.
    let error = unsafe { libc::posix_fallocate(fd.as_raw_fd(), 0, 100_000) };
    let result = if error == 0 {
        Ok(())
    } else {
        Err(Errno::from_raw(error))
    };
    result.call("posix_fallocate", "data, 0+100000")?;
    expect("posix_fallocate", "st_size", stat("data")?.st_size, 100_000)?;
    same_bytes(
        "posix_fallocate",
        "data",
        &read_at(&fd, "data", 0, 6)?,
        b"kept\0\0",
    )
}

submit!(
    Case::new(
        "io.fallocate_keep_size",
        "fallocate with FALLOC_FL_KEEP_SIZE leaves the length",
        fallocate_keep_size
    )
    .source("fallocate(2): FALLOC_FL_KEEP_SIZE")
    .needed_by(&["rsync --preallocate", "RocksDB", "Samba"])
);

fn fallocate_keep_size(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"kept")?;
    rustix::fs::fallocate(&fd, FallocateFlags::KEEP_SIZE, 0, 100_000)
        .call("fallocate", "data, FALLOC_FL_KEEP_SIZE")?;
    contents("fallocate", "data", b"kept")
}

submit!(
    Case::new(
        "io.punch_hole",
        "fallocate with FALLOC_FL_PUNCH_HOLE turns a range into zeros",
        punch_hole
    )
    .source("fallocate(2): FALLOC_FL_PUNCH_HOLE")
    .needed_by(&[
        "MySQL (page compression)",
        "QEMU (discard)",
        "MongoDB",
        "fstrim of loop devices"
    ])
);

fn punch_hole(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'd'; 16_384])?;
    rustix::fs::fallocate(
        &fd,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        4096,
        4096,
    )
    .call("fallocate", "data, FALLOC_FL_PUNCH_HOLE, 4096+4096")?;
    let mut want = vec![b'd'; 16_384];
    want[4096..8192].fill(0);
    contents("fallocate", "data", &want)
}

submit!(
    Case::new(
        "io.copy_file_range",
        "copy_file_range copies a part of a file into another",
        copy_file_range
    )
    .source("copy_file_range(2); golang/go#44272")
    .needed_by(&[
        "cp since coreutils 9",
        "Go io.Copy",
        "Python shutil",
        "libuv"
    ])
);

fn copy_file_range(_: &mut Ctx) -> CaseOutcome {
    let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 241) as u8).collect();
    write("from", &bytes)?;
    let from = open("from", OFlags::RDONLY)?;
    let to = create("to", b"")?;
    let (mut read, mut written) = (1000, 0);
    while written < 150_000 {
        let left = 150_000 - written as usize;
        let n = rustix::fs::copy_file_range(&from, Some(&mut read), &to, Some(&mut written), left)
            .call("copy_file_range", "from, to")?;
        ensure(
            "copy_file_range",
            n > 0,
            "copy_file_range copied nothing before the end",
        )?;
    }
    contents("copy_file_range", "to", &bytes[1000..151_000])
}

submit!(
    Case::new(
        "io.copy_from_outside",
        "copy_file_range from another filesystem copies, or says EXDEV",
        copy_from_outside
    )
    .source("copy_file_range(2): EXDEV before 5.3 and since 5.19")
    .needed_by(&[
        "cp into and out of the volume",
        "Go io.Copy",
        "Rust std::fs::copy"
    ])
);

fn copy_from_outside(_: &mut Ctx) -> CaseOutcome {
    let bytes = vec![b'm'; 70_000];
    let outside = rustix::fs::memfd_create("outside", rustix::fs::MemfdFlags::CLOEXEC)
        .call("memfd_create", "")?;
    write_at(&outside, "a memfd", 0, &bytes)?;
    let to = create("to", b"")?;
    let (mut read, mut written) = (0, 0);
    while written < 70_000 {
        let left = 70_000 - written as usize;
        match rustix::fs::copy_file_range(&outside, Some(&mut read), &to, Some(&mut written), left)
        {
            Ok(0) => break,
            Ok(_) => {}
            // What a program does then, as man page and libraries have it.
            Err(
                rustix::io::Errno::XDEV
                | rustix::io::Errno::INVAL
                | rustix::io::Errno::OPNOTSUPP
                | rustix::io::Errno::NOSYS,
            ) if written == 0 => {
                write_at(&to, "to", 0, &bytes)?;
                break;
            }
            Err(error) => return Err(error).call("copy_file_range", "a memfd, to"),
        }
    }
    contents("copy_file_range", "to", &bytes)
}

submit!(
    Case::new(
        "io.sendfile_from",
        "sendfile sends a file into a socket",
        sendfile_from
    )
    .source("sendfile(2)")
    .needed_by(&["nginx", "Apache", "Kafka", "Go net/http", "Samba"])
);

fn sendfile_from(_: &mut Ctx) -> CaseOutcome {
    use std::io::Read;
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 239) as u8).collect();
    write("data", &bytes)?;
    let file = open("data", OFlags::RDONLY)?;
    let (send, mut receive) = std::os::unix::net::UnixStream::pair().call("socketpair", "")?;
    let sender = fork(|_| {
        let mut offset = 0;
        while offset < 100_000 {
            let left = 100_000 - offset as usize;
            let n = rustix::fs::sendfile(&send, &file, Some(&mut offset), left)
                .call("sendfile", "a socket, data")?;
            ensure("sendfile", n > 0, "sendfile sent nothing before the end")?;
        }
        Ok(())
    })?;
    drop(send);
    let mut got = Vec::new();
    receive.read_to_end(&mut got).call("read", "a socket")?;
    sender.join()?;
    same_bytes("sendfile", "what the socket received", &got, &bytes)
}

submit!(
    Case::new(
        "io.sendfile_to",
        "sendfile copies one file into another",
        sendfile_to
    )
    .source("sendfile(2): out_fd may be any file since 2.6.33")
    .needed_by(&[
        "Python shutil.copyfile",
        "BusyBox cp",
        "Rust std::io::copy",
        "cargo"
    ])
);

fn sendfile_to(_: &mut Ctx) -> CaseOutcome {
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 239) as u8).collect();
    write("from", &bytes)?;
    let from = open("from", OFlags::RDONLY)?;
    let to = create("to", b"")?;
    let mut offset = 0;
    while offset < 100_000 {
        let left = 100_000 - offset as usize;
        let n = rustix::fs::sendfile(&to, &from, Some(&mut offset), left)
            .call("sendfile", "to, from")?;
        ensure("sendfile", n > 0, "sendfile copied nothing before the end")?;
    }
    contents("sendfile", "to", &bytes)
}

submit!(
    Case::new(
        "io.splice",
        "splice moves bytes from a file into a pipe and from a pipe into a file",
        splice
    )
    .source("splice(2)")
    .needed_by(&[
        "HAProxy",
        "FUSE daemons",
        "Rust std::io::copy",
        "systemd-journal-remote"
    ])
);

fn splice(_: &mut Ctx) -> CaseOutcome {
    write("from", b"through a pipe")?;
    let from = open("from", OFlags::RDONLY)?;
    let to = create("to", b"")?;
    let (out, into) = rustix::pipe::pipe().call("pipe", "")?;
    let flags = rustix::pipe::SpliceFlags::empty();
    let n = rustix::pipe::splice(&from, None, &into, None, 100, flags)
        .call("splice", "from, a pipe")?;
    expect("splice", "the count", n, 14)?;
    let n = rustix::pipe::splice(&out, None, &to, None, 14, flags).call("splice", "a pipe, to")?;
    expect("splice", "the count", n, 14)?;
    contents("splice", "to", b"through a pipe")
}

submit!(
    Case::new(
        "io.clone",
        "FICLONE shares the blocks of a file, or is refused as where there are none to share",
        clone
    )
    .source("ioctl_ficlone(2): EOPNOTSUPP, ENOTTY")
    .needed_by(&[
        "cp --reflink=auto",
        "pnpm",
        "uv and pip (clone mode)",
        "containers/storage"
    ])
);

fn clone(ctx: &mut Ctx) -> CaseOutcome {
    write("from", &[b'c'; 8192])?;
    let from = open("from", OFlags::RDONLY)?;
    let to = create("to", b"")?;
    let cloned = rustix::fs::ioctl_ficlone(&to, &from);
    match cloned {
        Ok(()) => contents("ioctl", "to", &[b'c'; 8192])?,
        // What cp does then; another errno would make it fail.
        Err(
            rustix::io::Errno::OPNOTSUPP
            | rustix::io::Errno::NOTTY
            | rustix::io::Errno::INVAL
            | rustix::io::Errno::XDEV,
        ) => {
            contents("ioctl", "to", b"")?;
        }
        Err(error) => return Err(error).call("ioctl", "to, FICLONE, from"),
    }
    ctx.guarantee("blocks are shared", cloned.is_ok());
    Ok(())
}

submit!(
    Case::new(
        "io.fadvise",
        "posix_fadvise is accepted, and the file reads the same",
        fadvise
    )
    .source("POSIX posix_fadvise()")
    .needed_by(&[
        "cat, cp, sort",
        "RocksDB",
        "PostgreSQL",
        "rsync --drop-cache"
    ])
);

fn fadvise(_: &mut Ctx) -> CaseOutcome {
    use rustix::fs::Advice;
    let fd = create("data", &[b'a'; 50_000])?;
    for advice in [
        Advice::Sequential,
        Advice::WillNeed,
        Advice::Random,
        Advice::DontNeed,
    ] {
        rustix::fs::fadvise(&fd, 0, None, advice)
            .call("posix_fadvise", format_args!("data, {advice:?}"))?;
    }
    contents("posix_fadvise", "data", &[b'a'; 50_000])
}
