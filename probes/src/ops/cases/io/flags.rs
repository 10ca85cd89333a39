//! Flags of open and of single calls: direct, synchronous, non-blocking, vectors.

use rustix::io::ReadWriteFlags;

use super::super::prelude::*;

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
