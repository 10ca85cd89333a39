//! Listings: whole, typed, resumed.

use nix::dir::Dir;
use rustix::fs::FileType;
use rustix::fs::SeekFrom;
use std::collections::BTreeSet;

use super::*;
use crate::ops::prepared::{self, ENTRIES, MANY, Prepared};

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
    Case::new("directory.many", "1000 entries are listed, each once", many)
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
    fill("dir", 1000)?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let listed: Vec<String> = entries(&fd, 32_768)?
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    let distinct: BTreeSet<&String> = listed.iter().collect();
    expect("getdents64", "the number of entries", listed.len(), 1002)?;
    expect(
        "getdents64",
        "the number of different entries",
        distinct.len(),
        1002,
    )
}

submit!(
    Case::new(
        "directory.hundred_thousand",
        "100,000 entries are listed, each once, and the listing goes on from places that it told of",
        hundred_thousand
    )
    .source("POSIX readdir(), telldir(), seekdir()")
    .needed_by(&["mail and news spools", "object caches (ccache, Nix store)", "git (loose objects)", "session stores"])
    .needs(&[Need::ManyEntries])
    .limit_secs(180)
);

fn hundred_thousand(_: &mut Ctx) -> CaseOutcome {
    prepared::with(Prepared::Many, || {
        let fd = open(MANY, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let all = entries(&fd, 1 << 20)?;
        expect(
            "getdents64",
            "the number of entries",
            all.len(),
            ENTRIES + 2,
        )?;
        let mut seen = vec![false; ENTRIES];
        for (name, ..) in &all {
            let number = name
                .strip_prefix("entry-")
                .and_then(|n| n.parse::<usize>().ok());
            match number.and_then(|n| seen.get_mut(n)) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => {
                    return Err(Stop::broken(
                        "getdents64",
                        format!("{name} is listed twice"),
                    ));
                }
                None if name == "." || name == ".." => {}
                None => {
                    return Err(Stop::broken(
                        "getdents64",
                        format!("{name} is listed and was not made"),
                    ));
                }
            }
        }
        let missing = seen.iter().filter(|seen| !**seen).count();
        expect("getdents64", "how many entries are missing", missing, 0)?;
        for at in [ENTRIES - 5, ENTRIES - 3000] {
            rustix::fs::seek(&fd, SeekFrom::Start(all[at].2))
                .call("lseek", "many, a place that getdents64 told")?;
            let rest = entries(&fd, 1 << 16)?;
            ensure(
                "lseek",
                rest == all[at + 1..],
                format_args!("from place {at} on, {} entries were listed", rest.len()),
            )?;
        }
        stat(&format!("{MANY}/{}", prepared::entry(ENTRIES - 1))).map(drop)
    })
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
        "directory.seek_back",
        "a listing that was read in part goes on where a seek says, not where it was",
        seek_back
    )
    .source("POSIX seekdir(); linux fs/9p/vfs_dir.c keeps what it has read ahead")
    .needed_by(&[
        "Samba",
        "NFS servers",
        "PHP (rewind, seek)",
        "shells that list a large directory again"
    ])
);

fn seek_back(_: &mut Ctx) -> CaseOutcome {
    fill("dir", 40)?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let some = || -> CaseOutcome<Vec<(String, u64)>> {
        let mut space = Vec::with_capacity(256);
        let mut raw = rustix::fs::RawDir::new(&fd, space.spare_capacity_mut());
        let mut found = Vec::new();
        // As much as one call gives, so that none is left in this buffer.
        while let Some(entry) = raw.next() {
            let entry = entry.call("getdents64", "dir, 256 bytes")?;
            let name = entry.file_name().to_string_lossy().into_owned();
            found.push((name, entry.next_entry_cookie()));
            if raw.is_buffer_empty() {
                break;
            }
        }
        Ok(found)
    };
    let first = some()?;
    ensure(
        "getdents64",
        (3..40).contains(&first.len()),
        format_args!("{} entries were read", first.len()),
    )?;
    rustix::fs::seek(&fd, SeekFrom::Start(first[0].1))
        .call("lseek", "dir, behind the first entry")?;
    let again: Vec<String> = some()?.into_iter().map(|(name, _)| name).collect();
    let want: Vec<String> = first[1..].iter().map(|(name, _)| name.clone()).collect();
    ensure(
        "lseek",
        again.starts_with(&want),
        format_args!(
            "behind the first entry {want:?} was listed before, and {again:?} after a seek back"
        ),
    )
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
