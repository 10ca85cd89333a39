//! What one side sees of the other's changes: the host works on the exported directory itself, without the
//! volume's client between. Natively both are one directory.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink as host_symlink},
    path::PathBuf,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::prelude::*;

const SOURCE: &str =
    "linux Documentation/filesystems/9p.rst: cache=none reads and asks the server each time";

/// The case's directory as the host sees it.
fn host(name: &str) -> CaseOutcome<PathBuf> {
    match std::env::var_os(super::needs::HOST_DIR) {
        Some(dir) => Ok(PathBuf::from(dir).join(name)),
        None => Err(Stop::NotRun(
            "needs the host's view of the directory".into(),
        )),
    }
}

/// The host writes a file that the volume's users may change too.
fn host_write(name: &str, bytes: &[u8]) -> CaseOutcome {
    let path = host(name)?;
    fs::write(&path, bytes).call("write", format_args!("{name}, by the host"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))
        .call("chmod", format_args!("{name}, by the host"))
}

fn host_contents(call: &str, name: &str, want: &[u8]) -> CaseOutcome {
    let got = fs::read(host(name)?).call("read", format_args!("{name}, by the host"))?;
    same_bytes(call, &format!("{name} as the host sees it"), &got, want)
}

fn host_rename(from: &str, to: &str) -> CaseOutcome {
    fs::rename(host(from)?, host(to)?).call("rename", format_args!("{from}, {to}, by the host"))
}

fn host_unlink(name: &str) -> CaseOutcome {
    fs::remove_file(host(name)?).call("unlink", format_args!("{name}, by the host"))
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
    host_write("data", b"from the host")?;
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
    host_write("flag", b"x")?;
    expect(
        "stat",
        "the presence of flag that the host made",
        exists("flag")?,
        true,
    )
}

submit!(
    Case::new(
        "coherence.host_writes",
        "bytes that the host changes are read, by an open descriptor and by a new one",
        host_writes
    )
    .source(SOURCE)
    .needed_by(&[
        "configuration reloads",
        "shared databases (which is why they must not)"
    ])
    .needs(&[Need::HostView])
);

fn host_writes(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'1'; 6000])?;
    chmod("data", 0o666)?;
    let fd = open("data", OFlags::RDONLY)?;
    same_bytes(
        "pread",
        "data",
        &read_at(&fd, "data", 0, 6000)?,
        &[b'1'; 6000],
    )?;
    host_write("data", &[b'2'; 6000])?;
    same_bytes(
        "pread",
        "data, changed by the host",
        &read_at(&fd, "data", 0, 6000)?,
        &[b'2'; 6000],
    )?;
    contents("open", "data", &[b'2'; 6000])
}

submit!(
    Case::new(
        "coherence.host_appends",
        "a file that the host makes longer shows its new size and bytes",
        host_appends
    )
    .source(SOURCE)
    .needed_by(&["tail -f", "log shippers", "followers of a transfer"])
    .needs(&[Need::HostView])
);

fn host_appends(_: &mut Ctx) -> CaseOutcome {
    write("log", b"one\n")?;
    chmod("log", 0o666)?;
    let fd = open("log", OFlags::RDONLY)?;
    same_bytes("pread", "log", &read_at(&fd, "log", 0, 100)?, b"one\n")?;
    host_write("log", b"one\ntwo\n")?;
    expect("fstat", "st_size of log", fstat(&fd, "log")?.st_size, 8)?;
    expect("stat", "st_size of log", stat("log")?.st_size, 8)?;
    same_bytes("pread", "log", &read_at(&fd, "log", 4, 100)?, b"two\n")
}

submit!(
    Case::new(
        "coherence.host_truncates",
        "a file that the host cuts shows its new size and end",
        host_truncates
    )
    .source(SOURCE)
    .needed_by(&["log rotation by the host", "transfers that start again"])
    .needs(&[Need::HostView])
);

fn host_truncates(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'x'; 9000])?;
    expect("fstat", "st_size", fstat(&fd, "data")?.st_size, 9000)?;
    nix::unistd::truncate(&host("data")?, 10).call("truncate", "data, 10, by the host")?;
    expect(
        "fstat",
        "st_size that the host set",
        fstat(&fd, "data")?.st_size,
        10,
    )?;
    same_bytes(
        "pread",
        "data",
        &read_at(&fd, "data", 0, 9000)?,
        &[b'x'; 10],
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
    host_write("tmp", b"the new one")?;
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
    host_write("tmp", b"new")?;
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
        "coherence.host_chmods",
        "a mode that the host changes is told and obeyed",
        host_chmods
    )
    .source(SOURCE)
    .needed_by(&["files that the host makes executable"])
    .needs(&[Need::HostView])
);

fn host_chmods(_: &mut Ctx) -> CaseOutcome {
    drop(create_mode("script", 0o644, b"#!/bin/sh\nexit 0\n")?);
    expect(
        "stat",
        "the mode",
        permissions(&stat("script")?),
        "0644".into(),
    )?;
    fs::set_permissions(host("script")?, fs::Permissions::from_mode(0o755))
        .call("chmod", "script, 0755, by the host")?;
    expect(
        "stat",
        "the mode that the host set",
        permissions(&stat("script")?),
        "0755".into(),
    )?;
    let status = std::process::Command::new("./script")
        .status()
        .call("execve", "./script")?;
    ensure(
        "execve",
        status.success(),
        "the script that the host made executable failed",
    )
}

submit!(
    Case::new(
        "coherence.host_touches",
        "a time that the host sets is told",
        host_touches
    )
    .source(SOURCE)
    .needed_by(&["make", "watchers that poll (tsc, nodemon --legacy-watch)"])
    .needs(&[Need::HostView])
);

fn host_touches(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    stat("data")?;
    let at = rustix::fs::Timespec {
        tv_sec: 1_234_567_890,
        tv_nsec: 0,
    };
    let times = rustix::fs::Timestamps {
        last_access: at,
        last_modification: at,
    };
    rustix::fs::utimensat(CWD, host("data")?, &times, AtFlags::empty())
        .call("utimensat", "data, by the host")?;
    expect(
        "stat",
        "st_mtime that the host set",
        stat("data")?.st_mtime,
        1_234_567_890,
    )
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
    host_symlink("v2", host("next")?).call("symlink", "v2, next, by the host")?;
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
    fs::create_dir(host("dir")?).call("mkdir", "dir, by the host")?;
    host_write("dir/inner", b"x")?;
    contents("open", "dir/inner", b"x")?;
    host_rename("dir", "moved")?;
    contents("open", "moved/inner", b"x")?;
    expect("stat", "the presence of dir", exists("dir")?, false)?;
    fs::remove_dir_all(host("moved")?).call("rmdir", "moved, by the host")?;
    holds("getdents64", ".", &[])
}

submit!(
    Case::new(
        "coherence.volume_writes",
        "what a program writes is read by the host at once, before it is closed",
        volume_writes
    )
    .source(SOURCE)
    .needed_by(&["requestors that fetch results", "the host's tail -f"])
    .needs(&[Need::HostView])
);

fn volume_writes(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"first")?;
    host_contents("pwrite", "data", b"first")?;
    write_at(&fd, "data", 5, &[b'+'; 20_000])?;
    let mut want = b"first".to_vec();
    want.resize(20_005, b'+');
    host_contents("pwrite", "data", &want)
}

submit!(
    Case::new(
        "coherence.volume_syncs",
        "what a program wrote and synced is read by the host",
        volume_syncs
    )
    .source("POSIX fsync(): the data is transferred to the storage")
    .needed_by(&[
        "requestors that fetch results after a program said so",
        "databases on the volume"
    ])
    .needs(&[Need::HostView])
);

fn volume_syncs(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b's'; 50_000])?;
    rustix::fs::fsync(&fd).call("fsync", "data")?;
    host_contents("fsync", "data", &[b's'; 50_000])
}

submit!(
    Case::new(
        "coherence.volume_closes",
        "what a program wrote and closed is read by the host",
        volume_closes
    )
    .source("close-to-open consistency, as network filesystems give it at least")
    .needed_by(&["requestors that fetch results after a program ended"])
    .needs(&[Need::HostView])
);

fn volume_closes(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'c'; 50_000])?;
    host_contents("close", "data", &[b'c'; 50_000])
}

submit!(
    Case::new(
        "coherence.volume_names",
        "names that a program makes, changes and removes do so for the host",
        volume_names
    )
    .source(SOURCE)
    .needed_by(&["requestors that wait for a result's name"])
    .needs(&[Need::HostView])
);

fn volume_names(_: &mut Ctx) -> CaseOutcome {
    let seen = |name: &str| -> CaseOutcome<bool> { Ok(fs::symlink_metadata(host(name)?).is_ok()) };
    write("tmp", b"x")?;
    mkdir("dir")?;
    symlink("tmp", "soft")?;
    for name in ["tmp", "dir", "soft"] {
        expect(
            "open",
            &format!("whether the host sees {name}"),
            seen(name)?,
            true,
        )?;
    }
    rename("tmp", "dir/final")?;
    unlink("soft")?;
    expect(
        "rename",
        "whether the host sees dir/final",
        seen("dir/final")?,
        true,
    )?;
    expect("rename", "whether the host sees tmp", seen("tmp")?, false)?;
    expect("unlink", "whether the host sees soft", seen("soft")?, false)
}

submit!(
    Case::new(
        "coherence.volume_modes",
        "modes and times that a program sets are the host's too",
        volume_modes
    )
    .source("QEMU security_model=none: modes are those of the host's files")
    .needed_by(&["requestors that fetch executables", "rsync from the host"])
    .needs(&[Need::HostView])
);

fn volume_modes(_: &mut Ctx) -> CaseOutcome {
    create_mode("data", 0o640, b"x")?;
    chmod("data", 0o751)?;
    let at = rustix::fs::Timespec {
        tv_sec: 1_111_111_111,
        tv_nsec: 0,
    };
    let times = rustix::fs::Timestamps {
        last_access: at,
        last_modification: at,
    };
    rustix::fs::utimensat(CWD, "data", &times, AtFlags::empty()).call("utimensat", "data")?;
    let seen = rustix::fs::stat(host("data")?).call("stat", "data, by the host")?;
    expect(
        "chmod",
        "the mode as the host sees it",
        permissions(&seen),
        "0751".into(),
    )?;
    expect(
        "utimensat",
        "st_mtime as the host sees it",
        seen.st_mtime,
        1_111_111_111,
    )
}

submit!(
    Case::new(
        "coherence.mapping",
        "a mapping made after the host changed a file shows the change",
        mapping
    )
    .source("linux fs/9p: pages of a mapping are cached whatever the cache mode")
    .needed_by(&[
        "ld.so after the host replaced a library in place",
        "git, Lucene"
    ])
    .needs(&[Need::HostView])
);

fn mapping(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'1'; 4096])?;
    chmod("data", 0o666)?;
    let fd = open("data", OFlags::RDONLY)?;
    let first = Map::new(&fd, "data", 4096, READ, PRIVATE)?;
    expect("mmap", "what the first mapping shows", first.byte(7), b'1')?;
    drop((first, fd));
    host_write("data", &[b'2'; 4096])?;
    let fd = open("data", OFlags::RDONLY)?;
    let second = Map::new(&fd, "data", 4096, READ, PRIVATE)?;
    expect(
        "mmap",
        "what a mapping made after the host's write shows",
        second.byte(7),
        b'2',
    )
}

submit!(
    Case::new(
        "coherence.posix_lock",
        "a POSIX lock taken by a program keeps the host's processes out",
        posix_lock
    )
    .source("QEMU hw/9pfs v9fs_lock grants every lock and takes none on the host")
    .needed_by(&[
        "SQLite, LMDB shared by guest and host",
        "apt, dpkg",
        "gradle"
    ])
    .needs(&[Need::HostView])
);

fn posix_lock(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"x")?;
    chmod("lock", 0o666)?;
    let lock = nix::libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETLK(&lock))
        .call("fcntl", "lock, F_SETLK, F_WRLCK")?;
    let path = host("lock")?;
    fork(move |_| {
        let theirs = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .call("open", "lock, by the host")?;
        let got = nix::fcntl::fcntl(&theirs, nix::fcntl::FcntlArg::F_SETLK(&lock)).map(drop);
        expect(
            "fcntl",
            "F_SETLK by a process of the host, while a program on the volume holds the lock",
            got,
            Err(Errno::EAGAIN),
        )
    })?
    .join()
}

submit!(
    Case::new(
        "coherence.flock",
        "a flock taken by a program keeps the host's processes out",
        flock
    )
    .source("v9fs sends flocks as POSIX locks; QEMU hw/9pfs v9fs_lock takes none on the host")
    .needed_by(&["cargo, git-annex, beads shared by guest and host"])
    .needs(&[Need::HostView])
);

fn flock(_: &mut Ctx) -> CaseOutcome {
    use rustix::fs::FlockOperation;
    let fd = create("lock", b"x")?;
    chmod("lock", 0o666)?;
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)
        .call("flock", "lock, LOCK_EX")?;
    let theirs = fs::File::open(host("lock")?).call("open", "lock, by the host")?;
    let got = rustix::fs::flock(&theirs, FlockOperation::NonBlockingLockExclusive)
        .map_err(|e| Errno::from_raw(e.raw_os_error()));
    expect(
        "flock",
        "LOCK_EX|LOCK_NB by the host, while a program on the volume holds the lock",
        got,
        Err(Errno::EAGAIN),
    )
}

submit!(
    Case::new(
        "coherence.inotify",
        "inotify tells a program of what the host changes",
        inotify
    )
    .source("inotify(7): not for remote changes of network filesystems; microsoft/WSL#4739")
    .needed_by(&["vite, webpack, nodemon, tsc -w", "Julia Revise", "tail -f"])
    .needs(&[Need::HostView])
);

fn inotify(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    chmod("data", 0o666)?;
    let watch =
        Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).call("inotify_init1", "")?;
    watch
        .add_watch(".", AddWatchFlags::IN_ALL_EVENTS)
        .call("inotify_add_watch", ".")?;
    host_write("data", b"changed by the host")?;
    host_write("fresh", b"made by the host")?;
    let events = match watch.read_events() {
        Ok(events) => events.len(),
        Err(Errno::EAGAIN) => 0,
        Err(error) => return Err(error).call("read", "an inotify descriptor"),
    };
    ensure(
        "inotify_add_watch",
        events > 0,
        "the host changed a file and made one, and nothing was told",
    )
}
