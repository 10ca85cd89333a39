//! Listings: whole, typed, resumed.

use nix::dir::Dir;
use rustix::fs::FileType;
use rustix::fs::SeekFrom;
use std::collections::BTreeSet;

use super::*;

submit!(
    Case::new(
        "directory.list",
        "a listing has . and .., and every entry once",
        list
    )
    .source("POSIX readdir()")
    .needed_by(&["ls", "find", "every program that walks a tree"])
);

fn list(_: &mut Ctx) -> CaseOutcome {
    fill("dir", 50)?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut listed: Vec<String> = entries(&fd, 4096)?
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    listed.sort();
    let mut want = vec![".".to_owned(), "..".to_owned()];
    want.extend((0..50).map(|i| format!("entry-{i:05}")));
    expect("getdents64", "the list", listed, want)
}

submit!(
    Case::new(
        "directory.types",
        "a listing tells the type of each entry",
        types
    )
    .source("readdir(3): d_type")
    .needed_by(&["find", "fd, ripgrep", "Go filepath.WalkDir", "systemd"])
);

fn types(ctx: &mut Ctx) -> CaseOutcome {
    write("file", b"")?;
    mkdir("dir")?;
    symlink("file", "soft")?;
    let fd = open(".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    for (name, kind, _) in entries(&fd, 4096)? {
        let want = match name.as_str() {
            "file" => FileType::RegularFile,
            "soft" => FileType::Symlink,
            _ => FileType::Directory,
        };
        // DT_UNKNOWN is allowed, and costs programs a stat of each entry.
        ensure(
            "getdents64",
            kind == want || kind == FileType::Unknown,
            format_args!("d_type of {name} is {kind:?}; {want:?} was expected"),
        )?;
        ctx.guarantee(&format!("d_type of {name}"), kind == want);
    }
    Ok(())
}

submit!(
    Case::new("directory.many", "3000 entries are listed, each once", many)
        .source("POSIX readdir(); kubernetes/minikube#1755")
        .needed_by(&[
            "npm (node_modules)",
            "git (objects)",
            "mail directories",
            "yarn"
        ])
        .limit_secs(180)
);

fn many(_: &mut Ctx) -> CaseOutcome {
    fill("dir", 3000)?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let listed: Vec<String> = entries(&fd, 32_768)?
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    let distinct: BTreeSet<&String> = listed.iter().collect();
    expect("getdents64", "the number of entries", listed.len(), 3002)?;
    expect(
        "getdents64",
        "the number of different entries",
        distinct.len(),
        3002,
    )
}

submit!(
    Case::new(
        "directory.small_buffer",
        "a listing through a buffer of 300 bytes is whole",
        small_buffer
    )
    .source("getdents64(2)")
    .needed_by(&["musl (2 KiB buffers)", "embedded programs"])
);

fn small_buffer(_: &mut Ctx) -> CaseOutcome {
    fill("dir", 60)?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let distinct: BTreeSet<String> = entries(&fd, 300)?
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    expect(
        "getdents64",
        "the number of different entries",
        distinct.len(),
        62,
    )
}

submit!(
    Case::new(
        "directory.rewind",
        "after rewinddir a listing shows what was made since",
        rewind
    )
    .source("POSIX rewinddir()")
    .needed_by(&["file managers", "ls in loops", "glusterd-like scanners"])
);

fn rewind(_: &mut Ctx) -> CaseOutcome {
    fill("dir", 5)?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    expect(
        "getdents64",
        "the number of entries",
        entries(&fd, 4096)?.len(),
        7,
    )?;
    write("dir/later", b"")?;
    unlink("dir/entry-00000")?;
    unlink("dir/entry-00001")?;
    rustix::fs::seek(&fd, SeekFrom::Start(0)).call("lseek", "dir, 0")?;
    let listed: Vec<String> = entries(&fd, 4096)?
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    expect("lseek", "the number of entries", listed.len(), 6)?;
    expect(
        "lseek",
        "whether the new entry is listed",
        listed.contains(&"later".into()),
        true,
    )
}

submit!(
    Case::new(
        "directory.seek",
        "a listing goes on from any place that it told of",
        seek
    )
    .source("POSIX seekdir(), telldir()")
    .needed_by(&[
        "Samba",
        "NFS servers",
        "PHP (rewind, seek)",
        "FUSE overlays"
    ])
);

fn seek(_: &mut Ctx) -> CaseOutcome {
    fill("dir", 100)?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let all = entries(&fd, 4096)?;
    for at in [0, 1, 17, 50, 98, 100] {
        rustix::fs::seek(&fd, SeekFrom::Start(all[at].2))
            .call("lseek", "dir, a place that getdents64 told")?;
        let rest: Vec<String> = entries(&fd, 4096)?
            .into_iter()
            .map(|(name, ..)| name)
            .collect();
        let want: Vec<String> = all[at + 1..]
            .iter()
            .map(|(name, ..)| name.clone())
            .collect();
        ensure(
            "lseek",
            rest == want,
            format_args!(
                "from place {at} on, {} of {} entries were listed",
                rest.len(),
                want.len()
            ),
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "directory.two_readers",
        "two open listings of one directory do not disturb each other",
        two_readers
    )
    .source("POSIX opendir()")
    .needed_by(&["parallel walkers (fd, ripgrep)", "file servers"])
);

fn two_readers(_: &mut Ctx) -> CaseOutcome {
    fill("dir", 40)?;
    let walk = || -> CaseOutcome<Vec<String>> {
        let mut dir = Dir::open(
            "dir",
            nix::fcntl::OFlag::O_RDONLY,
            nix::sys::stat::Mode::empty(),
        )
        .call("opendir", "dir")?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            names.push(
                entry
                    .call("readdir", "dir")?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
            if names.len() == 10 {
                expect(
                    "readdir",
                    "a second listing in the middle of the first",
                    crate::ops::files::names("dir")?.len(),
                    40,
                )?;
            }
        }
        Ok(names)
    };
    expect(
        "readdir",
        "the number of entries of the first listing",
        walk()?.len(),
        42,
    )
}
