//! Mappings shared with the file and with other processes.

use super::super::prelude::*;

const NINEP: &str =
    "POSIX mmap(); linux fs/9p/vfs_file.c: generic_file_readonly_mmap with cache=none";

submit!(
    Case::new(
        "mmap.shared_read",
        "a shared mapping of a file opened for reading shows its bytes",
        shared_read
    )
    .source(NINEP)
    .needed_by(&[
        "Lucene (MMapDirectory), Elasticsearch",
        "leveldb and RocksDB (tables)",
        "rustc (metadata)"
    ])
);

fn shared_read(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b's'; 2 * PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", 2 * PAGE, READ, SHARED)?;
    same_bytes(
        "mmap",
        "the mapping",
        &map.bytes(0, 2 * PAGE),
        &[b's'; 2 * PAGE],
    )
}

submit!(
    Case::new("mmap.shared_read_rdwr", "a shared mapping for reading alone is granted on a file opened read-write", shared_read_rdwr)
        .source("POSIX mmap(); generic_file_readonly_mmap refuses by the descriptor, not the protection; etcd-io/bbolt#102")
        .needed_by(&["bbolt, etcd", "dockerd (volume store)", "LMDB", "SQLite (mmap_size)"])
);

fn shared_read_rdwr(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b's'; PAGE])?;
    let map = Map::new(&fd, "data", PAGE, READ, SHARED)?;
    same_bytes("mmap", "the mapping", &map.bytes(0, PAGE), &[b's'; PAGE])
}

submit!(
    Case::new(
        "mmap.shared_write",
        "a mapping shared for writing is granted, and what is stored in it is read from the file",
        shared_write
    )
    .source(NINEP)
    .needed_by(&[
        "SQLite in WAL mode",
        "LMDB",
        "Kafka",
        "Prometheus",
        "dotnet build",
        "lld"
    ])
);

fn shared_write(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'.'; PAGE])?;
    let map = Map::new(&fd, "data", PAGE, READ | WRITE, SHARED)?;
    map.store(100, b"shown");
    map.sync()?;
    same_bytes("mmap", "data", &read("data")?[98..107], b"..shown..")
}

submit!(
    Case::new(
        "mmap.shared_write_grown",
        "a file made by ftruncate alone is filled through a shared mapping",
        shared_write_grown
    )
    .source(NINEP)
    .needed_by(&[
        "SQLite (-shm file)",
        "libtorrent",
        "Kafka (index files)",
        "MDBX"
    ])
);

fn shared_write_grown(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"")?;
    rustix::fs::ftruncate(&fd, 8 * PAGE as u64).call("ftruncate", "data")?;
    let map = Map::new(&fd, "data", 8 * PAGE, READ | WRITE, SHARED)?;
    for page in 0..8 {
        map.store(page * PAGE, &[page as u8 + 1; PAGE]);
    }
    map.sync()?;
    drop(map);
    let bytes = read("data")?;
    expect("mmap", "the length", bytes.len(), 8 * PAGE)?;
    expect(
        "mmap",
        "the pages",
        bytes.chunks(PAGE).map(|page| page[7]).collect(),
        (1..=8).collect::<Vec<u8>>(),
    )
}

submit!(
    Case::new(
        "mmap.two_processes",
        "two processes share memory through one file",
        two_processes
    )
    .source("POSIX mmap(): MAP_SHARED")
    .needed_by(&[
        "SQLite in WAL mode",
        "LMDB (reader table)",
        "PostgreSQL with mmap",
        "nginx-like shared zones"
    ])
);

fn two_processes(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[0; PAGE])?;
    let map = Map::new(&fd, "data", PAGE, READ | WRITE, SHARED)?;
    let mut other = fork(|parent| {
        let fd = open("data", OFlags::RDWR)?;
        let map = Map::new(&fd, "data", PAGE, READ | WRITE, SHARED)?;
        map.store(0, b"ping");
        parent.tell()?;
        parent.hear()?;
        expect(
            "mmap",
            "what the other process stored",
            map.bytes(8, 4),
            b"pong".to_vec(),
        )
    })?;
    other.hear()?;
    expect(
        "mmap",
        "what the other process stored",
        map.bytes(0, 4),
        b"ping".to_vec(),
    )?;
    map.store(8, b"pong");
    other.tell()?;
    other.join()
}

submit!(
    Case::new(
        "mmap.write_then_read",
        "what is stored in a shared mapping is what pread returns, without msync",
        write_then_read
    )
    .source("Linux: one page cache for both; POSIX leaves it open")
    .needed_by(&["LMDB", "Java FileChannel.map"])
);

fn write_then_read(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'.'; PAGE])?;
    let map = Map::new(&fd, "data", PAGE, READ | WRITE, SHARED)?;
    map.store(0, b"stored");
    same_bytes("pread", "data", &read_at(&fd, "data", 0, 6)?, b"stored")?;
    write_at(&fd, "data", 0, b"WRITTEN")?;
    expect(
        "pwrite",
        "what the mapping shows",
        map.bytes(0, 7),
        b"WRITTEN".to_vec(),
    )
}

submit!(
    Case::new(
        "mmap.read_after_write",
        "a mapping made after a write shows what was written",
        read_after_write
    )
    .source("POSIX mmap()")
    .needed_by(&[
        "compilers and linkers (object files)",
        "git (index-pack, then use)",
        "Lucene (segments)"
    ])
);

fn read_after_write(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'1'; PAGE])?;
    let reader = open("data", OFlags::RDONLY)?;
    let first = Map::new(&reader, "data", PAGE, READ, PRIVATE)?;
    expect("mmap", "what the mapping shows", first.byte(5), b'1')?;
    drop(first);
    write_at(&fd, "data", 0, &[b'2'; PAGE])?;
    let second = Map::new(&reader, "data", PAGE, READ, PRIVATE)?;
    same_bytes(
        "mmap",
        "the second mapping",
        &second.bytes(0, PAGE),
        &[b'2'; PAGE],
    )
}

submit!(
    Case::new(
        "mmap.sees_pwrite",
        "a shared mapping for reading shows what is written to the file after it was made",
        sees_pwrite
    )
    .source("mmap(2): updates to the mapped file are visible in a shared mapping")
    .needed_by(&[
        "LevelDB and LMDB readers",
        "tail-like mmap readers",
        "bitcoin"
    ])
);

fn sees_pwrite(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'1'; PAGE])?;
    let reader = open("data", OFlags::RDONLY)?;
    let map = Map::new(&reader, "data", PAGE, READ, SHARED)?;
    expect("mmap", "what the mapping shows", map.byte(5), b'1')?;
    write_at(&fd, "data", 5, b"2")?;
    expect("pwrite", "what the mapping shows", map.byte(5), b'2')
}
