//! Moving bytes between files, pipes and sockets inside the kernel.

use super::super::prelude::*;

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
    send_whole(OFlags::RDONLY, 100_000)
}

submit!(
    Case::new(
        "io.sendfile_nonblock",
        "sendfile sends a large file that was opened with O_NONBLOCK whole",
        sendfile_nonblock
    )
    .source("sendfile(2); open(2), O_NONBLOCK, which means nothing for regular files")
    .needed_by(&["nginx"])
);

/// More than a message of any msize that v9fs asks for by itself, and than a window of reading ahead.
fn sendfile_nonblock(_: &mut Ctx) -> CaseOutcome {
    send_whole(OFlags::RDONLY | OFlags::NONBLOCK, 3_000_000)
}

/// A file of so many bytes, opened with these flags, goes into a socket by as many sendfiles as it takes.
fn send_whole(flags: OFlags, length: u32) -> CaseOutcome {
    use std::io::Read;
    let bytes: Vec<u8> = (0..length).map(|i| (i % 239) as u8).collect();
    write("data", &bytes)?;
    let file = open("data", flags)?;
    let (send, mut receive) = std::os::unix::net::UnixStream::pair().call("socketpair", "")?;
    let sender = fork(|_| {
        let mut offset = 0;
        while offset < u64::from(length) {
            let left = length as usize - offset as usize;
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
        "io.tee",
        "tee copies what is in one pipe into another, on its way into two files",
        tee
    )
    .source("tee(2), splice(2)")
    .needed_by(&["systemd", "log pipelines", "HAProxy"])
);

fn tee(_: &mut Ctx) -> CaseOutcome {
    use rustix::pipe::{SpliceFlags, pipe, splice};
    write("from", b"twice")?;
    let from = open("from", OFlags::RDONLY)?;
    let (one, two) = (create("one", b"")?, create("two", b"")?);
    let (out_a, in_a) = pipe().call("pipe", "")?;
    let (out_b, in_b) = pipe().call("pipe", "")?;
    let flags = SpliceFlags::empty();
    expect(
        "splice",
        "the count",
        splice(&from, None, &in_a, None, 5, flags).call("splice", "from, a pipe")?,
        5,
    )?;
    expect(
        "tee",
        "the count",
        rustix::pipe::tee(&out_a, &in_b, 5, flags).call("tee", "a pipe, a pipe")?,
        5,
    )?;
    splice(&out_a, None, &one, None, 5, flags).call("splice", "a pipe, one")?;
    splice(&out_b, None, &two, None, 5, flags).call("splice", "a pipe, two")?;
    contents("splice", "one", b"twice")?;
    contents("splice", "two", b"twice")
}
