//! Files that are open and have no name any more: on a server that goes by path, what concerns their
//! attributes fails.

use rustix::fs::FlockOperation;
use rustix::fs::SeekFrom;
use rustix::fs::XattrFlags;

use super::*;

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
    rustix::fs::futimens(&fd, &both_times(1_000_000_000)).call("futimens", GONE)?;
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
