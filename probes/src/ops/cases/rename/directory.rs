//! Directories renamed and moved.

use super::super::prelude::*;

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
