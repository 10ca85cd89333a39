//! Reading and writing: appending, past the end, direct, sparse, long, and with flags.

use rustix::fs::SeekFrom;
use rustix::io::ReadWriteFlags;

use super::prelude::*;

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
        "io.truncate_down_up",
        "a file cut and made long again shows zeros where data was",
        truncate_down_up
    )
    .source("POSIX ftruncate()")
    .needed_by(&["databases", "editors", "mail stores"])
);

fn truncate_down_up(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'd'; 10_000])?;
    rustix::fs::ftruncate(&fd, 3).call("ftruncate", "data, 3")?;
    expect("ftruncate", "st_size", fstat(&fd, "data")?.st_size, 3)?;
    rustix::fs::ftruncate(&fd, 9_000).call("ftruncate", "data, 9000")?;
    let mut want = b"ddd".to_vec();
    want.resize(9_000, 0);
    contents("ftruncate", "data", &want)
}

submit!(
    Case::new(
        "io.truncate_by_name",
        "truncate changes a file's length by its name, and O_TRUNC empties it",
        truncate_by_name
    )
    .source("POSIX truncate(), open(): O_TRUNC")
    .needed_by(&["logrotate (copytruncate)", "shell >", "editors"])
);

fn truncate_by_name(_: &mut Ctx) -> CaseOutcome {
    write("data", b"0123456789")?;
    nix::unistd::truncate("data", 4).call("truncate", "data, 4")?;
    contents("truncate", "data", b"0123")?;
    drop(open("data", OFlags::WRONLY | OFlags::TRUNC)?);
    contents("open", "data", b"")
}

submit!(
    Case::new(
        "io.truncate_under_reader",
        "after a log was truncated by name, its appending writer goes on at the new end",
        truncate_under_reader
    )
    .source("POSIX write(): O_APPEND")
    .needed_by(&["logrotate (copytruncate)", "docker json-file logs"])
);

fn truncate_under_reader(_: &mut Ctx) -> CaseOutcome {
    write("log", b"old lines\n")?;
    let writer = open("log", OFlags::WRONLY | OFlags::APPEND)?;
    rustix::io::write(&writer, b"more\n").call("write", "log, O_APPEND")?;
    nix::unistd::truncate("log", 0).call("truncate", "log, 0")?;
    rustix::io::write(&writer, b"fresh\n").call("write", "log, O_APPEND")?;
    contents("write", "log", b"fresh\n")
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
        "io.direct",
        "aligned reads and writes with O_DIRECT work and agree with others",
        direct
    )
    .source("open(2): O_DIRECT; docker-library/mysql#371")
    .needed_by(&[
        "MySQL (O_DIRECT)",
        "dd oflag=direct",
        "fio",
        "QEMU cache=none",
        "ScyllaDB"
    ])
);

fn direct(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'.'; 8192])?;
    let fd = open("data", OFlags::RDWR | OFlags::DIRECT)?;
    let mut area = vec![0u8; 3 * 4096];
    let skip = area.as_ptr().align_offset(4096);
    let page = &mut area[skip..skip + 4096];
    page.fill(b'D');
    let n = rustix::io::pwrite(&fd, page, 4096).call("pwrite", "data, O_DIRECT")?;
    expect("pwrite", "the count", n, 4096)?;
    page.fill(0);
    let n = rustix::io::pread(&fd, &mut *page, 4096).call("pread", "data, O_DIRECT")?;
    same_bytes("pread", "the second page", &page[..n], &[b'D'; 4096])?;
    let mut want = vec![b'.'; 4096];
    want.resize(8192, b'D');
    contents("pwrite", "data", &want)
}

submit!(
    Case::new(
        "io.o_sync",
        "files opened with O_SYNC and O_DSYNC are written and read back",
        o_sync
    )
    .source("POSIX open(): O_SYNC, O_DSYNC")
    .needed_by(&[
        "PostgreSQL (open_datasync)",
        "MySQL (O_DSYNC)",
        "etcd",
        "ZooKeeper"
    ])
);

fn o_sync(_: &mut Ctx) -> CaseOutcome {
    write("data", b"........")?;
    for (flag, at, byte) in [(OFlags::SYNC, 1, b"s"), (OFlags::DSYNC, 2, b"d")] {
        let fd = open("data", OFlags::RDWR | flag)?;
        write_at(&fd, "data", at, byte)?;
    }
    contents("pwrite", "data", b".sd.....")
}

submit!(
    Case::new(
        "io.nonblock_read",
        "read of a regular file opened with O_NONBLOCK returns all that was asked for",
        nonblock_read
    )
    .source(
        "POSIX open(): O_NONBLOCK has no effect on regular files; v9fs then reads once, up to msize"
    )
    .needed_by(&[
        "redis (loading)",
        "libuv-based readers",
        "programs that do not loop over read"
    ])
);

fn nonblock_read(_: &mut Ctx) -> CaseOutcome {
    write("data", &vec![b'n'; 2 << 20])?;
    let fd = open("data", OFlags::RDONLY | OFlags::NONBLOCK)?;
    let mut bytes = vec![0; 2 << 20];
    let n = rustix::io::read(&fd, &mut bytes[..]).call("read", "data, O_NONBLOCK, 2 MiB")?;
    expect("read", "the count of one read of 2 MiB", n, 2 << 20)
}

submit!(
    Case::new(
        "io.whole_read",
        "one read of 2 MiB and one write of 2 MiB do it all at once",
        whole_read
    )
    .source("POSIX read(): fewer bytes only at the end of a regular file")
    .needed_by(&[
        "programs that do not loop over read",
        "databases (page and log reads)"
    ])
);

fn whole_read(_: &mut Ctx) -> CaseOutcome {
    let bytes = vec![b'w'; 2 << 20];
    let fd = create("data", b"")?;
    let n = rustix::io::pwrite(&fd, &bytes, 0).call("pwrite", "data, 2 MiB")?;
    expect("pwrite", "the count of one write of 2 MiB", n, 2 << 20)?;
    let mut back = vec![0; 3 << 20];
    let n = rustix::io::pread(&fd, &mut back[..], 0).call("pread", "data, 3 MiB")?;
    same_bytes("pread", "data", &back[..n], &bytes)
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
        "io.sparse",
        "a file with a hole takes no room for it",
        sparse
    )
    .source("POSIX st_blocks")
    .needed_by(&["disk images", "du", "cp --sparse", "core dumps"])
);

fn sparse(ctx: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"")?;
    rustix::fs::ftruncate(&fd, 64 << 20).call("ftruncate", "data, 64 MiB")?;
    write_at(&fd, "data", 32 << 20, b"island")?;
    rustix::fs::fsync(&fd).call("fsync", "data")?;
    let stat = stat("data")?;
    expect("ftruncate", "st_size", stat.st_size, 64 << 20)?;
    ctx.guarantee("a hole takes no room", stat.st_blocks < 2048);
    Ok(())
}

submit!(
    Case::new(
        "io.seek_hole",
        "SEEK_DATA and SEEK_HOLE find the data of a sparse file",
        seek_hole
    )
    .source("lseek(2): SEEK_DATA, SEEK_HOLE; golang/go, juicedata/juicefs#2637")
    .needed_by(&[
        "cp (sparse copies)",
        "tar --sparse",
        "qemu-img",
        "rsync --sparse"
    ])
);

fn seek_hole(ctx: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"")?;
    rustix::fs::ftruncate(&fd, 64 << 20).call("ftruncate", "data, 64 MiB")?;
    write_at(&fd, "data", 32 << 20, &[b'i'; 4096])?;
    rustix::fs::fsync(&fd).call("fsync", "data")?;
    let data = rustix::fs::seek(&fd, SeekFrom::Data(0)).call("lseek", "data, 0, SEEK_DATA")?;
    let hole =
        rustix::fs::seek(&fd, SeekFrom::Hole(32 << 20)).call("lseek", "data, 32 MiB, SEEK_HOLE")?;
    ensure(
        "lseek",
        data <= 32 << 20,
        format_args!("SEEK_DATA skipped the data and went to {data}"),
    )?;
    ensure(
        "lseek",
        (32 << 20..=64 << 20).contains(&hole),
        format_args!("SEEK_HOLE went to {hole}"),
    )?;
    rustix::fs::seek(&fd, SeekFrom::Data(64 << 20)).refused(
        "lseek",
        "data, its end, SEEK_DATA",
        Errno::ENXIO,
    )?;
    ctx.guarantee(
        "holes are found",
        data == 32 << 20 && hole == (32 << 20) + 4096,
    );
    Ok(())
}

submit!(
    Case::new(
        "io.vectors",
        "readv, writev, preadv and pwritev move many pieces in order",
        vectors
    )
    .source("POSIX readv(), writev(); preadv(2)")
    .needed_by(&[
        "nginx",
        "databases (log writes)",
        "Node.js (streams)",
        "Java (gathering writes)"
    ])
);

fn vectors(_: &mut Ctx) -> CaseOutcome {
    use std::io::{IoSlice, IoSliceMut};
    let fd = create("data", b"")?;
    let pieces: Vec<Vec<u8>> = (0..100u8)
        .map(|i| vec![i; usize::from(i) * 10 + 1])
        .collect();
    let whole = pieces.concat();
    let slices: Vec<IoSlice> = pieces.iter().map(|p| IoSlice::new(p)).collect();
    let n = rustix::io::writev(&fd, &slices).call("writev", "data, 100 pieces")?;
    expect("writev", "the count", n, whole.len())?;
    let n = rustix::io::pwritev(&fd, &slices[..2], whole.len() as u64).call("pwritev", "data")?;
    expect("pwritev", "the count", n, 12)?;
    let (mut a, mut b) = (vec![0; 1000], vec![0; whole.len() - 1000]);
    let n = rustix::io::preadv(
        &fd,
        &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)],
        0,
    )
    .call("preadv", "data")?;
    expect("preadv", "the count", n, whole.len())?;
    same_bytes("preadv", "data", &[a, b].concat(), &whole)
}

submit!(
    Case::new(
        "io.pwritev2_flags",
        "pwritev2 takes RWF_DSYNC, and RWF_APPEND, which goes to the end",
        pwritev2_flags
    )
    .source("preadv2(2): RWF_DSYNC, RWF_APPEND")
    .needed_by(&[
        "MySQL and RocksDB (RWF_DSYNC)",
        "liburing programs",
        "libaio users"
    ])
);

fn pwritev2_flags(_: &mut Ctx) -> CaseOutcome {
    use std::io::IoSlice;
    let fd = create("data", b"0123456789")?;
    let n = rustix::io::pwritev2(&fd, &[IoSlice::new(b"AB")], 0, ReadWriteFlags::DSYNC)
        .call("pwritev2", "data, RWF_DSYNC")?;
    expect("pwritev2", "the count", n, 2)?;
    let n = rustix::io::pwritev2(&fd, &[IoSlice::new(b"end")], 0, ReadWriteFlags::APPEND)
        .call("pwritev2", "data, RWF_APPEND")?;
    expect("pwritev2", "the count", n, 3)?;
    contents("pwritev2", "data", b"AB23456789end")
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
