//! Open files whose name belongs to another file now, or changed: what goes by path works on the wrong file.

use super::*;

submit!(
    Case::new(
        "inode.replaced_fstat",
        "fstat of an open file over which another was renamed tells of the old file",
        replaced_fstat
    )
    .source("POSIX rename(); QEMU hw/9pfs getattr goes by path: a silent wrong answer")
    .needed_by(&[
        "tail -F",
        "log followers",
        "daemons that watch their configuration"
    ])
);

fn replaced_fstat(_: &mut Ctx) -> CaseOutcome {
    let old = create("data", b"old")?;
    let before = fstat(&old, "data")?.st_ino;
    write("new", b"much longer than the old one")?;
    rename("new", "data")?;
    let after = fstat(&old, "data, over which another file was renamed")?;
    expect("fstat", "st_size", after.st_size, 3)?;
    expect(
        "fstat",
        "whether st_ino is still the old file's",
        after.st_ino == before,
        true,
    )
}

submit!(
    Case::new(
        "inode.replaced_ftruncate",
        "ftruncate of an open file over which another was renamed leaves the other alone",
        replaced_ftruncate
    )
    .source("POSIX ftruncate(); QEMU hw/9pfs truncates by path: the new file loses its data")
    .needed_by(&["databases and editors that replace a file while others hold it"])
);

fn replaced_ftruncate(_: &mut Ctx) -> CaseOutcome {
    let old = create("data", b"old")?;
    write("new", b"precious")?;
    rename("new", "data")?;
    rustix::fs::ftruncate(&old, 0)
        .call("ftruncate", "data, over which another file was renamed")?;
    contents("ftruncate", "data", b"precious")?;
    same_bytes(
        "ftruncate",
        "the old file",
        &read_at(&old, "data", 0, 10)?,
        b"",
    )
}

submit!(
    Case::new(
        "inode.replaced_write",
        "what is written to an open file over which another was renamed stays out of the other",
        replaced_write
    )
    .source("POSIX rename()")
    .needed_by(&[
        "logrotate",
        "every program that saves by rename while a reader or writer is active"
    ])
);

fn replaced_write(_: &mut Ctx) -> CaseOutcome {
    let old = create("data", b"old")?;
    write("new", b"new")?;
    rename("new", "data")?;
    write_at(&old, "data", 0, b"late")?;
    contents("pwrite", "data", b"new")?;
    same_bytes(
        "pwrite",
        "the old file",
        &read_at(&old, "data", 0, 10)?,
        b"late",
    )
}

submit!(
    Case::new(
        "inode.recreated_name",
        "an open file whose name was given to a new file is still itself",
        recreated_name
    )
    .source("POSIX unlink()")
    .needed_by(&[
        "rotated logs",
        "PID files",
        "compilers that remove and write anew"
    ])
);

fn recreated_name(_: &mut Ctx) -> CaseOutcome {
    let old = nameless(b"old")?;
    write("data", b"a new file of that name")?;
    same_bytes(
        "pread",
        "the old file",
        &read_at(&old, GONE, 0, 100)?,
        b"old",
    )?;
    expect(
        "fstat",
        "st_size of the old file",
        fstat(&old, GONE)?.st_size,
        3,
    )
}

submit!(
    Case::new(
        "inode.renamed_fstat",
        "fstat, ftruncate and fchmod work on an open file that was renamed",
        renamed_fstat
    )
    .source("POSIX rename(); microsoft/WSL#8443, chaos/diod#19")
    .needed_by(&[
        "MariaDB (tables renamed while open)",
        "dpkg",
        "mv while writing"
    ])
);

fn renamed_fstat(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"0123456789")?;
    rename("data", "moved")?;
    let name = "moved, opened as data";
    expect("fstat", "st_size", fstat(&fd, name)?.st_size, 10)?;
    rustix::fs::ftruncate(&fd, 4).call("ftruncate", name)?;
    rustix::fs::fchmod(&fd, mode(0o600)).call("fchmod", name)?;
    contents("ftruncate", "moved", b"0123")?;
    expect(
        "fchmod",
        "the mode",
        permissions(&stat("moved")?),
        "0600".into(),
    )
}

submit!(
    Case::new(
        "inode.parent_renamed",
        "an open file works on after the directory above it was renamed",
        parent_renamed
    )
    .source("POSIX rename(); chaos/diod t0006")
    .needed_by(&[
        "MySQL (database directories)",
        "build systems that move output trees"
    ])
);

fn parent_renamed(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    mkdir("dir/sub")?;
    let fd = create("dir/sub/data", b"0123456789")?;
    let sub = open("dir/sub", OFlags::RDONLY | OFlags::DIRECTORY)?;
    rename("dir", "moved")?;
    let name = "moved/sub/data, opened as dir/sub/data";
    expect("fstat", "st_size", fstat(&fd, name)?.st_size, 10)?;
    rustix::fs::ftruncate(&fd, 4).call("ftruncate", name)?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&sub, "fresh", flags, mode(0o644))
        .call("openat", "a directory opened before the rename, fresh")?;
    contents("ftruncate", "moved/sub/data", b"0123")?;
    holds("openat", "moved/sub", &["data", "fresh"])
}
