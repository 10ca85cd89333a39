//! Files that their mode closes, for root and for who made them.

use super::*;

submit!(
    Case::new(
        "permission.root_reads_all",
        "root reads and writes a file of mode 0000",
        root_reads_all
    )
    .source("capabilities(7): CAP_DAC_OVERRIDE")
    .needed_by(&["backup programs", "package managers", "sudo"])
    .needs(&[Need::Root])
);

fn root_reads_all(_: &mut Ctx) -> CaseOutcome {
    write("closed", b"x")?;
    chmod("closed", 0)?;
    let fd = open("closed", OFlags::RDWR)?;
    write_at(&fd, "closed", 0, b"written")?;
    contents("open", "closed", b"written")
}

submit!(
    Case::new(
        "permission.root_passes_directory",
        "root makes, lists and removes in a directory of mode 0000",
        root_passes_directory
    )
    .source("capabilities(7): CAP_DAC_OVERRIDE")
    .needed_by(&[
        "rm -rf as root",
        "backup programs",
        "Go (read-only module cache)"
    ])
    .needs(&[Need::Root])
);

fn root_passes_directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    chmod("dir", 0)?;
    write("dir/data", b"x")?;
    holds("open", "dir", &["data"])?;
    unlink("dir/data")?;
    holds("unlink", "dir", &[])
}

submit!(
    Case::new(
        "permission.create_read_only",
        "a file made with mode 0444 is written by the descriptor that made it",
        create_read_only
    )
    .source("POSIX open(): the mode does not affect this descriptor; containers/libkrun#769")
    .needed_by(&["git (loose objects)", "Go (module cache)", "Mercurial"])
);

fn create_read_only(_: &mut Ctx) -> CaseOutcome {
    create_mode("object", 0o444, b"written all the same")?;
    contents("open", "object", b"written all the same")
}

submit!(
    Case::new(
        "permission.create_read_only_other",
        "another user's file made with mode 0444 or 0000 is written by the descriptor that made it",
        create_read_only_other
    )
    .source("POSIX open()")
    .needed_by(&["git as an ordinary user", "dpkg-deb"])
    .needs(&[Need::SecondUser])
);

fn create_read_only_other(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    as_user(OTHER, || {
        create_mode("object", 0o444, b"written")?;
        create_mode("closed", 0o000, b"written")?;
        opened("object", OFlags::WRONLY).refused(
            "open",
            "object (0444), O_WRONLY by its owner",
            Errno::EACCES,
        )
    })?;
    contents("open", "object", b"written")
}

submit!(
    Case::new(
        "permission.ftruncate_read_only",
        "a file of mode 0444 is truncated by a descriptor opened for writing",
        ftruncate_read_only
    )
    .source("POSIX ftruncate(): the descriptor's access counts; newren/git-filter-repo#342")
    .needed_by(&["git fast-import", "libgit2"])
);

fn ftruncate_read_only(_: &mut Ctx) -> CaseOutcome {
    let fd = create_mode("pack", 0o444, b"0123456789")?;
    rustix::fs::ftruncate(&fd, 4).call("ftruncate", "pack (0444)")?;
    contents("ftruncate", "pack", b"0123")
}

submit!(
    Case::new(
        "permission.open_in_closed_directory",
        "root finds the name of a file that it has open in a directory that nobody may search",
        open_in_closed_directory
    )
    .source("linux fs/namei.c: a name in use is found without asking the file system; v9fs has no d_revalidate with cache=none")
    .needed_by(&["programs that close a directory over their open files", "daemons that check their own PID file"])
    .needs(&[Need::Root])
);

fn open_in_closed_directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("closed")?;
    mkdir("dir")?;
    let _fd = create("closed/data", b"x")?;
    chmod("closed", 0o600)?;
    let outcome = rustix::fs::access("closed/data", rustix::fs::Access::EXISTS)
        .call("access", "closed/data, which is open, F_OK")
        .and_then(|()| {
            rustix::fs::rename("closed/data", "dir").refused(
                "rename",
                "closed/data, which is open, dir",
                Errno::EISDIR,
            )
        });
    chmod("closed", 0o700)?;
    outcome
}
