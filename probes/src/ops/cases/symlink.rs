//! Symbolic links: what they say, where they lead, and when they must not be followed.

use super::prelude::*;

fn target(path: &str) -> CaseOutcome<Vec<u8>> {
    Ok(rustix::fs::readlink(path, Vec::new())
        .call("readlink", path)?
        .into_bytes())
}

submit!(
    Case::new(
        "symlink.read",
        "a symbolic link says what it was made with, and leads there",
        read_and_follow
    )
    .source("POSIX symlink(), readlink()")
    .needed_by(&[
        "npm (node_modules/.bin)",
        "Python venv",
        "Nix",
        "every Unix program"
    ])
);

fn read_and_follow(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/data", b"found")?;
    symlink("dir/data", "soft")?;
    expect(
        "readlink",
        "the target",
        target("soft")?,
        b"dir/data".to_vec(),
    )?;
    contents("symlink", "soft", b"found")
}

submit!(
    Case::new(
        "symlink.size",
        "lstat tells a symbolic link's type and the length of its target",
        size
    )
    .source("POSIX lstat(): st_size of a symbolic link")
    .needed_by(&["git (readlink buffers)", "tar", "glibc realpath"])
);

fn size(_: &mut Ctx) -> CaseOutcome {
    symlink("twelve bytes", "soft")?;
    let stat = lstat("soft")?;
    expect(
        "lstat",
        "the type",
        rustix::fs::FileType::from_raw_mode(stat.st_mode),
        rustix::fs::FileType::Symlink,
    )?;
    expect("lstat", "st_size", stat.st_size, 12)?;
    expect("lstat", "the mode", permissions(&stat), "0777".into())
}

submit!(
    Case::new(
        "symlink.dangling",
        "a link to what does not exist is made, listed and read, and open gives ENOENT",
        dangling
    )
    .source("POSIX symlink(), open(): ENOENT")
    .needed_by(&[
        "Emacs (lock links)",
        "Nix",
        "package managers that unpack links first"
    ])
);

fn dangling(_: &mut Ctx) -> CaseOutcome {
    symlink("user@host.4711:1700000000", ".#file")?;
    expect(
        "readlink",
        "the target",
        target(".#file")?,
        b"user@host.4711:1700000000".to_vec(),
    )?;
    rustix::fs::open(".#file", OFlags::RDONLY, Mode::empty()).refused(
        "open",
        ".#file",
        Errno::ENOENT,
    )?;
    holds("symlink", ".", &[".#file"])
}

submit!(
    Case::new(
        "symlink.create_through",
        "open with O_CREAT through a dangling link makes the target; with O_EXCL it fails",
        create_through
    )
    .source("POSIX open(): O_CREAT, O_EXCL and symbolic links")
    .needed_by(&["editors that save to a link", "shell redirection"])
);

fn create_through(_: &mut Ctx) -> CaseOutcome {
    symlink("data", "soft")?;
    rustix::fs::open(
        "soft",
        OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY,
        mode(0o644),
    )
    .refused("open", "soft, O_CREAT|O_EXCL", Errno::EEXIST)?;
    let fd = rustix::fs::open("soft", OFlags::CREATE | OFlags::WRONLY, mode(0o644))
        .call("open", "soft, O_CREAT")?;
    write_at(&fd, "soft", 0, b"made")?;
    contents("open", "data", b"made")?;
    expect(
        "open",
        "the target of soft",
        target("soft")?,
        b"data".to_vec(),
    )
}

submit!(
    Case::new(
        "symlink.existing",
        "symlink over a name that exists fails with EEXIST, so it serves as a lock",
        existing
    )
    .source("POSIX symlink(): EEXIST")
    .needed_by(&["Emacs", "Firefox and Chromium (profile locks)"])
);

fn existing(_: &mut Ctx) -> CaseOutcome {
    symlink("first", "lock")?;
    rustix::fs::symlink("second", "lock").refused("symlink", "second, lock", Errno::EEXIST)?;
    expect("symlink", "the target", target("lock")?, b"first".to_vec())
}

submit!(
    Case::new("symlink.loop", "a loop of links ends with ELOOP", loops)
        .source("POSIX path resolution: ELOOP")
        .needed_by(&["find -L", "realpath", "build systems that follow links"])
);

fn loops(_: &mut Ctx) -> CaseOutcome {
    symlink("b", "a")?;
    symlink("a", "b")?;
    rustix::fs::stat("a").refused("stat", "a", Errno::ELOOP)?;
    rustix::fs::open("a", OFlags::RDONLY, Mode::empty()).refused("open", "a", Errno::ELOOP)?;
    expect("symlink", "the target of a", target("a")?, b"b".to_vec())
}

submit!(
    Case::new(
        "symlink.chain",
        "a chain of 40 links is followed, and one of 41 ends with ELOOP",
        chain
    )
    .source("path_resolution(7): at most 40 links")
    .needed_by(&["update-alternatives", "Nix profiles"])
);

fn chain(_: &mut Ctx) -> CaseOutcome {
    write("l0", b"the end")?;
    for i in 1..=41 {
        symlink(&format!("l{}", i - 1), &format!("l{i}"))?;
    }
    contents("symlink", "l40", b"the end")?;
    rustix::fs::stat("l41").refused("stat", "l41", Errno::ELOOP)
}

submit!(
    Case::new(
        "symlink.nofollow",
        "open with O_NOFOLLOW of a link fails with ELOOP, and with O_PATH opens the link",
        nofollow
    )
    .source("open(2): O_NOFOLLOW, O_PATH; readlinkat(2) with an empty path")
    .needed_by(&[
        "systemd",
        "OpenSSH",
        "tar --keep-directory-symlink",
        "Rust cap-std"
    ])
);

fn nofollow(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    symlink("data", "soft")?;
    rustix::fs::open("soft", OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()).refused(
        "open",
        "soft, O_NOFOLLOW",
        Errno::ELOOP,
    )?;
    let fd = open("soft", OFlags::PATH | OFlags::NOFOLLOW)?;
    let says =
        rustix::fs::readlinkat(&fd, "", Vec::new()).call("readlinkat", "soft by its descriptor")?;
    expect(
        "readlinkat",
        "the target",
        says.into_bytes(),
        b"data".to_vec(),
    )
}

submit!(
    Case::new("symlink.long", "a target of 4095 bytes is kept whole", long)
        .source("POSIX symlink(): SYMLINK_MAX; Linux PATH_MAX")
        .needed_by(&["deep node_modules and Bazel trees"])
);

fn long(_: &mut Ctx) -> CaseOutcome {
    let says = "0123456789abcde/".repeat(256)[..4095].to_owned();
    symlink(&says, "soft")?;
    ensure(
        "readlink",
        target("soft")? == says.as_bytes(),
        "the target is not what the link was made with",
    )?;
    expect("lstat", "st_size", lstat("soft")?.st_size, 4095)
}

submit!(
    Case::new(
        "symlink.too_long",
        "a target of 4096 bytes is refused with ENAMETOOLONG",
        too_long
    )
    .source("symlink(2): ENAMETOOLONG")
    .needed_by(&["programs that fall back to relative links"])
);

fn too_long(_: &mut Ctx) -> CaseOutcome {
    rustix::fs::symlink("x".repeat(4096), "soft").refused(
        "symlink",
        "4096 bytes, soft",
        Errno::ENAMETOOLONG,
    )?;
    holds("symlink", ".", &[])
}

submit!(
    Case::new(
        "symlink.not_utf8",
        "a target that is not UTF-8 is kept byte by byte",
        not_utf8
    )
    .source("POSIX: a pathname is bytes")
    .needed_by(&["tar and rsync of old archives"])
);

fn not_utf8(_: &mut Ctx) -> CaseOutcome {
    let says: &[u8] = b"latin1-\xe9\xff\xfe.txt";
    rustix::fs::symlink(says, "soft").call("symlink", "bytes that are not UTF-8, soft")?;
    expect("readlink", "the target", target("soft")?, says.to_vec())
}

submit!(
    Case::new(
        "symlink.directory",
        "a link to a directory is gone through, also with .. behind it",
        directory
    )
    .source("POSIX path resolution")
    .needed_by(&["current -> releases/N deployments", "Debian /usr merge"])
);

fn directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("releases")?;
    mkdir("releases/1")?;
    write("releases/notes", b"notes")?;
    symlink("releases/1", "current")?;
    write("current/app", b"app")?;
    contents("symlink", "releases/1/app", b"app")?;
    contents("symlink", "current/../notes", b"notes")?;
    holds("symlink", "current/", &["app"])
}

submit!(
    Case::new(
        "symlink.absolute",
        "a link with an absolute target leads into the file system of the process that follows it",
        absolute
    )
    .source("POSIX path resolution: it is the client that resolves")
    .needed_by(&["Python venv (bin/python)", "Nix", "Homebrew"])
);

fn absolute(_: &mut Ctx) -> CaseOutcome {
    symlink("/proc/self", "soft")?;
    let comm = read("soft/comm")?;
    expect(
        "symlink",
        "what /proc/self/comm says by the link",
        comm,
        read("/proc/self/comm")?,
    )
}

submit!(
    Case::new(
        "symlink.above",
        "a relative link that leads above its directory is followed",
        above
    )
    .source("POSIX path resolution")
    .needed_by(&["npm (.bin)", "pnpm", "GNU stow"])
);

fn above(_: &mut Ctx) -> CaseOutcome {
    mkdir("bin")?;
    mkdir("pkg")?;
    write("pkg/tool", b"tool")?;
    symlink("../pkg/tool", "bin/tool")?;
    contents("symlink", "bin/tool", b"tool")
}

submit!(
    Case::new(
        "symlink.times",
        "utimensat with AT_SYMLINK_NOFOLLOW sets the link's times and not the target's",
        times
    )
    .source("POSIX utimensat()")
    .needed_by(&["tar", "rsync -t", "cp -a", "touch -h"])
);

fn times(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    symlink("data", "soft")?;
    let before = stat("data")?.st_mtime;
    rustix::fs::utimensat(
        CWD,
        "soft",
        &both_times(1_000_000_000),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .call("utimensat", "soft, AT_SYMLINK_NOFOLLOW")?;
    expect(
        "utimensat",
        "st_mtime of the link",
        lstat("soft")?.st_mtime,
        1_000_000_000,
    )?;
    expect(
        "utimensat",
        "whether the target kept its st_mtime",
        stat("data")?.st_mtime == before,
        true,
    )
}

submit!(
    Case::new(
        "symlink.lchown",
        "lchown of a link to its own owner works and leaves the target alone",
        lchown
    )
    .source("POSIX lchown()")
    .needed_by(&["tar", "cp -a", "rsync -o"])
);

fn lchown(_: &mut Ctx) -> CaseOutcome {
    symlink("missing", "soft")?;
    let owner = lstat("soft")?;
    nix::unistd::fchownat(
        rustix::fs::CWD,
        "soft",
        Some(nix::unistd::Uid::from_raw(owner.st_uid)),
        Some(nix::unistd::Gid::from_raw(owner.st_gid)),
        nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .call("fchownat", "soft, its own owner, AT_SYMLINK_NOFOLLOW")?;
    expect(
        "fchownat",
        "the target",
        target("soft")?,
        b"missing".to_vec(),
    )
}

submit!(
    Case::new(
        "symlink.lchown_other",
        "root gives a symbolic link itself to another user",
        lchown_other
    )
    .source("POSIX lchown()")
    .needed_by(&["tar as root", "dpkg", "rsync -a as root"])
    .needs(&[Need::SecondUser])
);

fn lchown_other(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    symlink("data", "soft")?;
    nix::unistd::fchownat(
        rustix::fs::CWD,
        "soft",
        Some(nix::unistd::Uid::from_raw(OTHER)),
        Some(nix::unistd::Gid::from_raw(OTHER)),
        nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .call("fchownat", "soft, another user, AT_SYMLINK_NOFOLLOW")?;
    expect(
        "fchownat",
        "the owner of the link",
        lstat("soft")?.st_uid,
        OTHER,
    )?;
    expect(
        "fchownat",
        "whether the target has another owner",
        stat("data")?.st_uid == OTHER,
        false,
    )
}

submit!(
    Case::new(
        "symlink.removed",
        "unlink and rename act on the link and leave its target alone",
        removed
    )
    .source("POSIX unlink(), rename()")
    .needed_by(&["ln -sfn", "deployments that swap a link by rename"])
);

fn removed(_: &mut Ctx) -> CaseOutcome {
    write("v1", b"one")?;
    write("v2", b"two")?;
    symlink("v1", "current")?;
    symlink("v2", "next")?;
    rename("next", "current")?;
    contents("rename", "current", b"two")?;
    unlink("current")?;
    holds("unlink", ".", &["v1", "v2"])?;
    contents("rename", "v1", b"one")
}

submit!(
    Case::new(
        "symlink.each_its_own",
        "of 200 links each says its own target, asked by two processes at once",
        each_its_own
    )
    .source("POSIX readlink(); NixOS/nixpkgs#22695: another link's target")
    .needed_by(&["Nix (profiles)", "npm"])
);

fn each_its_own(_: &mut Ctx) -> CaseOutcome {
    for i in 0..200 {
        symlink(&format!("target-{i}"), &format!("soft{i}"))?;
    }
    let check = |i: u32| {
        expect(
            "readlink",
            &format!("the target of soft{i}"),
            target(&format!("soft{i}"))?,
            format!("target-{i}").into_bytes(),
        )
    };
    let other = fork(|_| (0..200).rev().try_for_each(check))?;
    (0..200).try_for_each(check)?;
    other.join()
}
