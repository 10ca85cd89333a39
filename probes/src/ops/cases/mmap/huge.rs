//! Large files and large mappings, pages held in memory, and flags that a mapping may have besides.

use super::super::prelude::*;

submit!(
    Case::new(
        "mmap.huge_file",
        "the far end of a sparse file of 6 GiB is mapped, and shows its bytes",
        huge_file
    )
    .source("POSIX mmap(): off; large files")
    .needed_by(&[
        "databases (LMDB, RocksDB)",
        "disk image tools",
        "machine-learning weights"
    ])
);

fn huge_file(_: &mut Ctx) -> CaseOutcome {
    let far = (6u64 << 30) - PAGE as u64;
    let fd = create("data", b"")?;
    write_at(&fd, "data", far, &[b'f'; PAGE])?;
    drop(fd);
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::at(&fd, "data", 2 * PAGE, READ, SHARED, far - PAGE as u64)?;
    expect(
        "mmap",
        "the bytes",
        (map.byte(0), map.byte(PAGE), map.byte(2 * PAGE - 1)),
        (0, b'f', b'f'),
    )
}

submit!(
    Case::new(
        "mmap.huge_mapping",
        "a sparse file of 16 GiB is mapped whole, and read here and there",
        huge_mapping
    )
    .source("POSIX mmap()")
    .needed_by(&[
        "LMDB and MDBX (map size)",
        "Lucene",
        "journald",
        "Prometheus"
    ])
);

fn huge_mapping(_: &mut Ctx) -> CaseOutcome {
    const SIZE: usize = 16 << 30;
    let fd = create("data", b"")?;
    rustix::fs::ftruncate(&fd, SIZE as u64).call("ftruncate", "data, 16 GiB")?;
    let places: Vec<usize> = (0..8).map(|i| i * (SIZE / 8) + 12_345).collect();
    for (i, &at) in places.iter().enumerate() {
        write_at(&fd, "data", at as u64, &[i as u8 + 1])?;
    }
    drop(fd);
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", SIZE, READ, PRIVATE | libc::MAP_NORESERVE)?;
    for (i, &at) in places.iter().enumerate().rev() {
        expect(
            "mmap",
            &format!("the bytes at {at}"),
            (map.byte(at), map.byte(at + 1)),
            (i as u8 + 1, 0),
        )?;
    }
    expect("mmap", "the last byte", map.byte(SIZE - 1), 0)
}

submit!(
    Case::new(
        "mmap.huge_pages",
        "a mapping of a file with MAP_HUGETLB is refused with EINVAL",
        huge_pages
    )
    .source("mmap(2): MAP_HUGETLB is for anonymous memory and hugetlbfs")
    .needed_by(&["databases and JVMs that fall back to ordinary pages"])
);

fn huge_pages(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'h'; PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    Map::attempt(&fd, "data", 2 << 20, READ, PRIVATE | libc::MAP_HUGETLB).refused(
        "mmap",
        "data, MAP_HUGETLB",
        Errno::EINVAL,
    )
}

submit!(
    Case::new(
        "mmap.populate",
        "a mapping made with MAP_POPULATE has its pages in memory at once",
        populate
    )
    .source("mmap(2): MAP_POPULATE; mincore(2)")
    .needed_by(&[
        "llama.cpp (weights)",
        "real-time programs",
        "PostgreSQL extensions"
    ])
);

fn populate(_: &mut Ctx) -> CaseOutcome {
    const PAGES: usize = 64;
    write("data", &[b'p'; PAGES * PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", PAGES * PAGE, READ, SHARED | libc::MAP_POPULATE)?;
    resident("mmap", &map, PAGES)?;
    each_page("mmap", &map, PAGES, b'p')
}

/// A byte of each page of the mapping is this one.
fn each_page(call: &str, map: &Map, pages: usize, want: u8) -> CaseOutcome {
    let right = (0..pages)
        .filter(|page| map.byte(page * PAGE + 99) == want)
        .count();
    expect(call, "how many pages show the file's bytes", right, pages)
}

/// All pages of the mapping are in memory.
fn resident(call: &str, map: &Map, pages: usize) -> CaseOutcome {
    let mut vector = vec![0u8; pages];
    // SAFETY: the vector has a byte for each page of the mapping.
    check(unsafe { libc::mincore(map.address(), map.size(), vector.as_mut_ptr()) })
        .call("mincore", "the mapping")?;
    let held = vector.iter().filter(|page| **page & 1 == 1).count();
    expect(call, "how many pages are in memory", held, pages)
}

submit!(
    Case::new(
        "mmap.mlock_many",
        "a mapping of 128 pages is locked into memory, with mlock2 also page by page as they are touched",
        mlock_many
    )
    .source("POSIX mlock(); mlock2(2): MLOCK_ONFAULT")
    .needed_by(&["Elasticsearch (bootstrap.memory_lock)", "vmtouch -l", "llama.cpp --mlock"])
    .needs(&[Need::Root])
);

fn mlock_many(_: &mut Ctx) -> CaseOutcome {
    const PAGES: usize = 128;
    write("data", &[b'l'; PAGES * PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", PAGES * PAGE, READ, SHARED)?;
    // SAFETY: address and length are those of the mapping.
    check(unsafe { libc::mlock(map.address(), map.size()) }).call("mlock", "data, 128 pages")?;
    resident("mlock", &map, PAGES)?;
    // SAFETY: as above.
    check(unsafe { libc::munlock(map.address(), map.size()) }).call("munlock", "data")?;
    drop(map);
    let map = Map::new(&fd, "data", PAGES * PAGE, READ, PRIVATE)?;
    // SAFETY: as above.
    check(unsafe { libc::mlock2(map.address(), map.size(), 1) })
        .call("mlock2", "data, MLOCK_ONFAULT")?;
    each_page("mlock2", &map, PAGES, b'l')?;
    resident("mlock2", &map, PAGES)
}

submit!(
    Case::new(
        "mmap.unknown_flag",
        "MAP_SHARED_VALIDATE refuses a flag that nobody knows with EOPNOTSUPP",
        unknown_flag
    )
    .source("mmap(2): MAP_SHARED_VALIDATE, EOPNOTSUPP")
    .needed_by(&["PMDK (probes for MAP_SYNC)"])
);

fn unknown_flag(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'x'; PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    Map::attempt(&fd, "data", PAGE, READ, libc::MAP_SHARED_VALIDATE | 1 << 23).refused(
        "mmap",
        "data, MAP_SHARED_VALIDATE|1<<23",
        Errno::EOPNOTSUPP,
    )?;
    let map = Map::new(&fd, "data", PAGE, READ, libc::MAP_SHARED_VALIDATE)?;
    expect("mmap", "the first byte", map.byte(0), b'x')
}

submit!(
    Case::new(
        "mmap.grown",
        "a mapping is made longer by mremap after its file grew, and shows the new bytes",
        grown
    )
    .source("mremap(2)")
    .needed_by(&["LMDB", "glibc (locale archives)", "log readers"])
);

fn grown(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'1'; PAGE])?;
    let reader = open("data", OFlags::RDONLY)?;
    let mut map = Map::new(&reader, "data", PAGE, READ, SHARED)?;
    expect("mmap", "the first byte", map.byte(0), b'1')?;
    write_at(&fd, "data", PAGE as u64, &[b'2'; 2 * PAGE])?;
    map.resize(3 * PAGE).call("mremap", "data, 3 pages")?;
    let pages: Vec<u8> = (0..3).map(|page| map.byte(page * PAGE + 7)).collect();
    expect("mremap", "the pages", pages, b"122".to_vec())
}

submit!(
    Case::new(
        "mmap.advice",
        "madvise is taken for a mapped file, and after MADV_DONTNEED the file's bytes come back",
        advice
    )
    .source("madvise(2): MADV_DONTNEED on a private file mapping drops what was stored")
    .needed_by(&["JVM", "Go runtime", "Lucene", "git (packs)"])
);

fn advice(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'a'; 4 * PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", 4 * PAGE, READ | WRITE, PRIVATE)?;
    for (advice, name) in [
        (libc::MADV_SEQUENTIAL, "MADV_SEQUENTIAL"),
        (libc::MADV_RANDOM, "MADV_RANDOM"),
        (libc::MADV_WILLNEED, "MADV_WILLNEED"),
    ] {
        // SAFETY: such advice changes nothing that memory holds.
        check(unsafe { libc::madvise(map.address(), map.size(), advice) })
            .call("madvise", format_args!("data, {name}"))?;
    }
    map.store(PAGE, b"mine");
    // SAFETY: what is dropped is this mapping's own, of which no reference is handed out.
    check(unsafe { libc::madvise(map.address(), map.size(), libc::MADV_DONTNEED) })
        .call("madvise", "data, MADV_DONTNEED")?;
    same_bytes(
        "madvise",
        "the mapping",
        &map.bytes(0, 4 * PAGE),
        &[b'a'; 4 * PAGE],
    )
}

submit!(
    Case::new(
        "mmap.each_protection",
        "each protection is granted, private and shared, on a file opened for reading that has the right to it",
        each_protection
    )
    .source("POSIX mmap(): PROT_NONE, PROT_READ, PROT_EXEC; mprotect()")
    .needed_by(&["ld.so (PROT_NONE holes)", "Wine (image sections)", "V8"])
);

fn each_protection(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'e'; PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    for (sharing, said) in [(SHARED, "MAP_SHARED"), (PRIVATE, "MAP_PRIVATE")] {
        for (prot, name) in [
            (libc::PROT_NONE, "PROT_NONE"),
            (READ, "PROT_READ"),
            (libc::PROT_EXEC, "PROT_EXEC"),
            (READ | libc::PROT_EXEC, "PROT_READ|PROT_EXEC"),
        ] {
            let what = format!("data, {name}, {said}");
            let map = Map::attempt(&fd, "data", PAGE, prot, sharing).call("mmap", &what)?;
            map.protect(READ).call("mprotect", &what)?;
            expect(
                "mprotect",
                &format!("the last byte of {what}"),
                map.byte(PAGE - 1),
                b'e',
            )?;
        }
    }
    Ok(())
}
