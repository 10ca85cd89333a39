//! Listing, walking and removing directories, also while they change.

use std::collections::BTreeSet;

use nix::dir::Dir;
use rustix::fs::{FileType, RawDir, SeekFrom};

use super::prelude::*;

/// The entries of an open directory from its offset on, as the kernel gives them, `.` and `..` included.
fn entries(fd: &OwnedFd, buffer: usize) -> CaseOutcome<Vec<(String, FileType, u64)>> {
    let mut found = Vec::new();
    let mut space = Vec::with_capacity(buffer);
    let mut raw = RawDir::new(fd, space.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let entry = entry.call("getdents64", "")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, entry.file_type(), entry.next_entry_cookie()));
    }
    Ok(found)
}

fn fill(dir: &str, count: usize) -> CaseOutcome {
    mkdir(dir)?;
    (0..count).try_for_each(|i| write(&format!("{dir}/entry-{i:05}"), b""))
}

submit!(
    Case::new(
        "directory.list",
        "a listing has every entry once, and . and ..",
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
    Case::new("directory.delete_while_listing", "a directory is emptied by removing each entry as it is listed", delete_while_listing)
        .source("POSIX readdir(): entries that stay are returned once; microsoft/WSL#138, phdeniel/nfs-ganesha#57")
        .needed_by(&["rm -r", "find -delete", "Python shutil.rmtree", "Go os.RemoveAll"])
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
                    super::files::names("dir")?.len(),
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
        "directory.deep",
        "a tree 100 directories deep is made, walked by ., .. and names, and removed",
        deep
    )
    .source("POSIX path resolution")
    .needed_by(&["npm before version 3", "Bazel", "rm -r"])
);

fn deep(_: &mut Ctx) -> CaseOutcome {
    let mut fds = vec![open(".", OFlags::PATH)?];
    for i in 0..100 {
        let parent = &fds[i];
        rustix::fs::mkdirat(parent, "d", mode(0o755)).call("mkdirat", "d")?;
        fds.push(
            rustix::fs::openat(parent, "d", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .call("openat", "d")?,
        );
    }
    write(&format!("{}leaf", "d/".repeat(100)), b"x")?;
    contents(
        "mkdir",
        &format!("{}d/../{}leaf", "d/./".repeat(50), "d/".repeat(50)),
        b"x",
    )?;
    let up = format!("{}{}", "d/".repeat(100), "../".repeat(100));
    expect(
        "stat",
        "what 100 times .. leads to",
        id(&stat(&up)?),
        id(&stat(".")?),
    )?;
    unlink(&format!("{}leaf", "d/".repeat(100)))?;
    for i in (0..100).rev() {
        rustix::fs::unlinkat(&fds[i], "d", AtFlags::REMOVEDIR)
            .call("unlinkat", "d, AT_REMOVEDIR")?;
    }
    holds("unlinkat", ".", &[])
}

submit!(
    Case::new(
        "directory.path_max",
        "a path of 4095 bytes is used, and one of 4096 gives ENAMETOOLONG",
        path_max
    )
    .source("POSIX: PATH_MAX, ENAMETOOLONG")
    .needed_by(&["Bazel and Nix builds", "Node.js projects"])
);

fn path_max(_: &mut Ctx) -> CaseOutcome {
    let part = "p".repeat(254);
    let mut path = String::new();
    for _ in 0..15 {
        path += &part;
        mkdir(&path)?;
        path.push('/');
    }
    // 15 parts of 255 bytes are 3825; 270 are left: a directory of 200 with its slash, then a file.
    path += &"q".repeat(200);
    mkdir(&path)?;
    path.push('/');
    let name = "f".repeat(4095 - path.len());
    write(&format!("{path}{name}"), b"deep")?;
    contents("open", &format!("{path}{name}"), b"deep")?;
    rustix::fs::stat(format!("{path}{name}f")).refused(
        "stat",
        "a path of 4096 bytes",
        Errno::ENAMETOOLONG,
    )
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
    let old = rustix::fs::Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: 0,
    };
    let age = || {
        let times = rustix::fs::Timestamps {
            last_access: old,
            last_modification: old,
        };
        rustix::fs::utimensat(CWD, "dir", &times, AtFlags::empty()).call("utimensat", "dir")
    };
    age()?;
    write("dir/data", b"x")?;
    ensure(
        "open",
        stat("dir")?.st_mtime > old.tv_sec,
        "making an entry left the directory's mtime",
    )?;
    age()?;
    read("dir/data")?;
    names("dir")?;
    expect(
        "getdents64",
        "the directory's mtime",
        stat("dir")?.st_mtime,
        old.tv_sec,
    )?;
    unlink("dir/data")?;
    ensure(
        "unlink",
        stat("dir")?.st_mtime > old.tv_sec,
        "removing an entry left the directory's mtime",
    )
}

submit!(
    Case::new(
        "directory.openat2",
        "openat2 with RESOLVE_BENEATH opens what is below and refuses to leave the directory",
        openat2
    )
    .source("openat2(2): RESOLVE_BENEATH, EXDEV")
    .needed_by(&[
        "Rust cap-std, pathrs",
        "runc",
        "Samba",
        "containers/storage"
    ])
);

fn openat2(_: &mut Ctx) -> CaseOutcome {
    use rustix::fs::ResolveFlags;
    mkdir("dir")?;
    mkdir("dir/sub")?;
    write("dir/sub/data", b"inside")?;
    write("outside", b"outside")?;
    symlink("../outside", "dir/out")?;
    let dir = open("dir", OFlags::PATH)?;
    let below = |path: &str| {
        rustix::fs::openat2(
            &dir,
            path,
            OFlags::RDONLY,
            Mode::empty(),
            ResolveFlags::BENEATH,
        )
    };
    let fd = below("sub/../sub/data").call("openat2", "dir, sub/../sub/data, RESOLVE_BENEATH")?;
    same_bytes("openat2", "data", &read_at(&fd, "data", 0, 10)?, b"inside")?;
    below("../outside").refused("openat2", "dir, ../outside, RESOLVE_BENEATH", Errno::EXDEV)?;
    below("out").refused(
        "openat2",
        "dir, out (a link that leaves it), RESOLVE_BENEATH",
        Errno::EXDEV,
    )
}
