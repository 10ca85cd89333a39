//! Mappings that stay with the process, and what protection is granted.

use super::super::prelude::*;

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
