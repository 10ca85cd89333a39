//! Hard links: one file by several names.

use super::prelude::*;

submit!(
    Case::new(
        "link.nlink",
        "a hard link adds one to st_nlink of both names, and its removal takes it away",
        nlink
    )
    .source("POSIX link()")
    .needed_by(&["git", "rsync -H", "dpkg", "maildir delivery"])
);

fn nlink(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    link("a", "b")?;
    expect("link", "st_nlink of a", stat("a")?.st_nlink, 2)?;
    expect("link", "st_nlink of b", stat("b")?.st_nlink, 2)?;
    unlink("a")?;
    expect("unlink", "st_nlink of b", stat("b")?.st_nlink, 1)?;
    contents("unlink", "b", b"one")
}

submit!(
    Case::new(
        "link.same_file",
        "what is written by one name is read by the other, and both are one inode",
        same_file
    )
    .source("POSIX link()")
    .needed_by(&["pnpm (store)", "ccache", "cp -l", "BusyBox (applets)"])
);

fn same_file(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    link("a", "b")?;
    expect(
        "link",
        "whether both are one inode",
        id(&stat("a")?) == id(&stat("b")?),
        true,
    )?;
    let fd = open("b", OFlags::WRONLY)?;
    write_at(&fd, "b", 0, b"two, longer")?;
    contents("pwrite", "a", b"two, longer")?;
    chmod("b", 0o600)?;
    expect(
        "chmod",
        "the mode of a",
        permissions(&stat("a")?),
        "0600".into(),
    )
}

submit!(
    Case::new(
        "link.across_directories",
        "a link is made into another directory",
        across_directories
    )
    .source("POSIX link()")
    .needed_by(&[
        "maildir (tmp to new)",
        "git (quarantine to objects)",
        "rsnapshot"
    ])
);

fn across_directories(_: &mut Ctx) -> CaseOutcome {
    mkdir("tmp")?;
    mkdir("new")?;
    write("tmp/mail", b"mail")?;
    link("tmp/mail", "new/mail")?;
    unlink("tmp/mail")?;
    contents("link", "new/mail", b"mail")?;
    holds("unlink", "tmp", &[])
}

submit!(
    Case::new(
        "link.existing",
        "link to a name that exists fails with EEXIST and changes nothing",
        existing
    )
    .source("POSIX link(): EEXIST")
    .needed_by(&["dotlockfile, procmail, mutt (lock by link)", "yarn mutex"])
);

fn existing(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    write("b", b"two")?;
    rustix::fs::link("a", "b").refused("link", "a, b", Errno::EEXIST)?;
    contents("link", "b", b"two")?;
    expect("link", "st_nlink of a", stat("a")?.st_nlink, 1)
}

submit!(
    Case::new(
        "link.of_directory",
        "a hard link to a directory is refused with EPERM",
        of_directory
    )
    .source("POSIX link(): EPERM; link(2)")
    .needed_by(&["GNU cp -l and ln (messages)", "fts(3)"])
);

fn of_directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    rustix::fs::link("dir", "again").refused("link", "dir, again", Errno::EPERM)?;
    holds("link", ".", &["dir"])
}

submit!(
    Case::new(
        "link.missing",
        "link of a name that does not exist fails with ENOENT",
        missing
    )
    .source("POSIX link(): ENOENT")
    .needed_by(&["lock protocols by link"])
);

fn missing(_: &mut Ctx) -> CaseOutcome {
    rustix::fs::link("missing", "b").refused("link", "missing, b", Errno::ENOENT)?;
    holds("link", ".", &[])
}

submit!(
    Case::new(
        "link.of_symlink",
        "linkat without AT_SYMLINK_FOLLOW links the symbolic link itself",
        of_symlink
    )
    .source("POSIX linkat(); Linux link(2) does not follow")
    .needed_by(&["cp -al", "rsync -aH", "rsnapshot"])
);

fn of_symlink(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    symlink("data", "soft")?;
    link("soft", "soft2")?;
    let target = rustix::fs::readlink("soft2", Vec::new()).call("readlink", "soft2")?;
    expect(
        "link",
        "the target of soft2",
        target.as_bytes(),
        b"data".as_slice(),
    )?;
    expect("link", "st_nlink of soft", lstat("soft")?.st_nlink, 2)?;
    expect("link", "st_nlink of data", stat("data")?.st_nlink, 1)
}

submit!(
    Case::new(
        "link.follow",
        "linkat with AT_SYMLINK_FOLLOW links the file that the symbolic link names",
        follow
    )
    .source("POSIX linkat(): AT_SYMLINK_FOLLOW")
    .needed_by(&["ln -L", "systemd"])
);

fn follow(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    symlink("data", "soft")?;
    rustix::fs::linkat(CWD, "soft", CWD, "hard", AtFlags::SYMLINK_FOLLOW)
        .call("linkat", "soft, hard, AT_SYMLINK_FOLLOW")?;
    expect(
        "linkat",
        "whether hard is data",
        id(&lstat("hard")?) == id(&stat("data")?),
        true,
    )
}

submit!(
    Case::new(
        "link.many",
        "a file gets 200 names, and st_nlink counts them",
        many
    )
    .source("POSIX link(): LINK_MAX")
    .needed_by(&[
        "rsnapshot",
        "pnpm and Nix stores (deduplication)",
        "git worktrees of BusyBox-like trees"
    ])
);

fn many(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    for i in 0..199 {
        link("data", &format!("name{i}"))?;
    }
    expect("link", "st_nlink", stat("name198")?.st_nlink, 200)?;
    expect("link", "the number of names", names(".")?.len(), 200)
}

submit!(
    Case::new(
        "link.to_open_file",
        "a file is given a new name while it is open, and loses the old one",
        to_open_file
    )
    .source("POSIX link(), unlink()")
    .needed_by(&["maildir delivery", "git (loose objects)", "dotlock"])
);

fn to_open_file(_: &mut Ctx) -> CaseOutcome {
    let fd = create("tmp", b"half ")?;
    link("tmp", "final")?;
    unlink("tmp")?;
    write_at(&fd, "final", 5, b"done")?;
    contents("pwrite", "final", b"half done")
}

submit!(
    Case::new(
        "link.lock_race",
        "of 4 processes that link a lock at once exactly one succeeds each time",
        lock_race
    )
    .source("open(2): link() instead of O_EXCL for locks on network filesystems")
    .needed_by(&["dotlockfile", "procmail", "mutt", "apt-cacher"])
);

fn lock_race(_: &mut Ctx) -> CaseOutcome {
    for round in 0..10 {
        let mut racers = Vec::new();
        for racer in 0..4 {
            write(&format!("own{racer}.{round}"), b"")?;
            racers.push(fork(move |start| {
                start.hear()?;
                match rustix::fs::link(format!("own{racer}.{round}"), format!("lock{round}")) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
                    Err(error) => Err(error).call("link", "own, lock"),
                }
            })?);
        }
        for racer in &mut racers {
            racer.tell()?;
        }
        for racer in racers {
            racer.join()?;
        }
        let winners = (0..4)
            .map(|racer| Ok(stat(&format!("own{racer}.{round}"))?.st_nlink == 2))
            .collect::<CaseOutcome<Vec<bool>>>()?;
        expect(
            "link",
            "the number of winners",
            winners.iter().filter(|won| **won).count(),
            1,
        )?;
    }
    Ok(())
}
