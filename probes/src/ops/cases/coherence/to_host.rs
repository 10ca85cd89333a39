//! What the host sees of the volume, and what the two do not tell each other.

use nix::sys::inotify::AddWatchFlags;
use nix::sys::inotify::InitFlags;
use nix::sys::inotify::Inotify;

use super::*;
use crate::ops::host::Kind;

fn host_contents(call: &str, name: &str, want: &[u8]) -> CaseOutcome {
    let got = host::act(Act::Read(name.into()))?;
    same_bytes(call, &format!("{name} as the host sees it"), &got, want)
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
    let seen = |name: &str| -> CaseOutcome<bool> { Ok(host::stat(name)?.is_some()) };
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
    let listed = host::list(".")?;
    expect(
        "open",
        "what the host lists",
        listed,
        ["dir", "soft", "tmp"].map(Into::into).to_vec(),
    )?;
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
    let times = both_times(1_111_111_111);
    rustix::fs::utimensat(CWD, "data", &times, AtFlags::empty()).call("utimensat", "data")?;
    let seen = host::stat("data")?.ok_or_else(|| Stop::broken("open", "the host sees no data"))?;
    expect(
        "chmod",
        "the mode as the host sees it",
        format!("{:04o}", seen.mode & 0o7777),
        "0751".into(),
    )?;
    expect(
        "utimensat",
        "st_mtime as the host sees it",
        seen.mtime,
        1_111_111_111,
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
    host::take(&fd).call("fcntl", "lock, F_SETLK, F_WRLCK")?;
    expect(
        "fcntl",
        "F_SETLK by a process of the host, while a program on the volume holds the lock",
        host::lock("lock", Kind::Posix)?,
        Err(Errno::EAGAIN),
    )
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
    expect(
        "flock",
        "LOCK_EX|LOCK_NB by the host, while a program on the volume holds the lock",
        host::lock("lock", Kind::Flock)?,
        Err(Errno::EAGAIN),
    )
}

submit!(
    Case::new(
        "coherence.host_posix_lock",
        "a POSIX lock that the host holds keeps a program out",
        host_posix_lock
    )
    .source("QEMU hw/9pfs v9fs_lock grants every lock, and v9fs_getlock finds none")
    .needed_by(&[
        "SQLite, LMDB shared by two guests or guest and host",
        "apt, dpkg",
        "gradle"
    ])
    .needs(&[Need::HostView])
);

fn host_posix_lock(_: &mut Ctx) -> CaseOutcome {
    host::write("lock", b"x")?;
    host::lock("lock", Kind::Posix)?.call("fcntl", "lock, F_SETLK, F_WRLCK, by the host")?;
    let fd = open("lock", OFlags::RDWR)?;
    expect(
        "fcntl",
        "F_SETLK by a program on the volume, while a process of the host holds the lock",
        host::take(&fd),
        Err(Errno::EAGAIN),
    )
}

submit!(
    Case::new(
        "coherence.host_flock",
        "a flock that the host holds keeps a program out",
        host_flock
    )
    .source("v9fs sends flocks as POSIX locks, which the host's flocks do not touch (flock(2))")
    .needed_by(&["cargo, git-annex, beads shared by two guests or guest and host"])
    .needs(&[Need::HostView])
);

fn host_flock(_: &mut Ctx) -> CaseOutcome {
    use rustix::fs::FlockOperation;
    host::write("lock", b"x")?;
    host::lock("lock", Kind::Flock)?.call("flock", "lock, LOCK_EX, by the host")?;
    let fd = open("lock", OFlags::RDWR)?;
    let got = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)
        .map_err(|e| Errno::from_raw(e.raw_os_error()));
    expect(
        "flock",
        "LOCK_EX|LOCK_NB by a program on the volume, while the host holds the lock",
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
    host::write("data", b"changed by the host")?;
    host::write("fresh", b"made by the host")?;
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
