//! Room and limits: what statfs tells, and what happens when a limit is reached.

use super::prelude::*;

submit!(
    Case::new(
        "space.statfs",
        "statfs tells sizes that fit together, and there is room",
        statfs
    )
    .source("statfs(2); POSIX statvfs()")
    .needed_by(&[
        "df",
        "installers that check for room",
        "MySQL, MongoDB",
        "Docker"
    ])
);

fn statfs(_: &mut Ctx) -> CaseOutcome {
    let s = rustix::fs::statvfs(".").call("statvfs", ".")?;
    ensure(
        "statvfs",
        s.f_blocks > 0,
        "f_blocks is 0: the volume says that it has no size",
    )?;
    ensure(
        "statvfs",
        s.f_bfree <= s.f_blocks && s.f_bavail <= s.f_bfree,
        "more blocks are free than there are",
    )?;
    ensure(
        "statvfs",
        s.f_bavail > 0,
        "f_bavail is 0: the volume says that it is full",
    )?;
    ensure(
        "statvfs",
        s.f_frsize > 0 && s.f_bsize > 0,
        "the block size is 0",
    )?;
    ensure(
        "statvfs",
        s.f_blocks
            .checked_mul(s.f_frsize)
            .is_some_and(|n| n < 1 << 60),
        "the size is beyond reason",
    )
}

submit!(
    Case::new("space.name_max", "statfs tells the longest name", name_max)
        .source("POSIX pathconf(): _PC_NAME_MAX")
        .needed_by(&["glibc (readdir_r)", "rsync", "tar", "eCryptfs"])
);

fn name_max(ctx: &mut Ctx) -> CaseOutcome {
    let s = rustix::fs::statvfs(".").call("statvfs", ".")?;
    ctx.fact("f_namemax", s.f_namemax);
    write(&"n".repeat(255.min(s.f_namemax as usize)), b"x")
}

submit!(
    Case::new(
        "space.free_shrinks",
        "the free room told by statfs shrinks by what is written",
        free_shrinks
    )
    .source("statfs(2)")
    .needed_by(&[
        "downloaders",
        "databases with a watermark (Elasticsearch, RabbitMQ)"
    ])
    .alone()
);

fn free_shrinks(_: &mut Ctx) -> CaseOutcome {
    let free = || -> CaseOutcome<u64> {
        let s = rustix::fs::statvfs(".").call("statvfs", ".")?;
        Ok(s.f_bfree * s.f_frsize)
    };
    // Others use the disk as well, so half of what was written is enough, and one of five tries.
    let mut drops = Vec::new();
    for i in 0..5 {
        let before = free()?;
        let fd = create(&format!("data{i}"), &vec![b'x'; 32 << 20])?;
        rustix::fs::fsync(&fd).call("fsync", "data")?;
        drops.push(before as i64 - free()? as i64);
        if drops[i] > 16 << 20 {
            return Ok(());
        }
    }
    Err(Stop::broken(
        "statvfs",
        format!("each time 32 MiB were written, and the free room shrank by {drops:?} bytes"),
    ))
}

submit!(
    Case::new(
        "space.block_size",
        "st_blksize is a size that a program can take for its buffer",
        block_size
    )
    .source("POSIX <sys/stat.h>: st_blksize")
    .needed_by(&[
        "stdio, cp, cat",
        "rsync",
        "Python (io.DEFAULT_BUFFER_SIZE)",
        "Berkeley DB (page size)"
    ])
);

fn block_size(ctx: &mut Ctx) -> CaseOutcome {
    write("data", &[b'x'; 10_000])?;
    let size = stat("data")?.st_blksize as i64;
    ensure(
        "stat",
        (512..=16 << 20).contains(&size),
        format_args!("st_blksize is {size}"),
    )?;
    // Berkeley DB and others take it for a page size, which must be a power of two.
    ctx.guarantee(
        "st_blksize is a power of two",
        (size as u64).is_power_of_two(),
    );
    Ok(())
}

submit!(
    Case::new(
        "space.blocks_used",
        "st_blocks of a written file counts its bytes",
        blocks_used
    )
    .source("POSIX <sys/stat.h>: st_blocks; du(1)")
    .needed_by(&["du", "cp (sparse detection)", "ncdu", "tar --sparse"])
);

fn blocks_used(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'x'; 100_000])?;
    rustix::fs::fsync(&fd).call("fsync", "data")?;
    let blocks = stat("data")?.st_blocks as i64;
    ensure(
        "stat",
        (100_000 / 512..1024).contains(&blocks),
        format_args!("st_blocks of 100000 bytes is {blocks}"),
    )
}

submit!(
    Case::new(
        "space.file_size_limit",
        "a write beyond RLIMIT_FSIZE fails with EFBIG and leaves the rest",
        file_size_limit
    )
    .source("POSIX write(): EFBIG")
    .needed_by(&["ulimit -f", "batch systems", "PostgreSQL tests"])
);

fn file_size_limit(_: &mut Ctx) -> CaseOutcome {
    use nix::sys::{
        resource::{Resource, setrlimit},
        signal::{SigHandler, Signal, signal},
    };
    fork(|_| {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.call("signal", "SIGXFSZ")?;
        setrlimit(Resource::RLIMIT_FSIZE, 10_000, 10_000)
            .call("setrlimit", "RLIMIT_FSIZE, 10000")?;
        let fd = create("data", &[b'x'; 10_000])?;
        rustix::io::pwrite(&fd, b"more", 10_000).refused(
            "pwrite",
            "data, behind the limit",
            Errno::EFBIG,
        )
    })?
    .join()?;
    contents("pwrite", "data", &[b'x'; 10_000])
}

submit!(
    Case::new(
        "space.too_large",
        "a length beyond the largest offset is refused with EFBIG or EINVAL as natively",
        too_large
    )
    .source("POSIX ftruncate(): EFBIG or EINVAL")
    .needed_by(&["programs that probe limits"])
);

fn too_large(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"x")?;
    // SAFETY: the call takes a descriptor that is open, and a number.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), -1) }).refused(
        "ftruncate",
        "data, -1",
        Errno::EINVAL,
    )?;
    contents("ftruncate", "data", b"x")
}

submit!(
    Case::new(
        "space.many_open",
        "500 files are open at once, each written and read back",
        many_open
    )
    .source("POSIX open(): EMFILE is the process's own limit; podman#16106")
    .needed_by(&[
        "MySQL, MongoDB",
        "Elasticsearch",
        "LevelDB",
        "rustc and linkers"
    ])
    .limit_secs(180)
);

fn many_open(_: &mut Ctx) -> CaseOutcome {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).call("getrlimit", "RLIMIT_NOFILE")?;
    if soft < 600 {
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096), hard)
            .call("setrlimit", "RLIMIT_NOFILE")?;
    }
    let fds = (0..500)
        .map(|i| create(&format!("f{i}"), format!("{i}").as_bytes()))
        .collect::<CaseOutcome<Vec<_>>>()?;
    for (i, fd) in fds.iter().enumerate() {
        same_bytes(
            "pread",
            &format!("f{i}"),
            &read_at(fd, "one of 500 open files", 0, 10)?,
            format!("{i}").as_bytes(),
        )?;
    }
    Ok(())
}
