//! Names that the host makes, changes and takes away.

use super::*;

fn host_rename(from: &str, to: &str) -> CaseOutcome {
    host::act(Act::Rename(from.into(), to.into())).map(drop)
}

fn host_unlink(name: &str) -> CaseOutcome {
    host::act(Act::Unlink(name.into())).map(drop)
}

submit!(
    Case::new(
        "coherence.host_creates",
        "a file that the host makes is listed and read at once",
        host_creates
    )
    .source(SOURCE)
    .needed_by(&[
        "requestors that transfer files in while a program runs",
        "shared work directories"
    ])
    .needs(&[Need::HostView])
);

fn host_creates(_: &mut Ctx) -> CaseOutcome {
    holds("getdents64", ".", &[])?;
    host::write("data", b"from the host")?;
    holds("getdents64", ".", &["data"])?;
    contents("open", "data", b"from the host")
}

submit!(
    Case::new(
        "coherence.negative_lookup",
        "a name that was looked for in vain is found once the host has made it",
        negative_lookup
    )
    .source(SOURCE)
    .needed_by(&["programs that wait for a file", "make", "job queues"])
    .needs(&[Need::HostView])
);

fn negative_lookup(_: &mut Ctx) -> CaseOutcome {
    for _ in 0..3 {
        expect("stat", "the presence of flag", exists("flag")?, false)?;
    }
    host::write("flag", b"x")?;
    expect(
        "stat",
        "the presence of flag that the host made",
        exists("flag")?,
        true,
    )
}

submit!(
    Case::new(
        "coherence.host_renames",
        "a name that the host changes is gone, and the new one is there",
        host_renames
    )
    .source(SOURCE)
    .needed_by(&["publishing by rename from the host"])
    .needs(&[Need::HostView])
);

fn host_renames(_: &mut Ctx) -> CaseOutcome {
    write("old", b"x")?;
    contents("open", "old", b"x")?;
    host_rename("old", "new")?;
    expect("stat", "the presence of old", exists("old")?, false)?;
    contents("open", "new", b"x")?;
    holds("getdents64", ".", &["new"])
}

submit!(
    Case::new(
        "coherence.host_replaces",
        "a file that the host replaces by rename is the new one to who opens it",
        host_replaces
    )
    .source(SOURCE)
    .needed_by(&[
        "configuration and certificate updates",
        "deployments from the host"
    ])
    .needs(&[Need::HostView])
);

fn host_replaces(_: &mut Ctx) -> CaseOutcome {
    write("data", b"old")?;
    let old = stat("data")?;
    contents("open", "data", b"old")?;
    host::write("tmp", b"the new one")?;
    host_rename("tmp", "data")?;
    contents("open", "data", b"the new one")?;
    expect(
        "stat",
        "whether data has another inode number",
        stat("data")?.st_ino != old.st_ino,
        true,
    )
}

submit!(
    Case::new(
        "coherence.host_replaces_open",
        "a file that the host replaces by rename stays itself to who has it open",
        host_replaces_open
    )
    .source("POSIX rename(); QEMU hw/9pfs asks for attributes by path")
    .needed_by(&["servers that read while the host deploys"])
    .needs(&[Need::HostView])
);

fn host_replaces_open(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'o'; 5000])?;
    let fd = open("data", OFlags::RDONLY)?;
    same_bytes("pread", "data", &read_at(&fd, "data", 0, 10)?, &[b'o'; 10])?;
    host::write("tmp", b"new")?;
    host_rename("tmp", "data")?;
    same_bytes(
        "pread",
        "the replaced file",
        &read_at(&fd, "data, replaced by the host", 0, 6000)?,
        &[b'o'; 5000],
    )
}

submit!(
    Case::new(
        "coherence.host_removes",
        "a file that the host removes is gone",
        host_removes
    )
    .source(SOURCE)
    .needed_by(&["locks and flags by file", "clean-up by the host"])
    .needs(&[Need::HostView])
);

fn host_removes(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    contents("open", "data", b"x")?;
    host_unlink("data")?;
    rustix::fs::open("data", OFlags::RDONLY, Mode::empty()).refused(
        "open",
        "data, removed by the host",
        Errno::ENOENT,
    )?;
    holds("getdents64", ".", &[])
}

submit!(
    Case::new(
        "coherence.host_removes_open",
        "a file that the host removes is read on by who has it open",
        host_removes_open
    )
    .source("POSIX unlink(): the file stays accessible while it is open")
    .needed_by(&["clean-up by the host while a program runs"])
    .needs(&[Need::HostView])
);

fn host_removes_open(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'k'; 5000])?;
    let fd = open("data", OFlags::RDWR)?;
    host_unlink("data")?;
    same_bytes(
        "pread",
        "data",
        &read_at(&fd, "data, removed by the host", 0, 6000)?,
        &[b'k'; 5000],
    )?;
    write_at(&fd, "data, removed by the host", 5000, b"more")
}

submit!(
    Case::new(
        "coherence.host_relinks",
        "a symbolic link that the host points elsewhere leads there",
        host_relinks
    )
    .source(SOURCE)
    .needed_by(&["current -> releases/N deployments", "NixOS/nixpkgs#22695"])
    .needs(&[Need::HostView])
);

fn host_relinks(_: &mut Ctx) -> CaseOutcome {
    write("v1", b"one")?;
    write("v2", b"two")?;
    symlink("v1", "current")?;
    contents("open", "current", b"one")?;
    host::act(Act::Symlink("v2".into(), "next".into()))?;
    host_rename("next", "current")?;
    contents("open", "current", b"two")
}

submit!(
    Case::new(
        "coherence.host_directory",
        "directories that the host makes and removes come and go",
        host_directory
    )
    .source(SOURCE)
    .needed_by(&[
        "requestors that lay out directories",
        "git checkouts by the host"
    ])
    .needs(&[Need::HostView])
);

fn host_directory(_: &mut Ctx) -> CaseOutcome {
    host::act(Act::Mkdir("dir".into()))?;
    host::write("dir/inner", b"x")?;
    contents("open", "dir/inner", b"x")?;
    host_rename("dir", "moved")?;
    contents("open", "moved/inner", b"x")?;
    expect("stat", "the presence of dir", exists("dir")?, false)?;
    host::act(Act::RemoveAll("moved".into()))?;
    holds("getdents64", ".", &[])
}
