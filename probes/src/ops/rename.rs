//! Renaming: over what is there, with the flags of renameat2, of directories, and while files are open.

use rustix::fs::RenameFlags;

use super::prelude::*;

fn rename2(from: &str, to: &str, flags: RenameFlags) -> Result<(), rustix::io::Errno> {
    rustix::fs::renameat_with(CWD, from, CWD, to, flags)
}

submit!(
    Case::new(
        "rename.simple",
        "a rename gives a file its new name and takes the old one away",
        simple
    )
    .source("POSIX rename()")
    .needed_by(&["every program that saves by temporary file"])
);

fn simple(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    rename("a", "b")?;
    holds("rename", ".", &["b"])?;
    contents("rename", "b", b"one")
}

submit!(
    Case::new("rename.over", "a rename over a file replaces it", over)
        .source("POSIX rename()")
        .needed_by(&[
            "editors",
            "package managers",
            "git (ref and index updates)",
            "redis (RDB)"
        ])
);

fn over(_: &mut Ctx) -> CaseOutcome {
    write("data", b"old")?;
    write("tmp", b"new one")?;
    rename("tmp", "data")?;
    contents("rename", "data", b"new one")?;
    holds("rename", ".", &["data"])
}

submit!(
    Case::new(
        "rename.over_open",
        "a file that was renamed over is still read whole by who has it open",
        over_open
    )
    .source("POSIX rename(): the link is removed while the file is open")
    .needed_by(&[
        "servers that read while a deployment replaces files",
        "ld.so and shared libraries"
    ])
);

fn over_open(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'o'; 10_000])?;
    let old = open("data", OFlags::RDONLY)?;
    write("tmp", b"new")?;
    rename("tmp", "data")?;
    same_bytes(
        "rename",
        "the old file",
        &read_at(&old, "data", 0, 20_000)?,
        &[b'o'; 10_000],
    )?;
    contents("rename", "data", b"new")
}

submit!(
    Case::new(
        "rename.open_file",
        "a file renamed while it is open is written on by its descriptor",
        open_file
    )
    .source("POSIX rename()")
    .needed_by(&[
        "logrotate (create mode)",
        "downloaders (.part files)",
        "curl, wget, browsers"
    ])
);

fn open_file(_: &mut Ctx) -> CaseOutcome {
    let fd = create("file.part", b"half ")?;
    rename("file.part", "file")?;
    write_at(&fd, "file", 5, b"done")?;
    contents("pwrite", "file", b"half done")
}

submit!(
    Case::new(
        "rename.atomic",
        "while a file is replaced again and again, who opens it always finds it, whole",
        atomic
    )
    .source("POSIX rename(): a link named new shall remain visible throughout")
    .needed_by(&[
        "configuration reloads",
        "git (HEAD, refs)",
        "Prometheus textfile collector",
        "/etc/passwd updates"
    ])
);

fn atomic(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'0'; 5000])?;
    let mut reader = fork(|parent| {
        parent.tell()?;
        for _ in 0..100 {
            let fd = open("data", OFlags::RDONLY)?;
            let bytes = read_at(&fd, "data", 0, 6000)?;
            expect(
                "rename",
                "the length that a reader finds",
                bytes.len(),
                5000,
            )?;
            ensure(
                "rename",
                bytes.iter().all(|b| *b == bytes[0]),
                "a reader found a mixture of old and new",
            )?;
        }
        Ok(())
    })?;
    reader.hear()?;
    for round in 0..100u8 {
        write("tmp", &[b'0' + round % 10; 5000])?;
        rename("tmp", "data")?;
    }
    reader.join()?;
    holds("rename", ".", &["data"])
}

submit!(
    Case::new("rename.noreplace", "renameat2 with RENAME_NOREPLACE renames to a name that is free", noreplace)
        .source("rename(2): RENAME_NOREPLACE, EINVAL where the filesystem does not support it; ClickHouse#18959")
        .needed_by(&["ClickHouse (Atomic databases)", "mv -n since coreutils 9", "systemd"])
);

fn noreplace(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    rename2("a", "b", RenameFlags::NOREPLACE).call("renameat2", "a, b, RENAME_NOREPLACE")?;
    contents("renameat2", "b", b"one")?;
    holds("renameat2", ".", &["b"])
}

submit!(
    Case::new(
        "rename.noreplace_existing",
        "renameat2 with RENAME_NOREPLACE to a name that exists fails with EEXIST",
        noreplace_existing
    )
    .source("rename(2): RENAME_NOREPLACE, EEXIST")
    .needed_by(&["ClickHouse", "mv -n", "beads (file locks)"])
);

fn noreplace_existing(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    write("b", b"two")?;
    rename2("a", "b", RenameFlags::NOREPLACE).refused(
        "renameat2",
        "a, b, RENAME_NOREPLACE",
        Errno::EEXIST,
    )?;
    contents("renameat2", "b", b"two")
}

submit!(
    Case::new(
        "rename.exchange",
        "renameat2 with RENAME_EXCHANGE swaps two files",
        exchange
    )
    .source("rename(2): RENAME_EXCHANGE; beads_rust#419")
    .needed_by(&[
        "ClickHouse (EXCHANGE TABLES)",
        "mv --exchange",
        "ostree",
        "deployments that swap trees"
    ])
);

fn exchange(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    write("b", b"two")?;
    rename2("a", "b", RenameFlags::EXCHANGE).call("renameat2", "a, b, RENAME_EXCHANGE")?;
    contents("renameat2", "a", b"two")?;
    contents("renameat2", "b", b"one")
}

submit!(
    Case::new(
        "rename.exchange_kinds",
        "renameat2 with RENAME_EXCHANGE swaps a file and a directory with contents",
        exchange_kinds
    )
    .source("rename(2): RENAME_EXCHANGE, of different types")
    .needed_by(&["ostree", "image builders"])
);

fn exchange_kinds(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    mkdir("b")?;
    write("b/inner", b"two")?;
    rename2("a", "b", RenameFlags::EXCHANGE).call("renameat2", "a, b, RENAME_EXCHANGE")?;
    contents("renameat2", "b", b"one")?;
    contents("renameat2", "a/inner", b"two")
}

submit!(
    Case::new(
        "rename.whiteout",
        "renameat2 with RENAME_WHITEOUT leaves a whiteout device behind",
        whiteout
    )
    .source("rename(2): RENAME_WHITEOUT; kata-containers/runtime#1888")
    .needed_by(&[
        "overlayfs with its upper directory on the volume",
        "Docker (overlay2)"
    ])
    .needs(&[Need::HostRoot])
);

fn whiteout(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    rename2("a", "b", RenameFlags::WHITEOUT).call("renameat2", "a, b, RENAME_WHITEOUT")?;
    contents("renameat2", "b", b"one")?;
    let left = lstat("a")?;
    let kind = rustix::fs::FileType::from_raw_mode(left.st_mode);
    expect(
        "renameat2",
        "what is left at a",
        (kind, left.st_rdev),
        (rustix::fs::FileType::CharacterDevice, 0),
    )
}

submit!(
    Case::new(
        "rename.across_directories",
        "a file and a directory with contents are moved into another directory",
        across_directories
    )
    .source("POSIX rename()")
    .needed_by(&[
        "mv",
        "npm (staging)",
        "git (quarantine)",
        "cargo (registry unpacking)"
    ])
);

fn across_directories(_: &mut Ctx) -> CaseOutcome {
    for dir in ["from", "to", "from/tree", "from/tree/deep"] {
        mkdir(dir)?;
    }
    write("from/data", b"file")?;
    write("from/tree/deep/leaf", b"leaf")?;
    rename("from/data", "to/data")?;
    rename("from/tree", "to/tree2")?;
    contents("rename", "to/data", b"file")?;
    contents("rename", "to/tree2/deep/leaf", b"leaf")?;
    holds("rename", "from", &[])
}

submit!(
    Case::new(
        "rename.parent_of_moved",
        "after a directory was moved, .. in it is its new parent",
        parent_of_moved
    )
    .source("POSIX rename(): .. of a moved directory")
    .needed_by(&["cd .., getcwd, find", "build systems"])
);

fn parent_of_moved(_: &mut Ctx) -> CaseOutcome {
    for dir in ["from", "to", "from/tree"] {
        mkdir(dir)?;
    }
    let tree = open("from/tree", OFlags::RDONLY | OFlags::DIRECTORY)?;
    rename("from/tree", "to/tree")?;
    let by_name = id(&stat("to/tree/..")?);
    expect("rename", "what to/tree/.. is", by_name, id(&stat("to")?))?;
    let by_fd = rustix::fs::statat(&tree, "..", AtFlags::empty())
        .call("fstatat", "the moved directory, ..")?;
    expect(
        "rename",
        "what .. of the open directory is",
        id(&by_fd),
        id(&stat("to")?),
    )
}

submit!(
    Case::new(
        "rename.into_itself",
        "a directory is not moved into its own subdirectory: EINVAL",
        into_itself
    )
    .source("POSIX rename(): EINVAL")
    .needed_by(&["mv (its message)", "file managers"])
);

fn into_itself(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    mkdir("dir/sub")?;
    rustix::fs::rename("dir", "dir/sub/dir").refused(
        "rename",
        "dir, dir/sub/dir",
        Errno::EINVAL,
    )?;
    holds("rename", "dir", &["sub"])
}

submit!(
    Case::new(
        "rename.over_empty_directory",
        "a directory is renamed over an empty one",
        over_empty_directory
    )
    .source("POSIX rename(): new names an empty directory")
    .needed_by(&["cargo", "dpkg", "go (module cache)", "Bazel"])
);

fn over_empty_directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("a")?;
    write("a/inner", b"x")?;
    mkdir("b")?;
    rename("a", "b")?;
    contents("rename", "b/inner", b"x")?;
    holds("rename", ".", &["b"])
}

submit!(
    Case::new(
        "rename.over_full_directory",
        "a rename over a directory with entries fails with ENOTEMPTY and keeps both",
        over_full_directory
    )
    .source("POSIX rename(): EEXIST or ENOTEMPTY; Linux gives ENOTEMPTY")
    .needed_by(&[
        "go (module cache races)",
        "npm",
        "cargo (two unpacking processes)"
    ])
);

fn over_full_directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("a")?;
    mkdir("b")?;
    write("b/kept", b"x")?;
    rustix::fs::rename("a", "b").refused("rename", "a, b", Errno::ENOTEMPTY)?;
    contents("rename", "b/kept", b"x")?;
    holds("rename", ".", &["a", "b"])
}

submit!(
    Case::new(
        "rename.file_over_directory",
        "a file is not renamed over a directory: EISDIR",
        file_over_directory
    )
    .source("POSIX rename(): EISDIR")
    .needed_by(&["installers that replace a directory by a link (their message)"])
);

fn file_over_directory(_: &mut Ctx) -> CaseOutcome {
    write("a", b"x")?;
    mkdir("b")?;
    rustix::fs::rename("a", "b").refused("rename", "a, b", Errno::EISDIR)?;
    holds("rename", ".", &["a", "b"])
}

submit!(
    Case::new(
        "rename.directory_over_file",
        "a directory is not renamed over a file: ENOTDIR",
        directory_over_file
    )
    .source("POSIX rename(): ENOTDIR")
    .needed_by(&["package managers (conffile conflicts)"])
);

fn directory_over_file(_: &mut Ctx) -> CaseOutcome {
    mkdir("a")?;
    write("b", b"x")?;
    rustix::fs::rename("a", "b").refused("rename", "a, b", Errno::ENOTDIR)?;
    contents("rename", "b", b"x")
}

submit!(
    Case::new(
        "rename.same_file",
        "a rename between two names of one file does nothing and succeeds",
        same_file
    )
    .source("POSIX rename(): old and new resolve to the same file")
    .needed_by(&["mv (which then unlinks itself)", "case-only renames"])
);

fn same_file(_: &mut Ctx) -> CaseOutcome {
    write("a", b"x")?;
    link("a", "b")?;
    rename("a", "b")?;
    holds("rename", ".", &["a", "b"])?;
    expect("rename", "st_nlink", stat("a")?.st_nlink, 2)
}

submit!(
    Case::new(
        "rename.missing",
        "a rename of what does not exist fails with ENOENT and keeps the target",
        missing
    )
    .source("POSIX rename(): ENOENT")
    .needed_by(&["programs that try a rename first"])
);

fn missing(_: &mut Ctx) -> CaseOutcome {
    write("b", b"x")?;
    rustix::fs::rename("a", "b").refused("rename", "a, b", Errno::ENOENT)?;
    contents("rename", "b", b"x")
}

submit!(
    Case::new(
        "rename.directory_in_use",
        "a directory is renamed while it is a working directory and has open files",
        directory_in_use
    )
    .source("POSIX rename(); microsoft/WSL#12897")
    .needed_by(&["build systems", "MySQL", "IDEs"])
);

fn directory_in_use(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    let fd = create("dir/data", b"x")?;
    rustix::process::chdir("dir").call("chdir", "dir")?;
    rename("../dir", "../moved")?;
    contents("rename", "data", b"x")?;
    write("fresh", b"y")?;
    write_at(&fd, "data", 1, b"z")?;
    rustix::process::chdir("..").call("chdir", "..")?;
    contents("rename", "moved/data", b"xz")?;
    holds("rename", "moved", &["data", "fresh"])
}

submit!(
    Case::new(
        "rename.over_itself_case",
        "a file is renamed to a name that differs in case alone",
        over_itself_case
    )
    .source("POSIX: names are bytes")
    .needed_by(&["git on case-sensitive trees"])
);

fn over_itself_case(_: &mut Ctx) -> CaseOutcome {
    write("readme", b"x")?;
    rename("readme", "README")?;
    holds("rename", ".", &["README"])
}

submit!(
    Case::new(
        "rename.trailing_slash",
        "a directory is renamed by names that end with a slash; a file is refused with ENOTDIR",
        trailing_slash
    )
    .source("POSIX path resolution: trailing slashes")
    .needed_by(&["mv dir/ new/", "shell completion"])
);

fn trailing_slash(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    rename("dir/", "new/")?;
    write("file", b"x")?;
    rustix::fs::rename("file", "moved/").refused("rename", "file, moved/", Errno::ENOTDIR)?;
    holds("rename", ".", &["file", "new"])
}

submit!(
    Case::new(
        "rename.read_only_file",
        "a file without write permission is renamed over and away",
        read_only_file
    )
    .source("POSIX rename(): the directory's permission decides")
    .needed_by(&["git (objects are 0444)", "Go (module cache is read-only)"])
);

fn read_only_file(_: &mut Ctx) -> CaseOutcome {
    create_mode("a", 0o444, b"one")?;
    create_mode("b", 0o444, b"two")?;
    rename("a", "b")?;
    contents("rename", "b", b"one")
}
