//! Lengths and holes of files.

use rustix::fs::SeekFrom;

use super::super::prelude::*;

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
