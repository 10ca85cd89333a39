//! Files reached by a descriptor instead of a name.

use super::*;

submit!(
    Case::new(
        "inode.o_path",
        "a descriptor opened with O_PATH serves fstat, *at() and re-opening by /proc/self/fd",
        o_path
    )
    .source("open(2): O_PATH; proc(5): /proc/PID/fd")
    .needed_by(&["systemd", "runc and crun", "tmpfiles", "glib (GLocalFile)"])
);

fn o_path(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/data", b"reached")?;
    let dir = open("dir", OFlags::PATH)?;
    let file = rustix::fs::openat(&dir, "data", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .call("openat", "dir, data, O_PATH")?;
    expect("fstat", "st_size", fstat(&file, "data")?.st_size, 7)?;
    rustix::io::read(&file, &mut [0; 4]).refused(
        "read",
        "data, opened with O_PATH",
        Errno::EBADF,
    )?;
    let again = open(&proc_fd(&file), OFlags::RDWR)?;
    same_bytes("open", "data", &read_at(&again, "data", 0, 10)?, b"reached")
}

submit!(
    Case::new(
        "inode.reopen_proc_fd",
        "a file that is open for reading is opened anew for writing by /proc/self/fd",
        reopen_proc_fd
    )
    .source("proc(5): /proc/PID/fd; open_tree and memfd users do the same")
    .needed_by(&["runc", "systemd (fd_reopen)", "bash <(…) and /dev/fd"])
);

fn reopen_proc_fd(_: &mut Ctx) -> CaseOutcome {
    write("data", b"old")?;
    let fd = open("data", OFlags::RDONLY)?;
    let writer = open(&proc_fd(&fd), OFlags::WRONLY)?;
    write_at(&writer, "data", 0, b"new")?;
    same_bytes("open", "data", &read_at(&fd, "data", 0, 10)?, b"new")
}

submit!(
    Case::new(
        "inode.tmpfile",
        "O_TMPFILE makes a file without a name that is written, read and sized",
        tmpfile
    )
    .source("open(2): O_TMPFILE")
    .needed_by(&[
        "systemd",
        "nix",
        "kopia",
        "glib",
        "Rust tempfile (falls back)"
    ])
);

fn tmpfile(_: &mut Ctx) -> CaseOutcome {
    let fd = make_tmpfile()?;
    write_at(&fd, "the O_TMPFILE", 0, b"0123456789")?;
    rustix::fs::ftruncate(&fd, 5).call("ftruncate", "the O_TMPFILE")?;
    same_bytes(
        "ftruncate",
        "the O_TMPFILE",
        &read_at(&fd, "the O_TMPFILE", 0, 20)?,
        b"01234",
    )?;
    holds("open", ".", &[])
}

submit!(
    Case::new(
        "inode.tmpfile_linkat",
        "a file made with O_TMPFILE gets its name by linkat of /proc/self/fd",
        tmpfile_linkat
    )
    .source("open(2): O_TMPFILE; linkat(2): AT_SYMLINK_FOLLOW")
    .needed_by(&[
        "systemd (link_tmpfile)",
        "kopia",
        "glib g_file_set_contents"
    ])
);

fn tmpfile_linkat(_: &mut Ctx) -> CaseOutcome {
    let fd = make_tmpfile()?;
    write_at(&fd, "the O_TMPFILE", 0, b"complete")?;
    rustix::fs::linkat(CWD, proc_fd(&fd), CWD, "data", AtFlags::SYMLINK_FOLLOW)
        .call("linkat", "/proc/self/fd/N of an O_TMPFILE, data")?;
    contents("linkat", "data", b"complete")?;
    expect("linkat", "st_nlink", stat("data")?.st_nlink, 1)
}

fn make_tmpfile() -> CaseOutcome<OwnedFd> {
    rustix::fs::open(
        ".",
        OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
        mode(0o644),
    )
    .call("open", "., O_TMPFILE|O_RDWR")
}

submit!(
    Case::new(
        "inode.linkat_proc_fd",
        "an open file gets a second name by linkat of /proc/self/fd",
        linkat_proc_fd
    )
    .source("linkat(2): AT_SYMLINK_FOLLOW; envoyproxy/envoy#23821")
    .needed_by(&["envoy", "systemd", "programs that publish a finished file"])
);

fn linkat_proc_fd(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"shared")?;
    rustix::fs::linkat(CWD, proc_fd(&fd), CWD, "again", AtFlags::SYMLINK_FOLLOW)
        .call("linkat", "/proc/self/fd/N of data, again")?;
    contents("linkat", "again", b"shared")?;
    expect("linkat", "st_nlink", stat("data")?.st_nlink, 2)
}

submit!(
    Case::new(
        "inode.linkat_empty_path",
        "an open file gets a second name by linkat with AT_EMPTY_PATH",
        linkat_empty_path
    )
    .source("linkat(2): AT_EMPTY_PATH, which needs CAP_DAC_READ_SEARCH")
    .needed_by(&["rsync-like tools that run as root", "systemd"])
    .needs(&[Need::HostRoot])
);

fn linkat_empty_path(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"shared")?;
    rustix::fs::linkat(&fd, "", CWD, "again", AtFlags::EMPTY_PATH)
        .call("linkat", "data by its descriptor, again, AT_EMPTY_PATH")?;
    contents("linkat", "again", b"shared")?;
    expect("linkat", "st_nlink", stat("data")?.st_nlink, 2)
}
