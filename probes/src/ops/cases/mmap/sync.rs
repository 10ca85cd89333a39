//! msync in each of its modes, on each kind of mapping.

use super::super::prelude::*;

const SOURCE: &str =
    "POSIX msync(); linux fs/9p/vfs_file.c: generic_file_readonly_mmap with cache=none";

/// Stores through a shared mapping, syncs in this mode, and finds the bytes in the file.
fn synced(how: libc::c_int, name: &str) -> CaseOutcome {
    let fd = create("data", &[b'.'; 3 * PAGE])?;
    let map = Map::new(&fd, "data", 3 * PAGE, READ | WRITE, SHARED)?;
    for page in 0..3 {
        map.store(page * PAGE + 5, b"synced");
    }
    map.msync(how).call("msync", format_args!("data, {name}"))?;
    let bytes = read("data")?;
    for page in 0..3 {
        let from = page * PAGE + 4;
        same_bytes("msync", "data", &bytes[from..from + 8], b".synced.")?;
    }
    Ok(())
}

submit!(
    Case::new(
        "mmap.msync_sync",
        "msync with MS_SYNC hands what was stored in a shared mapping to the file",
        msync_sync
    )
    .source(SOURCE)
    .needed_by(&[
        "LMDB",
        "MongoDB's old storage",
        "Berkeley DB",
        "Java MappedByteBuffer.force"
    ])
);

fn msync_sync(_: &mut Ctx) -> CaseOutcome {
    synced(libc::MS_SYNC, "MS_SYNC")
}

submit!(
    Case::new(
        "mmap.msync_async",
        "msync with MS_ASYNC returns, and what was stored in a shared mapping is in the file",
        msync_async
    )
    .source(SOURCE)
    .needed_by(&[
        "LMDB (MDB_MAPASYNC)",
        "Kyoto Cabinet",
        "GDBM (memory mapping)"
    ])
);

fn msync_async(_: &mut Ctx) -> CaseOutcome {
    synced(libc::MS_ASYNC, "MS_ASYNC")
}

submit!(
    Case::new(
        "mmap.msync_invalidate",
        "msync with MS_INVALIDATE has the mapping show what was written to the file",
        msync_invalidate
    )
    .source(SOURCE)
    .needed_by(&[
        "programs written for network file systems",
        "OpenLDAP's older backends"
    ])
);

fn msync_invalidate(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'.'; PAGE])?;
    let map = Map::new(&fd, "data", PAGE, READ | WRITE, SHARED)?;
    write_at(&fd, "data", 0, b"written")?;
    map.msync(libc::MS_SYNC | libc::MS_INVALIDATE)
        .call("msync", "data, MS_SYNC|MS_INVALIDATE")?;
    same_bytes("msync", "the mapping", &map.bytes(0, 8), b"written.")
}

submit!(
    Case::new(
        "mmap.msync_reading",
        "msync in every mode succeeds on mappings that only read, shared or private",
        msync_reading
    )
    .source("POSIX msync(): for mappings without changes nothing is to be done")
    .needed_by(&["programs that sync whatever they mapped", "vmtouch"])
);

fn msync_reading(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'r'; PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    for (sharing, said) in [(SHARED, "MAP_SHARED"), (PRIVATE, "MAP_PRIVATE")] {
        let map = Map::new(&fd, "data", PAGE, READ, sharing)?;
        expect("mmap", "the first byte", map.byte(0), b'r')?;
        for (how, name) in [
            (libc::MS_SYNC, "MS_SYNC"),
            (libc::MS_ASYNC, "MS_ASYNC"),
            (libc::MS_INVALIDATE, "MS_INVALIDATE"),
        ] {
            map.msync(how)
                .call("msync", format_args!("data, {said}, {name}"))?;
        }
        same_bytes("msync", "the mapping", &map.bytes(0, PAGE), &[b'r'; PAGE])?;
    }
    Ok(())
}

submit!(
    Case::new(
        "mmap.msync_refused",
        "msync refuses both modes at once and an address off a page with EINVAL, and what is not mapped with ENOMEM",
        msync_refused
    )
    .source("POSIX msync(): EINVAL, ENOMEM")
    .needed_by(&["programs that find out what is mapped by msync (Boehm GC, libunwind)"])
);

fn msync_refused(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'r'; PAGE])?;
    let fd = open("data", OFlags::RDONLY)?;
    let map = Map::new(&fd, "data", PAGE, READ, SHARED)?;
    map.msync(libc::MS_SYNC | libc::MS_ASYNC).refused(
        "msync",
        "data, MS_SYNC|MS_ASYNC",
        Errno::EINVAL,
    )?;
    let (start, len) = (map.address(), map.size());
    // SAFETY: msync changes no memory, whatever it is given.
    check(unsafe { libc::msync(start.byte_add(1), len - 1, libc::MS_SYNC) }).refused(
        "msync",
        "an address off a page",
        Errno::EINVAL,
    )?;
    drop(map);
    // SAFETY: as above; nothing is mapped there any more.
    check(unsafe { libc::msync(start, len, libc::MS_SYNC) }).refused(
        "msync",
        "what is not mapped",
        Errno::ENOMEM,
    )
}
