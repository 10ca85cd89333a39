//! What fsync and its kin promise, and on which descriptors they may be called.

use super::prelude::*;

submit!(
    Case::new(
        "sync.fsync",
        "fsync and fdatasync of a file that was written succeed",
        fsync
    )
    .source("POSIX fsync(), fdatasync()")
    .needed_by(&["every database", "vim", "dpkg", "git (core.fsync)"])
);

fn fsync(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b's'; 100_000])?;
    rustix::fs::fsync(&fd).call("fsync", "data")?;
    write_at(&fd, "data", 0, b"again")?;
    rustix::fs::fdatasync(&fd).call("fdatasync", "data")?;
    same_bytes("fdatasync", "data", &read("data")?[..7], b"againss")
}

submit!(
    Case::new(
        "sync.directory",
        "fsync of a directory opened for reading succeeds",
        directory
    )
    .source("fsync(2): needed for the entry to reach the disk; facebook/rocksdb#2929, restic#3751")
    .needed_by(&[
        "MongoDB",
        "RocksDB",
        "PostgreSQL",
        "restic",
        "borg",
        "redis 7",
        "etcd"
    ])
);

fn directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/data", b"x")?;
    let fd = open("dir", OFlags::RDONLY | OFlags::DIRECTORY)?;
    rustix::fs::fsync(&fd).call("fsync", "dir")?;
    rename("dir/data", "dir/moved")?;
    rustix::fs::fdatasync(&fd).call("fdatasync", "dir")?;
    holds("fsync", "dir", &["moved"])
}

submit!(
    Case::new(
        "sync.read_only",
        "fsync of a file opened for reading succeeds",
        read_only
    )
    .source("POSIX fsync(): any valid descriptor")
    .needed_by(&[
        "PostgreSQL (initdb -S, pg_rewind)",
        "sync FILE",
        "LevelDB tools"
    ])
);

fn read_only(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let fd = open("data", OFlags::RDONLY)?;
    rustix::fs::fsync(&fd).call("fsync", "data, O_RDONLY")?;
    rustix::fs::fdatasync(&fd).call("fdatasync", "data, O_RDONLY")?;
    contents("fsync", "data", b"x")
}

submit!(
    Case::new(
        "sync.append_only",
        "fsync of a file opened for appending succeeds",
        append_only
    )
    .source("POSIX fsync()")
    .needed_by(&["redis (AOF)", "write-ahead logs", "auditd"])
);

fn append_only(_: &mut Ctx) -> CaseOutcome {
    write("log", b"a")?;
    let fd = open("log", OFlags::WRONLY | OFlags::APPEND)?;
    for _ in 0..5 {
        rustix::io::write(&fd, b"b").call("write", "log")?;
        rustix::fs::fsync(&fd).call("fsync", "log, O_WRONLY|O_APPEND")?;
    }
    contents("fsync", "log", b"abbbbb")
}

submit!(
    Case::new("sync.syncfs", "syncfs of the volume succeeds", syncfs)
        .source("syncfs(2)")
        .needed_by(&[
            "containerd",
            "dpkg --force-unsafe-io",
            "PostgreSQL (recovery_init_sync_method)"
        ])
);

fn syncfs(_: &mut Ctx) -> CaseOutcome {
    // What a client that writes back late still has of other cases' files, beyond a quota perhaps, is not this one's.
    let _ = rustix::fs::syncfs(create("before", b"")?);
    let fd = create("data", b"x")?;
    rustix::fs::syncfs(&fd).call("syncfs", "data")?;
    contents("syncfs", "data", b"x")
}

submit!(
    Case::new(
        "sync.range",
        "sync_file_range succeeds, or fails as it may where it is not supported",
        range
    )
    .source("sync_file_range(2)")
    .needed_by(&[
        "PostgreSQL (checkpoint flushing)",
        "RocksDB (bytes_per_sync)",
        "borg",
        "dpkg"
    ])
);

fn range(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'r'; 50_000])?;
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the call takes a descriptor that is open, and numbers.
    check(unsafe { libc::sync_file_range(fd.as_raw_fd(), 0, 50_000, flags) })
        .call("sync_file_range", "data")?;
    contents("sync_file_range", "data", &[b'r'; 50_000])
}

submit!(
    Case::new(
        "sync.save",
        "the whole way of saving works: write, fsync, rename over, fsync of the directory",
        save
    )
    .source("rename(2) and fsync(2), as databases and editors combine them")
    .needed_by(&["SQLite, LevelDB", "systemd", "vim, emacs", "dpkg"])
);

fn save(_: &mut Ctx) -> CaseOutcome {
    write("data", b"old")?;
    for round in 0..5u8 {
        let fd = create("data.tmp", &[b'0' + round; 5000])?;
        rustix::fs::fsync(&fd).call("fsync", "data.tmp")?;
        drop(fd);
        rename("data.tmp", "data")?;
        let dir = open(".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        rustix::fs::fsync(&dir).call("fsync", ".")?;
        contents("fsync", "data", &[b'0' + round; 5000])?;
    }
    holds("fsync", ".", &["data"])
}

submit!(
    Case::new(
        "sync.o_path_refused",
        "fsync of a descriptor opened with O_PATH gives EBADF",
        o_path_refused
    )
    .source("open(2): O_PATH")
    .needed_by(&["programs that open directories with O_PATH (message)"])
);

fn o_path_refused(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let fd = open("data", OFlags::PATH)?;
    rustix::fs::fsync(&fd).refused("fsync", "data, O_PATH", Errno::EBADF)
}
