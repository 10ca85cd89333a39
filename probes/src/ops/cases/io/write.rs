//! Writing: at offsets, at the end, by several writers, and what a descriptor allows.

use rustix::fs::SeekFrom;

use super::super::prelude::*;

submit!(
    Case::new(
        "io.round_trip",
        "1 MiB written in pieces of odd sizes is read back the same, by name and descriptor",
        round_trip
    )
    .source("POSIX read(), write()")
    .needed_by(&["every program"])
);

fn round_trip(_: &mut Ctx) -> CaseOutcome {
    let bytes: Vec<u8> = (0..1u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let fd = create("data", b"")?;
    let mut at = 0;
    for size in [1, 4095, 4096, 4097, 65_535, 131_072, 7, 511]
        .into_iter()
        .cycle()
    {
        if at == bytes.len() {
            break;
        }
        let end = (at + size).min(bytes.len());
        write_at(&fd, "data", at as u64, &bytes[at..end])?;
        at = end;
    }
    same_bytes("pwrite", "data", &read_at(&fd, "data", 0, 2 << 20)?, &bytes)?;
    contents("pwrite", "data", &bytes)
}

submit!(
    Case::new(
        "io.append",
        "O_APPEND writes go to the end, wherever the offset stands",
        append
    )
    .source("POSIX write(): O_APPEND")
    .needed_by(&["loggers", "shell >>", "redis (AOF)", "mbox delivery"])
);

fn append(_: &mut Ctx) -> CaseOutcome {
    write("log", b"one ")?;
    let fd = open("log", OFlags::RDWR | OFlags::APPEND)?;
    rustix::fs::seek(&fd, SeekFrom::Start(0)).call("lseek", "log, 0")?;
    rustix::io::write(&fd, b"two ").call("write", "log, O_APPEND")?;
    let other = open("log", OFlags::WRONLY | OFlags::APPEND)?;
    rustix::io::write(&other, b"three ").call("write", "log, O_APPEND")?;
    rustix::io::write(&fd, b"four").call("write", "log, O_APPEND")?;
    contents("write", "log", b"one two three four")
}

submit!(
    Case::new("io.append_two_writers", "no line of two processes that append to one file is lost or torn", append_two_writers)
        .source("POSIX write(): the offset is set to the end before each write, without another write between")
        .needed_by(&["web servers (access logs)", "syslog-like loggers", "make -j output", "pytest-xdist"])
);

fn append_two_writers(_: &mut Ctx) -> CaseOutcome {
    write("log", b"")?;
    let writer = |who: u8| {
        fork(move |start| {
            start.hear()?;
            let fd = open("log", OFlags::WRONLY | OFlags::APPEND)?;
            for i in 0..200u32 {
                let line = format!("{} {i:05} {}\n", who as char, "x".repeat((i % 50) as usize));
                let n = rustix::io::write(&fd, line.as_bytes()).call("write", "log, O_APPEND")?;
                expect("write", "the count", n, line.len())?;
            }
            Ok(())
        })
    };
    let mut writers = [writer(b'a')?, writer(b'b')?];
    for writer in &mut writers {
        writer.tell()?;
    }
    for writer in writers {
        writer.join()?;
    }
    let log = read("log")?;
    for who in [b'a', b'b'] {
        let numbers: Vec<String> = log
            .split(|b| *b == b'\n')
            .filter(|line| line.first() == Some(&who))
            .map(|line| String::from_utf8_lossy(line.get(2..7).unwrap_or_default()).into_owned())
            .collect();
        let want: Vec<String> = (0..200).map(|i| format!("{i:05}")).collect();
        ensure(
            "write",
            numbers == want,
            format_args!(
                "of 200 lines that one process appended, {} are in the file, or out of order",
                numbers.len()
            ),
        )?;
    }
    expect(
        "write",
        "the number of lines",
        log.iter().filter(|b| **b == b'\n').count(),
        400,
    )
}

submit!(
    Case::new(
        "io.past_end",
        "a write behind the end leaves zeros between, and a read there gives nothing",
        past_end
    )
    .source("POSIX lseek(), write()")
    .needed_by(&["downloaders (aria2, BitTorrent)", "databases", "linkers"])
);

fn past_end(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"start")?;
    same_bytes(
        "pread",
        "data behind its end",
        &read_at(&fd, "data", 100, 10)?,
        b"",
    )?;
    write_at(&fd, "data", 10_000, b"end")?;
    let mut want = b"start".to_vec();
    want.resize(10_000, 0);
    want.extend(b"end");
    contents("pwrite", "data", &want)
}

submit!(
    Case::new(
        "io.excl",
        "open with O_CREAT|O_EXCL makes a file once: of 4 processes one succeeds",
        excl
    )
    .source("POSIX open(): O_EXCL")
    .needed_by(&[
        "mkstemp",
        "git (index.lock)",
        "PID files",
        "npm and pip (lock files)"
    ])
);

fn excl(_: &mut Ctx) -> CaseOutcome {
    for round in 0..10 {
        let mut racers = (0..4)
            .map(|racer| {
                fork(move |start| {
                    start.hear()?;
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
                    match rustix::fs::open(format!("lock{round}"), flags, mode(0o600)) {
                        Ok(_) => write(&format!("won{round}.{racer}"), b""),
                        Err(rustix::io::Errno::EXIST) => Ok(()),
                        Err(error) => Err(error).call("open", "lock, O_CREAT|O_EXCL"),
                    }
                })
            })
            .collect::<CaseOutcome<Vec<_>>>()?;
        for racer in &mut racers {
            racer.tell()?;
        }
        for racer in racers {
            racer.join()?;
        }
        let prefix = format!("won{round}.");
        let winners = names(".")?
            .iter()
            .filter(|name| name.to_string_lossy().starts_with(&prefix))
            .count();
        expect(
            "open",
            "the number of processes that made the lock",
            winners,
            1,
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "io.large_offset",
        "bytes behind 4 GiB are written and read in a sparse file, whose size is told",
        large_offset
    )
    .source("POSIX large files")
    .needed_by(&["disk images", "databases", "archives over 4 GiB"])
);

fn large_offset(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"start")?;
    let far = (5 << 30) + 123;
    write_at(&fd, "data", far, b"far")?;
    expect("pwrite", "st_size", stat("data")?.st_size, far as i64 + 3)?;
    same_bytes(
        "pread",
        "data, far",
        &read_at(&fd, "data", far - 2, 10)?,
        b"\0\0far",
    )?;
    same_bytes(
        "pread",
        "data, near",
        &read_at(&fd, "data", 0, 7)?,
        b"start\0\0",
    )?;
    let end = rustix::fs::seek(&fd, SeekFrom::End(-3)).call("lseek", "data, SEEK_END")?;
    expect("lseek", "the place", end, far)
}

submit!(
    Case::new(
        "io.offsets",
        "read and write move a descriptor's offset, dup shares it, a second open has its own",
        offsets
    )
    .source("POSIX open file descriptions")
    .needed_by(&[
        "shells (subshell output)",
        "fork servers",
        "make (job output)"
    ])
);

fn offsets(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"")?;
    let twin = rustix::io::dup(&fd).call("dup", "data")?;
    let other = open("data", OFlags::RDWR)?;
    rustix::io::write(&fd, b"one ").call("write", "data")?;
    rustix::io::write(&twin, b"two ").call("write", "data, by a dup")?;
    rustix::io::write(&other, b"ONE").call("write", "data, by a second open")?;
    contents("write", "data", b"ONE two ")?;
    fork(|_| {
        rustix::io::write(&fd, b"three")
            .call("write", "data, by a forked process")
            .map(drop)
    })?
    .join()?;
    let at = rustix::fs::seek(&twin, SeekFrom::Current(0)).call("lseek", "data, SEEK_CUR")?;
    expect(
        "lseek",
        "the offset after the forked process's write",
        at,
        13,
    )?;
    contents("write", "data", b"ONE two three")
}

submit!(
    Case::new(
        "io.modes",
        "a descriptor refuses what it was not opened for with EBADF",
        modes
    )
    .source("POSIX read(), write(): EBADF; ftruncate(): EINVAL or EBADF")
    .needed_by(&["programs that probe a descriptor"])
);

fn modes(ctx: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let reader = open("data", OFlags::RDONLY)?;
    let writer = open("data", OFlags::WRONLY)?;
    rustix::io::write(&reader, b"y").refused("write", "data, O_RDONLY", Errno::EBADF)?;
    rustix::io::read(&writer, &mut [0; 1]).refused("read", "data, O_WRONLY", Errno::EBADF)?;
    ctx.fact(
        "ftruncate of a file opened O_RDONLY",
        rustix::fs::ftruncate(&reader, 0).fails("ftruncate", "data, O_RDONLY")?,
    );
    contents("write", "data", b"x")
}

submit!(
    Case::new(
        "io.directory_refused",
        "a directory is not read, written or opened for writing: EISDIR",
        directory_refused
    )
    .source("POSIX read(): EISDIR; open(): EISDIR")
    .needed_by(&["cat, grep (messages)", "Python (IsADirectoryError)"])
);

fn directory_refused(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    let fd = open("dir", OFlags::RDONLY)?;
    rustix::io::read(&fd, &mut [0; 10]).refused("read", "dir", Errno::EISDIR)?;
    rustix::fs::open("dir", OFlags::WRONLY, Mode::empty()).refused(
        "open",
        "dir, O_WRONLY",
        Errno::EISDIR,
    )?;
    rustix::fs::open("dir", OFlags::RDONLY | OFlags::CREATE, mode(0o644)).refused(
        "open",
        "dir, O_CREAT",
        Errno::EISDIR,
    )
}

submit!(
    Case::new(
        "io.two_opens",
        "what one process writes another that has the file open reads at once",
        two_opens
    )
    .source("POSIX write(): a read that follows returns what was written")
    .needed_by(&[
        "databases with several processes",
        "tail -f",
        "ffmpeg -movflags faststart"
    ])
);

fn two_opens(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'0'; 5000])?;
    let mut reader = fork(|parent| {
        let fd = open("data", OFlags::RDONLY)?;
        for round in 1..=20u8 {
            parent.tell()?;
            parent.hear()?;
            let len = 5000 + usize::from(round) * 100;
            same_bytes(
                "pread",
                "data",
                &read_at(&fd, "data", 0, 10_000)?,
                &vec![b'0' + round; len],
            )?;
            expect("fstat", "st_size", fstat(&fd, "data")?.st_size, len as i64)?;
        }
        Ok(())
    })?;
    for round in 1..=20u8 {
        reader.hear()?;
        write_at(
            &fd,
            "data",
            0,
            &vec![b'0' + round; 5000 + usize::from(round) * 100],
        )?;
        reader.tell()?;
    }
    reader.join()
}
