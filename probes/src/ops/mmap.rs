//! Files mapped into memory: which sharing and protection a volume grants, and whether writes arrive.

use nix::sys::{signal::Signal, wait::WaitStatus};

use super::prelude::*;

const NINEP: &str =
    "POSIX mmap(); linux fs/9p/vfs_file.c: generic_file_readonly_mmap with cache=none";
const PAGE: usize = 4096;

submit!(
    Case::new(
        "mmap.private_read",
        "a private mapping of a file opened for reading shows its bytes",
        private_read
    )
    .source("POSIX mmap()")
    .needed_by(&[
        "ld.so",
        "grep and ripgrep",
        "git (packs)",
        "JVM (jar files)"
    ])
);

fn private_read(_: &mut Ctx) -> CaseOutcome {
    let bytes: Vec<u8> = (0..3 * PAGE as u32).map(|i| (i % 251) as u8).collect();
    write("data", &bytes)?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", bytes.len(), READ, PRIVATE)?;
    same_bytes("mmap", "the mapping", &map.bytes(0, bytes.len()), &bytes)
}

submit!(
    Case::new(
        "mmap.private_write",
        "what is stored in a private mapping of a file opened read-write stays with the process",
        private_write
    )
    .source("POSIX mmap(): MAP_PRIVATE")
    .needed_by(&["ld.so (relocations)", "git index", "V8 snapshots"])
);

fn private_write(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'.'; PAGE])?;
    let map = Map::new(&fd, "data", PAGE, READ | WRITE, PRIVATE)?;
    map.store(10, b"mine");
    expect(
        "mmap",
        "what the mapping shows",
        map.bytes(9, 6),
        b".mine.".to_vec(),
    )?;
    contents("mmap", "data", &[b'.'; PAGE])
}

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
        .cache_remedies(&[Cache::Mmap, Cache::Loose])
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
    .cache_remedies(&[Cache::Mmap, Cache::Loose])
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
    .cache_remedies(&[Cache::Mmap, Cache::Loose])
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
    .cache_remedies(&[Cache::Mmap, Cache::Loose])
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
    .cache_remedies(&[Cache::Mmap, Cache::Loose])
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

submit!(
    Case::new(
        "mmap.past_end",
        "bytes behind the end of the file in its last page are zero",
        past_end
    )
    .source("POSIX mmap(): the remainder of the last page is zero-filled")
    .needed_by(&[
        "parsers that map text",
        "ripgrep",
        "compilers (NUL behind the source)"
    ])
);

fn past_end(_: &mut Ctx) -> CaseOutcome {
    write("data", b"short")?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", PAGE, READ, PRIVATE)?;
    expect(
        "mmap",
        "the mapping's start",
        map.bytes(0, 7),
        b"short\0\0".to_vec(),
    )?;
    expect("mmap", "the last byte of the page", map.byte(PAGE - 1), 0)
}

submit!(
    Case::new(
        "mmap.sigbus_past_end",
        "touching a page wholly behind the end of the file gives SIGBUS",
        sigbus_past_end
    )
    .source("POSIX mmap(): SIGBUS")
    .needed_by(&["programs that handle a shrunken file (JVM, Go, git)"])
);

fn sigbus_past_end(_: &mut Ctx) -> CaseOutcome {
    write("data", b"one page")?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", 2 * PAGE, READ, PRIVATE)?;
    expect("mmap", "the first byte", map.byte(0), b'o')?;
    dies_of_sigbus(&map, PAGE)
}

submit!(
    Case::new(
        "mmap.truncate_below",
        "after the file was truncated, touching the mapping behind its end gives SIGBUS",
        truncate_below
    )
    .source("POSIX mmap(); mmap(2): SIGBUS")
    .needed_by(&["JVM", "git", "log readers beside copytruncate"])
);

fn truncate_below(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b't'; 3 * PAGE])?;
    let reader = open("data", OFlags::RDONLY)?;
    let map = Map::new(&reader, "data", 3 * PAGE, READ, SHARED)?;
    expect("mmap", "a byte of the last page", map.byte(2 * PAGE), b't')?;
    rustix::fs::ftruncate(&fd, PAGE as u64).call("ftruncate", "data, 4096")?;
    expect("ftruncate", "a byte that is left", map.byte(10), b't')?;
    dies_of_sigbus(&map, 2 * PAGE)
}

/// A second process touches the mapping there, and must die of it.
fn dies_of_sigbus(map: &Map, at: usize) -> CaseOutcome {
    let mut other = fork(|_| {
        // The default action, and no core file for a death that is meant.
        let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
        let byte = map.byte(at);
        Err(Stop::broken(
            "mmap",
            format!("the byte behind the end was read as {byte}; SIGBUS was expected"),
        ))
    })?;
    match other.end()? {
        WaitStatus::Signaled(_, Signal::SIGBUS, _) => Ok(()),
        status => Err(Stop::broken(
            "mmap",
            format!(
                "touching the mapping behind the end of the file ended with {status:?}; SIGBUS was expected"
            ),
        )),
    }
}

submit!(
    Case::new(
        "mmap.protection_follows_open",
        "a shared writable mapping of a file opened for reading is refused with EACCES",
        protection_follows_open
    )
    .source("POSIX mmap(): EACCES")
    .needed_by(&["programs that fall back to a private mapping"])
);

fn protection_follows_open(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'x'; PAGE])?;
    let reader = open("data", OFlags::RDONLY)?;
    Map::attempt(&reader, "data", PAGE, READ | WRITE, SHARED).refused(
        "mmap",
        "data, O_RDONLY, PROT_WRITE, MAP_SHARED",
        Errno::EACCES,
    )?;
    let map = Map::new(&reader, "data", PAGE, READ, SHARED)?;
    map.protect(READ | WRITE)
        .refused("mprotect", "data, PROT_READ|PROT_WRITE", Errno::EACCES)?;
    let writer = open("data", OFlags::WRONLY)?;
    Map::attempt(&writer, "data", PAGE, READ, PRIVATE).refused(
        "mmap",
        "data, O_WRONLY, PROT_READ, MAP_PRIVATE",
        Errno::EACCES,
    )
}

submit!(
    Case::new(
        "mmap.private_of_readonly",
        "a private writable mapping of a file opened for reading is granted",
        private_of_readonly
    )
    .source("POSIX mmap(): MAP_PRIVATE needs read permission alone")
    .needed_by(&["ld.so", "git", "OCaml and Lisp images"])
);

fn private_of_readonly(_: &mut Ctx) -> CaseOutcome {
    create_mode("data", 0o444, &[b'x'; PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", PAGE, READ | WRITE, PRIVATE)?;
    map.store(0, b"y");
    expect("mmap", "what the mapping shows", map.byte(0), b'y')?;
    contents("mmap", "data", &[b'x'; PAGE])
}

submit!(
    Case::new(
        "mmap.executable",
        "code in a file is mapped for execution and runs",
        executable
    )
    .source("POSIX mmap(): PROT_EXEC; ld.so maps libraries so")
    .needed_by(&[
        "ld.so (shared libraries)",
        "Python extension modules",
        "JIT caches (Wasmtime)"
    ])
);

fn executable(_: &mut Ctx) -> CaseOutcome {
    // Machine code of a function that returns 42.
    #[cfg(target_arch = "x86_64")]
    const CODE: &[u8] = &[0xb8, 42, 0, 0, 0, 0xc3];
    #[cfg(target_arch = "aarch64")]
    const CODE: &[u8] = &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6];
    write("code", CODE)?;
    let fd = open("code", OFlags::RDONLY)?;
    let map = Map::new(&fd, "code", PAGE, READ | libc::PROT_EXEC, PRIVATE)?;
    expect("mmap", "the code", map.bytes(0, CODE.len()), CODE.to_vec())?;
    // SAFETY: the mapping is executable and holds a function of this type, as was just checked.
    let answer =
        unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> i32>(map.address()) };
    expect("mmap", "what the mapped function returns", answer(), 42)
}

submit!(
    Case::new(
        "mmap.after_close",
        "a mapping stays when the descriptor is closed and the name removed",
        after_close
    )
    .source("POSIX mmap(): it adds a reference to the file")
    .needed_by(&["ld.so", "package managers that replace libraries in use"])
);

fn after_close(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'k'; 4 * PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", 4 * PAGE, READ, SHARED)?;
    drop(fd);
    unlink("data")?;
    same_bytes(
        "munmap",
        "the mapping",
        &map.bytes(0, 4 * PAGE),
        &[b'k'; 4 * PAGE],
    )
}

submit!(
    Case::new(
        "mmap.offset",
        "a mapping that starts in the middle of a file shows the right bytes",
        offset
    )
    .source("POSIX mmap(): off")
    .needed_by(&[
        "git (pack windows)",
        "linkers (archive members)",
        "Lucene (chunks)"
    ])
);

fn offset(_: &mut Ctx) -> CaseOutcome {
    let bytes: Vec<u8> = (0..40 * PAGE).map(|i| (i / PAGE) as u8).collect();
    write("data", &bytes)?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::at(&fd, "data", 2 * PAGE, READ, PRIVATE, 37 * PAGE as u64)?;
    expect(
        "mmap",
        "the mapped pages",
        (map.byte(0), map.byte(PAGE)),
        (37, 38),
    )
}

submit!(
    Case::new(
        "mmap.large",
        "a file of 32 MiB is mapped and read at 512 places in no order",
        large
    )
    .source("POSIX mmap()")
    .needed_by(&[
        "Lucene",
        "git (packs)",
        "machine-learning weights (safetensors, GGUF)"
    ])
);

fn large(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"")?;
    let mib = |i: usize| vec![i as u8 + 1; 1 << 20];
    for i in 0..32 {
        write_at(&fd, "data", (i << 20) as u64, &mib(i))?;
    }
    drop(fd);
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", 32 << 20, READ, PRIVATE)?;
    for step in 0..512usize {
        let at = (step * 7_654_321) % (32 << 20);
        expect(
            "mmap",
            &format!("the byte at {at}"),
            map.byte(at),
            (at >> 20) as u8 + 1,
        )?;
    }
    Ok(())
}

submit!(
    Case::new("mmap.mlock", "a mapped page is locked into memory", mlock)
        .source("POSIX mlock()")
        .needed_by(&[
            "gpg-agent",
            "Elasticsearch (bootstrap.memory_lock)",
            "vmtouch"
        ])
);

fn mlock(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'l'; PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", PAGE, READ, PRIVATE)?;
    // SAFETY: address and length are those of the mapping.
    check(unsafe { libc::mlock(map.address(), map.size()) }).call("mlock", "data")?;
    let mut resident = [0u8; 1];
    // SAFETY: one page is asked for, and the vector has one byte.
    check(unsafe { libc::mincore(map.address(), map.size(), resident.as_mut_ptr()) })
        .call("mincore", "data")?;
    expect("mlock", "whether the page is resident", resident[0] & 1, 1)
}

submit!(
    Case::new(
        "mmap.sync_flag",
        "MAP_SYNC is refused with EOPNOTSUPP where there is no persistent memory",
        sync_flag
    )
    .source("mmap(2): MAP_SYNC, EOPNOTSUPP")
    .needed_by(&["PMDK (falls back)", "MariaDB (redo log on DAX)"])
);

fn sync_flag(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'x'; PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    Map::attempt(
        &fd,
        "data",
        PAGE,
        READ,
        libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC,
    )
    .refused(
        "mmap",
        "data, MAP_SHARED_VALIDATE|MAP_SYNC",
        Errno::EOPNOTSUPP,
    )
}

submit!(
    Case::new(
        "mmap.directory",
        "a directory is not mapped: ENODEV",
        directory
    )
    .source("POSIX mmap(): ENODEV")
    .needed_by(&["cat-like tools (message)"])
);

fn directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    let fd = open("dir", OFlags::RDONLY)?;
    Map::attempt(&fd, "dir", PAGE, READ, PRIVATE).refused("mmap", "dir", Errno::ENODEV)
}

submit!(
    Case::new(
        "mmap.write_from_mapping",
        "write takes its bytes from a mapping of the same file",
        write_from_mapping
    )
    .source("POSIX write(); the classic deadlock of network file systems")
    .needed_by(&["cp by mmap", "fsx", "databases that copy pages"])
);

fn write_from_mapping(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'c'; 2 * PAGE])?;
    let reader = open("data", OFlags::RDONLY)?;
    let map = Map::new(&reader, "data", 2 * PAGE, READ, PRIVATE)?;
    let mut done = 0;
    while done < 2 * PAGE {
        // SAFETY: the range lies in the mapping, which lives until after the call.
        let n = check(unsafe {
            libc::pwrite(
                fd.as_raw_fd(),
                map.address().byte_add(done),
                2 * PAGE - done,
                (2 * PAGE + done) as i64,
            )
        })
        .call("pwrite", "data, from its own mapping")?;
        ensure("pwrite", n > 0, "pwrite wrote nothing")?;
        done += n as usize;
    }
    contents("pwrite", "data", &[b'c'; 4 * PAGE])
}

submit!(
    Case::new(
        "mmap.read_into_mapping",
        "read puts its bytes into a private mapping of another file",
        read_into_mapping
    )
    .source("POSIX read()")
    .needed_by(&["loaders that patch mapped images"])
);

fn read_into_mapping(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'.'; PAGE])?;
    write("source", b"poured in")?;
    let source = open("source", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", PAGE, READ | WRITE, PRIVATE)?;
    // SAFETY: the nine bytes lie in the mapping, which is writable.
    let n = check(unsafe { libc::pread(source.as_raw_fd(), map.address(), 9, 0) })
        .call("pread", "source, into a mapping")?;
    expect("pread", "the count", n, 9)?;
    expect(
        "pread",
        "what the mapping shows",
        map.bytes(0, 10),
        b"poured in.".to_vec(),
    )
}
