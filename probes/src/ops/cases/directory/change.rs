//! Directories that change while they are listed, and what their making and removal answers.

use rustix::fs::RawDir;
use std::collections::BTreeSet;

use super::*;

submit!(
    Case::new("directory.delete_while_listing", "a directory is emptied by removing each entry as it is listed", delete_while_listing)
        .source("POSIX readdir(): entries that stay are returned once; microsoft/WSL#138, phdeniel/nfs-ganesha#57")
        .needed_by(&["rm -r", "find -delete", "Python shutil.rmtree", "Go os.RemoveAll"])
    .limit_secs(180)
);

fn delete_while_listing(_: &mut Ctx) -> CaseOutcome {
    fill("dir", 500)?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut space = Vec::with_capacity(1024);
    let mut raw = RawDir::new(&fd, space.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let name = entry.call("getdents64", "dir")?.file_name().to_owned();
        if name != c"." && name != c".." {
            rustix::fs::unlinkat(&fd, &name, AtFlags::empty())
                .call("unlinkat", format_args!("dir, {name:?}"))?;
        }
    }
    rustix::fs::rmdir("dir").call("rmdir", "dir, after one pass over its entries")?;
    expect("rmdir", "the presence of dir", exists("dir")?, false)
}

submit!(
    Case::new(
        "directory.add_while_listing",
        "entries made while a directory is listed hide none of the old ones",
        add_while_listing
    )
    .source("POSIX readdir()")
    .needed_by(&["build systems", "mail servers", "log shippers"])
    .limit_secs(180)
);

fn add_while_listing(_: &mut Ctx) -> CaseOutcome {
    fill("dir", 300)?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut space = Vec::with_capacity(1024);
    let mut raw = RawDir::new(&fd, space.spare_capacity_mut());
    let mut old = BTreeSet::new();
    let mut made = 0;
    while let Some(entry) = raw.next() {
        let name = entry
            .call("getdents64", "dir")?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("entry-") {
            ensure(
                "getdents64",
                old.insert(name.clone()),
                format_args!("{name} was listed twice"),
            )?;
            if made < 100 {
                write(&format!("dir/new-{made}"), b"")?;
                made += 1;
            }
        }
    }
    expect(
        "getdents64",
        "the number of old entries that were listed",
        old.len(),
        300,
    )
}

submit!(
    Case::new(
        "directory.rename_while_listing",
        "entries renamed while a directory is listed do not make others vanish",
        rename_while_listing
    )
    .source("POSIX readdir()")
    .needed_by(&["batch renamers", "mail servers (new to cur)", "spoolers"])
    .limit_secs(180)
);

fn rename_while_listing(_: &mut Ctx) -> CaseOutcome {
    fill("dir", 200)?;
    mkdir("done")?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut space = Vec::with_capacity(1024);
    let mut raw = RawDir::new(&fd, space.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let name = entry
            .call("getdents64", "dir")?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("entry-") {
            rename(&format!("dir/{name}"), &format!("done/{name}"))?;
        }
    }
    holds("rename", "dir", &[])?;
    expect(
        "rename",
        "the number of moved entries",
        names("done")?.len(),
        200,
    )
}

submit!(
    Case::new(
        "directory.not_empty",
        "rmdir of a directory with entries fails with ENOTEMPTY, of a file with ENOTDIR",
        not_empty
    )
    .source("POSIX rmdir()")
    .needed_by(&["rm -d", "dpkg (removing directories)", "rmdir -p"])
);

fn not_empty(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/data", b"x")?;
    rustix::fs::rmdir("dir").refused("rmdir", "dir", Errno::ENOTEMPTY)?;
    rustix::fs::rmdir("dir/data").refused("rmdir", "dir/data", Errno::ENOTDIR)?;
    rustix::fs::unlink("dir").refused("unlink", "dir", Errno::EISDIR)?;
    rustix::fs::rmdir("dir/.").refused("rmdir", "dir/.", Errno::EINVAL)?;
    contents("rmdir", "dir/data", b"x")
}

submit!(
    Case::new(
        "directory.existing",
        "mkdir of a name that exists, be it a dangling link, fails with EEXIST",
        existing
    )
    .source("POSIX mkdir(): EEXIST")
    .needed_by(&["mkdir -p", "locks by mkdir"])
);

fn existing(_: &mut Ctx) -> CaseOutcome {
    write("file", b"")?;
    mkdir("dir")?;
    symlink("missing", "soft")?;
    for name in ["file", "dir", "soft"] {
        rustix::fs::mkdir(name, mode(0o755)).refused("mkdir", name, Errno::EEXIST)?;
    }
    rustix::fs::mkdir("missing/dir", mode(0o755)).refused("mkdir", "missing/dir", Errno::ENOENT)?;
    rustix::fs::mkdir("file/dir", mode(0o755)).refused("mkdir", "file/dir", Errno::ENOTDIR)?;
    holds("mkdir", ".", &["dir", "file", "soft"])
}

submit!(
    Case::new(
        "directory.lock_by_mkdir",
        "of 4 processes that make one directory at once exactly one succeeds",
        lock_by_mkdir
    )
    .source("POSIX mkdir(): atomic, EEXIST")
    .needed_by(&["shell scripts (mkdir locks)", "Bitbake", "nvm"])
);

fn lock_by_mkdir(_: &mut Ctx) -> CaseOutcome {
    for round in 0..10 {
        let mut racers = (0..4)
            .map(|racer| {
                fork(move |start| {
                    start.hear()?;
                    match rustix::fs::mkdir(format!("lock{round}"), mode(0o755)) {
                        Ok(()) => mkdir(&format!("won{round}.{racer}")),
                        Err(rustix::io::Errno::EXIST) => Ok(()),
                        Err(error) => Err(error).call("mkdir", "lock"),
                    }
                })
            })
            .collect::<CaseOutcome<Vec<_>>>()?;
        for racer in &mut racers {
            racer.tell()?;
        }
        for racer in racers {
            racer.join()?;
        }
        let prefix = format!("won{round}.");
        let winners = names(".")?
            .iter()
            .filter(|name| name.to_string_lossy().starts_with(&prefix))
            .count();
        expect("mkdir", "the number of winners", winners, 1)?;
    }
    Ok(())
}

submit!(
    Case::new(
        "directory.times",
        "making and removing an entry advances the directory's mtime, and reading does not",
        times
    )
    .source("POSIX open(), unlink(): last data modification of the parent directory")
    .needed_by(&[
        "make (directories as targets)",
        "nginx cache",
        "Python (import caches)",
        "mail readers"
    ])
);

fn times(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    const OLD: i64 = 1_000_000_000;
    let age = || {
        let times = both_times(OLD);
        rustix::fs::utimensat(CWD, "dir", &times, AtFlags::empty()).call("utimensat", "dir")
    };
    age()?;
    write("dir/data", b"x")?;
    ensure(
        "open",
        stat("dir")?.st_mtime > OLD,
        "making an entry left the directory's mtime",
    )?;
    age()?;
    read("dir/data")?;
    names("dir")?;
    expect(
        "getdents64",
        "the directory's mtime",
        stat("dir")?.st_mtime,
        OLD,
    )?;
    unlink("dir/data")?;
    ensure(
        "unlink",
        stat("dir")?.st_mtime > OLD,
        "removing an entry left the directory's mtime",
    )
}
