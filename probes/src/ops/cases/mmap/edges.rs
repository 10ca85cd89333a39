//! Ends and offsets of mappings, and what becomes of them when the file changes.

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::super::prelude::*;

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
