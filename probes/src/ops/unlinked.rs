//! Files whose name is gone, or belongs to another file now, while they are open: what goes by path on the
//! server fails here, or works on the wrong file.

use rustix::fs::{FlockOperation, SeekFrom, Timespec, Timestamps, XattrFlags};

use super::prelude::*;

const POSIX: &str = "POSIX unlink(): the file stays accessible while it is open; QEMU hw/9pfs goes by path for attributes";

/// A file that is open for reading and writing and has no name.
fn nameless(bytes: &[u8]) -> CaseOutcome<OwnedFd> {
    let fd = create("data", bytes)?;
    unlink("data")?;
    expect("unlink", "the presence of the name", exists("data")?, false)?;
    Ok(fd)
}

const GONE: &str = "data, whose name was removed";

submit!(
    Case::new(
        "inode.unlinked_read",
        "an open file is read after its name was removed",
        unlinked_read
    )
    .source(POSIX)
    .needed_by(&[
        "sort",
        "tmpfile(3)",
        "less",
        "package managers that replace running programs"
    ])
);

fn unlinked_read(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"still here")?;
    same_bytes("pread", GONE, &read_at(&fd, GONE, 0, 100)?, b"still here")
}

submit!(
    Case::new(
        "inode.unlinked_write",
        "an open file is written, and read back, after its name was removed",
        unlinked_write
    )
    .source(POSIX)
    .needed_by(&[
        "tmpfile(3)",
        "git index-pack",
        "MySQL (internal temporary files)"
    ])
);

fn unlinked_write(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"0123456789")?;
    write_at(&fd, GONE, 8, &[b'w'; 20_000])?;
    let mut want = b"01234567".to_vec();
    want.resize(20_008, b'w');
    same_bytes("pwrite", GONE, &read_at(&fd, GONE, 0, 30_000)?, &want)
}

submit!(
    Case::new(
        "inode.unlinked_fstat",
        "fstat of an open file works after its name was removed, and tells its size",
        unlinked_fstat
    )
    .source(POSIX)
    .needed_by(&[
        "apt (FileFd::Size)",
        "perl",
        "Rust tempfile().metadata()",
        "coreutils sort"
    ])
);

fn unlinked_fstat(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"0123456789")?;
    expect("fstat", "st_size", fstat(&fd, GONE)?.st_size, 10)
}

submit!(
    Case::new(
        "inode.unlinked_nlink",
        "fstat of a file whose last name was removed tells st_nlink 0",
        unlinked_nlink
    )
    .source("POSIX fstat(), st_nlink")
    .needed_by(&[
        "tail -F",
        "lsof +L1",
        "glusterd-like log followers",
        "dotlock checks"
    ])
);

fn unlinked_nlink(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"x")?;
    expect("fstat", "st_nlink", fstat(&fd, GONE)?.st_nlink, 0)
}

submit!(
    Case::new(
        "inode.unlinked_ftruncate",
        "ftruncate works on an open file whose name was removed",
        unlinked_ftruncate
    )
    .source("POSIX ftruncate(); kata-containers/kata-containers#9700")
    .needed_by(&[
        "iperf3",
        "SQLite temporary files",
        "PostgreSQL (temporary files)"
    ])
);

fn unlinked_ftruncate(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"0123456789")?;
    rustix::fs::ftruncate(&fd, 4).call("ftruncate", GONE)?;
    same_bytes("ftruncate", GONE, &read_at(&fd, GONE, 0, 100)?, b"0123")
}

submit!(
    Case::new(
        "inode.unlinked_extend",
        "ftruncate makes an open file without a name longer, filled with zeros",
        unlinked_extend
    )
    .source("POSIX ftruncate()")
    .needed_by(&[
        "shared memory by temporary file (Mesa, Wayland clients)",
        "iperf3"
    ])
);

fn unlinked_extend(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"01")?;
    rustix::fs::ftruncate(&fd, 6).call("ftruncate", GONE)?;
    same_bytes(
        "ftruncate",
        GONE,
        &read_at(&fd, GONE, 0, 100)?,
        b"01\0\0\0\0",
    )
}

submit!(
    Case::new(
        "inode.unlinked_fchmod",
        "fchmod works on an open file whose name was removed",
        unlinked_fchmod
    )
    .source("POSIX fchmod()")
    .needed_by(&["mkstemp users that fchmod before linkat", "systemd"])
);

fn unlinked_fchmod(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"x")?;
    rustix::fs::fchmod(&fd, mode(0o600)).call("fchmod", GONE)?;
    expect(
        "fchmod",
        "the mode",
        permissions(&fstat(&fd, GONE)?),
        "0600".into(),
    )
}

submit!(
    Case::new(
        "inode.unlinked_fchown",
        "fchown to its own owner works on an open file whose name was removed",
        unlinked_fchown
    )
    .source("POSIX fchown()")
    .needed_by(&["PostgreSQL", "systemd"])
);

fn unlinked_fchown(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"x")?;
    let owner = fstat(&fd, "data")?;
    unlink("data")?;
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(owner.st_uid),
        rustix::fs::Gid::from_raw(owner.st_gid),
    );
    rustix::fs::fchown(&fd, Some(uid), Some(gid)).call("fchown", GONE)
}

submit!(
    Case::new(
        "inode.unlinked_futimens",
        "futimens works on an open file whose name was removed",
        unlinked_futimens
    )
    .source("POSIX futimens()")
    .needed_by(&["tar and cp -p on temporary files", "rsync --temp-dir"])
);

fn unlinked_futimens(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"x")?;
    let at = Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: 0,
    };
    rustix::fs::futimens(
        &fd,
        &Timestamps {
            last_access: at,
            last_modification: at,
        },
    )
    .call("futimens", GONE)?;
    expect(
        "futimens",
        "st_mtime",
        fstat(&fd, GONE)?.st_mtime,
        1_000_000_000,
    )
}

submit!(
    Case::new(
        "inode.unlinked_fsync",
        "fsync works on an open file whose name was removed",
        unlinked_fsync
    )
    .source("POSIX fsync()")
    .needed_by(&["databases that drop a table while its file is flushed"])
);

fn unlinked_fsync(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"x")?;
    rustix::fs::fsync(&fd).call("fsync", GONE)?;
    rustix::fs::fdatasync(&fd).call("fdatasync", GONE)?;
    same_bytes("fsync", GONE, &read_at(&fd, GONE, 0, 10)?, b"x")
}

submit!(
    Case::new(
        "inode.unlinked_mmap",
        "a file whose name was removed is mapped, and the mapping shows its contents",
        unlinked_mmap
    )
    .source("POSIX mmap(); kata-containers/runtime#1002 (LTP mmap1)")
    .needed_by(&[
        "ld.so while a library is replaced",
        "Wayland clients",
        "JVM (jar replaced while open)"
    ])
);

fn unlinked_mmap(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'm'; 4096])?;
    let fd = open("data", OFlags::RDONLY)?;
    unlink("data")?;
    let map = Map::new(&fd, GONE, 4096, READ, PRIVATE)?;
    same_bytes("mmap", GONE, &map.bytes(0, 4096), &[b'm'; 4096])
}

submit!(
    Case::new(
        "inode.unlinked_append",
        "what is written with O_APPEND after the name was removed goes to the end",
        unlinked_append
    )
    .source("POSIX write(): O_APPEND")
    .needed_by(&["loggers whose file was removed by logrotate"])
);

fn unlinked_append(_: &mut Ctx) -> CaseOutcome {
    write("data", b"first ")?;
    let fd = open("data", OFlags::RDWR | OFlags::APPEND)?;
    unlink("data")?;
    rustix::io::write(&fd, b"second").call("write", GONE)?;
    same_bytes("write", GONE, &read_at(&fd, GONE, 0, 100)?, b"first second")
}

submit!(
    Case::new(
        "inode.unlinked_seek_end",
        "lseek to the end of an open file without a name finds its size",
        unlinked_seek_end
    )
    .source("POSIX lseek(): SEEK_END")
    .needed_by(&["apt", "programs that size a file by fseek and ftell"])
);

fn unlinked_seek_end(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"0123456789")?;
    write_at(&fd, GONE, 10, b"ab")?;
    let end = rustix::fs::seek(&fd, SeekFrom::End(0)).call("lseek", GONE)?;
    expect("lseek", "the end", end, 12)
}

submit!(
    Case::new(
        "inode.unlinked_fsetxattr",
        "an extended attribute is set and read on an open file without a name",
        unlinked_fsetxattr
    )
    .source("fsetxattr(2)")
    .needed_by(&["tar --xattrs", "systemd (coredump metadata)"])
);

fn unlinked_fsetxattr(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"x")?;
    rustix::fs::fsetxattr(&fd, "user.k", b"value", XattrFlags::empty()).call("fsetxattr", GONE)?;
    let mut value = [0; 16];
    let n = rustix::fs::fgetxattr(&fd, "user.k", &mut value[..]).call("fgetxattr", GONE)?;
    same_bytes("fsetxattr", "user.k", &value[..n], b"value")
}

submit!(
    Case::new(
        "inode.unlinked_flock",
        "flock works on an open file whose name was removed",
        unlinked_flock
    )
    .source("flock(2)")
    .needed_by(&["lock files that are removed while held"])
);

fn unlinked_flock(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"x")?;
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).call("flock", GONE)?;
    rustix::fs::flock(&fd, FlockOperation::Unlock).call("flock", GONE)
}

submit!(
    Case::new(
        "inode.unlinked_reopen",
        "a file without a name is opened anew by /proc/self/fd",
        unlinked_reopen
    )
    .source("proc(5): /proc/PID/fd")
    .needed_by(&[
        "bash here-documents read by /dev/fd",
        "memfd-like sharing by temporary file"
    ])
);

fn unlinked_reopen(_: &mut Ctx) -> CaseOutcome {
    let fd = nameless(b"again")?;
    let again = open(&proc_fd(&fd), OFlags::RDONLY)?;
    same_bytes("open", GONE, &read_at(&again, GONE, 0, 10)?, b"again")
}

submit!(
    Case::new(
        "inode.unlinked_one_of_two",
        "removing one of two names leaves an open file's attributes at hand",
        unlinked_one_of_two
    )
    .source("POSIX unlink()")
    .needed_by(&[
        "maildir delivery (link, unlink)",
        "git (object creation by link)"
    ])
);

fn unlinked_one_of_two(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"0123456789")?;
    link("data", "kept")?;
    unlink("data")?;
    expect(
        "unlink",
        "st_nlink of the kept name",
        stat("kept")?.st_nlink,
        1,
    )?;
    expect("fstat", "st_size", fstat(&fd, GONE)?.st_size, 10)?;
    rustix::fs::ftruncate(&fd, 3).call("ftruncate", GONE)?;
    contents("ftruncate", "kept", b"012")
}

submit!(
    Case::new(
        "inode.replaced_fstat",
        "fstat of an open file over which another was renamed tells of the old file",
        replaced_fstat
    )
    .source("POSIX rename(); QEMU hw/9pfs getattr goes by path: a silent wrong answer")
    .needed_by(&[
        "tail -F",
        "log followers",
        "daemons that watch their configuration"
    ])
);

fn replaced_fstat(_: &mut Ctx) -> CaseOutcome {
    let old = create("data", b"old")?;
    let before = fstat(&old, "data")?.st_ino;
    write("new", b"much longer than the old one")?;
    rename("new", "data")?;
    let after = fstat(&old, "data, over which another file was renamed")?;
    expect("fstat", "st_size", after.st_size, 3)?;
    expect(
        "fstat",
        "whether st_ino is still the old file's",
        after.st_ino == before,
        true,
    )
}

submit!(
    Case::new(
        "inode.replaced_ftruncate",
        "ftruncate of an open file over which another was renamed leaves the other alone",
        replaced_ftruncate
    )
    .source("POSIX ftruncate(); QEMU hw/9pfs truncates by path: the new file loses its data")
    .needed_by(&["databases and editors that replace a file while others hold it"])
);

fn replaced_ftruncate(_: &mut Ctx) -> CaseOutcome {
    let old = create("data", b"old")?;
    write("new", b"precious")?;
    rename("new", "data")?;
    rustix::fs::ftruncate(&old, 0)
        .call("ftruncate", "data, over which another file was renamed")?;
    contents("ftruncate", "data", b"precious")?;
    same_bytes(
        "ftruncate",
        "the old file",
        &read_at(&old, "data", 0, 10)?,
        b"",
    )
}

submit!(
    Case::new(
        "inode.replaced_write",
        "what is written to an open file over which another was renamed stays out of the other",
        replaced_write
    )
    .source("POSIX rename()")
    .needed_by(&[
        "logrotate",
        "every program that saves by rename while a reader or writer is active"
    ])
);

fn replaced_write(_: &mut Ctx) -> CaseOutcome {
    let old = create("data", b"old")?;
    write("new", b"new")?;
    rename("new", "data")?;
    write_at(&old, "data", 0, b"late")?;
    contents("pwrite", "data", b"new")?;
    same_bytes(
        "pwrite",
        "the old file",
        &read_at(&old, "data", 0, 10)?,
        b"late",
    )
}

submit!(
    Case::new(
        "inode.recreated_name",
        "an open file whose name was given to a new file is still itself",
        recreated_name
    )
    .source("POSIX unlink()")
    .needed_by(&[
        "rotated logs",
        "PID files",
        "compilers that remove and write anew"
    ])
);

fn recreated_name(_: &mut Ctx) -> CaseOutcome {
    let old = nameless(b"old")?;
    write("data", b"a new file of that name")?;
    same_bytes(
        "pread",
        "the old file",
        &read_at(&old, GONE, 0, 100)?,
        b"old",
    )?;
    expect(
        "fstat",
        "st_size of the old file",
        fstat(&old, GONE)?.st_size,
        3,
    )
}

submit!(
    Case::new(
        "inode.renamed_fstat",
        "fstat, ftruncate and fchmod work on an open file that was renamed",
        renamed_fstat
    )
    .source("POSIX rename(); microsoft/WSL#8443, chaos/diod#19")
    .needed_by(&[
        "MariaDB (tables renamed while open)",
        "dpkg",
        "mv while writing"
    ])
);

fn renamed_fstat(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"0123456789")?;
    rename("data", "moved")?;
    let name = "moved, opened as data";
    expect("fstat", "st_size", fstat(&fd, name)?.st_size, 10)?;
    rustix::fs::ftruncate(&fd, 4).call("ftruncate", name)?;
    rustix::fs::fchmod(&fd, mode(0o600)).call("fchmod", name)?;
    contents("ftruncate", "moved", b"0123")?;
    expect(
        "fchmod",
        "the mode",
        permissions(&stat("moved")?),
        "0600".into(),
    )
}

submit!(
    Case::new(
        "inode.parent_renamed",
        "an open file works on after the directory above it was renamed",
        parent_renamed
    )
    .source("POSIX rename(); chaos/diod t0006")
    .needed_by(&[
        "MySQL (database directories)",
        "build systems that move output trees"
    ])
);

fn parent_renamed(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    mkdir("dir/sub")?;
    let fd = create("dir/sub/data", b"0123456789")?;
    let sub = open("dir/sub", OFlags::RDONLY | OFlags::DIRECTORY)?;
    rename("dir", "moved")?;
    let name = "moved/sub/data, opened as dir/sub/data";
    expect("fstat", "st_size", fstat(&fd, name)?.st_size, 10)?;
    rustix::fs::ftruncate(&fd, 4).call("ftruncate", name)?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&sub, "fresh", flags, mode(0o644))
        .call("openat", "a directory opened before the rename, fresh")?;
    contents("ftruncate", "moved/sub/data", b"0123")?;
    holds("openat", "moved/sub", &["data", "fresh"])
}

submit!(
    Case::new(
        "inode.removed_directory",
        "an open directory that was removed is empty, can be asked, and takes no new entry",
        removed_directory
    )
    .source("POSIX rmdir(): the directory stays while it is open; freenas/lib9p#18")
    .needed_by(&["rm -r", "find -delete", "shells in a removed directory"])
);

fn removed_directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    let dir = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    rustix::fs::rmdir("dir").call("rmdir", "dir")?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&dir, "fresh", flags, mode(0o644)).refused(
        "openat",
        "a removed directory, fresh, O_CREAT",
        Errno::ENOENT,
    )?;
    fstat(&dir, "dir, which was removed").map(drop)
}

submit!(
    Case::new(
        "inode.removed_cwd",
        "a process whose working directory was removed gets ENOENT from getcwd and goes on",
        removed_cwd
    )
    .source("getcwd(3): ENOENT")
    .needed_by(&[
        "shells",
        "build tools that clean their own directory",
        "git"
    ])
);

fn removed_cwd(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    rustix::process::chdir("dir").call("chdir", "dir")?;
    rustix::fs::rmdir("../dir").call("rmdir", "../dir")?;
    rustix::process::getcwd(Vec::new()).refused("getcwd", "", Errno::ENOENT)?;
    rustix::fs::mkdir("inner", mode(0o755)).refused(
        "mkdir",
        "inner, in a removed directory",
        Errno::ENOENT,
    )?;
    rustix::process::chdir("..").call("chdir", "..")?;
    expect("rmdir", "the presence of dir", exists("dir")?, false)
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
