//! Deep trees, long paths, and staying below a directory.

use super::*;

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

/// Makes a directory below another and opens it.
fn descend(parent: &OwnedFd, name: &str) -> CaseOutcome<OwnedFd> {
    rustix::fs::mkdirat(parent, name, mode(0o755)).call("mkdirat", name)?;
    rustix::fs::openat(parent, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .call("openat", name)
}

submit!(
    Case::new(
        "directory.path_max_depth",
        "a tree of 255 directories whose path has all 4,095 bytes is made step by step, named whole and removed",
        path_max_depth
    )
    .source("POSIX: PATH_MAX; path resolution")
    .needed_by(&[
        "rm -r, find and tar of trees that ran away",
        "fuzzers",
        "npm before version 3"
    ])
    .limit_secs(180)
);

fn path_max_depth(_: &mut Ctx) -> CaseOutcome {
    const DEPTH: usize = 255;
    const NAME: &str = "fifteen-letters";
    let mut at = open(".", OFlags::PATH)?;
    for _ in 0..DEPTH {
        at = descend(&at, NAME)?;
    }
    let leaf = format!("{}fifteen-of-file", format!("{NAME}/").repeat(DEPTH));
    expect("mkdirat", "the length of the path", leaf.len(), 4095)?;
    write(&leaf, b"deepest")?;
    contents("open", &leaf, b"deepest")?;
    unlink(&leaf)?;
    for _ in 0..DEPTH {
        at = rustix::fs::openat(&at, "..", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .call("openat", "..")?;
        rustix::fs::unlinkat(&at, NAME, AtFlags::REMOVEDIR).call("unlinkat", NAME)?;
    }
    holds("unlinkat", ".", &[])
}

submit!(
    Case::new(
        "directory.beyond_path_max",
        "below a directory whose path is longer than PATH_MAX files are made and read by relative names",
        beyond_path_max
    )
    .source("POSIX: PATH_MAX bounds what one call is given, not how deep a tree is")
    .needed_by(&["rm -r, find, git clean (by descriptors)", "gnulib fts", "backup programs"])
);

fn beyond_path_max(_: &mut Ctx) -> CaseOutcome {
    const LEVELS: usize = 20;
    let name = "l".repeat(255);
    let mut levels = vec![open(".", OFlags::PATH)?];
    for level in 0..LEVELS {
        levels.push(descend(&levels[level], &name)?);
    }
    let deepest = &levels[LEVELS];
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(deepest, "file", flags, mode(0o644))
        .call("openat", "file, 5,100 bytes below")?;
    write_at(&fd, "file", 0, b"below")?;
    rustix::fs::renameat(deepest, "file", deepest, "renamed")
        .call("renameat", "file, renamed, 5,100 bytes below")?;
    drop(fd);
    let fd = rustix::fs::openat(
        deepest,
        "renamed",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .call("openat", "renamed, 5,100 bytes below")?;
    same_bytes(
        "openat",
        "renamed",
        &read_at(&fd, "renamed", 0, 10)?,
        b"below",
    )?;
    rustix::fs::unlinkat(deepest, "renamed", AtFlags::empty()).call("unlinkat", "renamed")?;
    for level in (0..LEVELS).rev() {
        rustix::fs::unlinkat(&levels[level], &name, AtFlags::REMOVEDIR)
            .call("unlinkat", "a name of 255 bytes, AT_REMOVEDIR")?;
    }
    holds("unlinkat", ".", &[])
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
        let open = || {
            let flags = ResolveFlags::BENEATH;
            rustix::fs::openat2(&dir, path, OFlags::RDONLY, Mode::empty(), flags)
        };
        // Any rename on the machine while the kernel looks up a `..` makes it say EAGAIN: openat2(2) has callers retry.
        let mut opened = open();
        for _ in 0..1000 {
            if !matches!(opened, Err(rustix::io::Errno::AGAIN)) {
                break;
            }
            opened = open();
        }
        opened
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
