//! One file is one inode number, however it was reached and whatever it is called.

use rustix::fs::RawDir;
use rustix::fs::StatxFlags;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::*;

submit!(
    Case::new(
        "inode.identity",
        "stat, fstat and a second open of one file agree on device and inode number",
        identity
    )
    .source("POSIX <sys/stat.h>: st_dev and st_ino identify a file")
    .needed_by(&["tar", "rsync", "find", "cp (same-file check)"])
);

fn identity(_: &mut Ctx) -> CaseOutcome {
    let first = create("data", b"x")?;
    let second = open("data", OFlags::RDONLY)?;
    write("else", b"x")?;
    let want = id(&stat("data")?);
    expect(
        "fstat",
        "the identity of data",
        id(&fstat(&first, "data")?),
        want,
    )?;
    expect(
        "open",
        "the identity of data",
        id(&fstat(&second, "data")?),
        want,
    )?;
    ensure(
        "stat",
        id(&stat("else")?) != want,
        "two files have the same identity",
    )
}

submit!(
    Case::new(
        "inode.stable_over_rename",
        "a file and what is below a directory keep their inode numbers over a rename",
        stable_over_rename
    )
    .source("POSIX rename(); rename(2)")
    .needed_by(&[
        "tail -F",
        "logrotate",
        "fluentd",
        "inode-keyed caches (git index, ccache)"
    ])
);

fn stable_over_rename(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/inner", b"x")?;
    write("data", b"x")?;
    let (data, dir, inner) = (
        id(&stat("data")?),
        id(&stat("dir")?),
        id(&stat("dir/inner")?),
    );
    rename("data", "dir/moved")?;
    rename("dir", "dir2")?;
    expect(
        "rename",
        "the identity of the file",
        id(&stat("dir2/moved")?),
        data,
    )?;
    expect(
        "rename",
        "the identity of the directory",
        id(&stat("dir2")?),
        dir,
    )?;
    expect(
        "rename",
        "the identity of a file below",
        id(&stat("dir2/inner")?),
        inner,
    )
}

submit!(
    Case::new(
        "inode.stable_over_reopen",
        "a file closed, written to and opened again keeps its inode number",
        stable_over_reopen
    )
    .source("POSIX <sys/stat.h>")
    .needed_by(&[
        "git (index entries)",
        "make-like build caches",
        "borg (files cache)"
    ])
);

fn stable_over_reopen(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let before = id(&stat("data")?);
    let fd = open("data", OFlags::RDWR)?;
    write_at(&fd, "data", 0, &[7; 100_000])?;
    drop(fd);
    chmod("data", 0o600)?;
    expect("open", "the identity of data", id(&stat("data")?), before)
}

submit!(
    Case::new(
        "inode.unique",
        "300 files and directories that exist at once have 300 inode numbers",
        unique
    )
    .source("POSIX <sys/stat.h>: st_dev and st_ino identify a file; lf-edge/eve#3635")
    .needed_by(&[
        "find (loop detection)",
        "tar and rsync -H (hard links)",
        "du"
    ])
);

fn unique(_: &mut Ctx) -> CaseOutcome {
    let mut seen = BTreeSet::new();
    for i in 0..150 {
        write(&format!("f{i}"), b"")?;
        mkdir(&format!("d{i}"))?;
    }
    for i in 0..150 {
        seen.insert(id(&stat(&format!("f{i}"))?));
        seen.insert(id(&stat(&format!("d{i}"))?));
    }
    expect(
        "stat",
        "the number of identities of 300 files",
        seen.len(),
        300,
    )
}

submit!(
    Case::new(
        "inode.dirent_ino",
        "the inode numbers that a directory listing gives are those that stat gives",
        dirent_ino
    )
    .source("getdents64(2): d_ino")
    .needed_by(&["find -inum", "ls -i", "getcwd fallbacks", "fts(3)"])
);

fn dirent_ino(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/file", b"x")?;
    mkdir("dir/sub")?;
    symlink("file", "dir/link")?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut listed = BTreeMap::new();
    let mut buffer = Vec::with_capacity(8192);
    let mut entries = RawDir::new(&fd, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.call("getdents64", "dir")?;
        listed.insert(
            entry.file_name().to_string_lossy().into_owned(),
            entry.ino(),
        );
    }
    for name in ["file", "sub", "link"] {
        let ino = lstat(&format!("dir/{name}"))?.st_ino;
        expect(
            "getdents64",
            &format!("d_ino of {name}"),
            listed.get(name),
            Some(&ino),
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "inode.nlink_of_directory",
        "a directory's link count follows its subdirectories as natively",
        nlink_of_directory
    )
    .source("ext4: 2 and one for each subdirectory; find(1), -noleaf")
    .needed_by(&["find (leaf optimisation)", "fts(3)"])
);

fn nlink_of_directory(ctx: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    for name in ["dir/a", "dir/b", "dir/c"] {
        mkdir(name)?;
    }
    ctx.fact("nlink with three subdirectories", stat("dir")?.st_nlink);
    rustix::fs::rmdir("dir/b").call("rmdir", "dir/b")?;
    ctx.fact("nlink with two subdirectories", stat("dir")?.st_nlink);
    holds("rmdir", "dir", &["a", "c"])
}

submit!(
    Case::new(
        "inode.birth_time",
        "statx tells when a file was made",
        birth_time
    )
    .source("statx(2): STATX_BTIME")
    .needed_by(&[
        "stat %W",
        "restic and borg (as metadata)",
        "Rust Metadata::created"
    ])
);

fn birth_time(ctx: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let stat = rustix::fs::statx(
        CWD,
        "data",
        AtFlags::empty(),
        StatxFlags::BASIC_STATS | StatxFlags::BTIME,
    )
    .call("statx", "data")?;
    expect("statx", "stx_size", stat.stx_size, 1)?;
    ctx.guarantee("birth time", stat.stx_mask & StatxFlags::BTIME.bits() != 0);
    Ok(())
}

submit!(
    Case::new(
        "inode.statx_agrees",
        "statx and stat tell the same of size, mode, links, inode number and times",
        statx_agrees
    )
    .source("statx(2)")
    .needed_by(&[
        "coreutils since 8.31",
        "glibc (stat by statx on some machines)",
        "Node.js"
    ])
);

fn statx_agrees(_: &mut Ctx) -> CaseOutcome {
    create_mode("data", 0o640, b"seven b")?;
    link("data", "again")?;
    let old = stat("data")?;
    let new = rustix::fs::statx(CWD, "data", AtFlags::empty(), StatxFlags::BASIC_STATS)
        .call("statx", "data")?;
    expect("statx", "stx_size", new.stx_size, 7)?;
    expect("statx", "stx_mode", u32::from(new.stx_mode), old.st_mode)?;
    expect("statx", "stx_nlink", new.stx_nlink, 2)?;
    expect("statx", "stx_ino", new.stx_ino, old.st_ino)?;
    expect(
        "statx",
        "stx_mtime",
        (new.stx_mtime.tv_sec, i64::from(new.stx_mtime.tv_nsec)),
        (old.st_mtime, old.st_mtime_nsec as i64),
    )
}
