//! Locks across two clients of one server: natively two processes, on a volume two mounts with a connection each to the
//! same server process.

use rustix::fs::{FlockOperation, flock};

use super::*;
use crate::ops::host::{self, Act, Kind, WHOLE};

const SOURCE: &str =
    "9P2000.L Tlock; QEMU hw/9pfs v9fs_lock grants every lock and takes none on the host";

/// The case's process takes the lock, which the other client must not get; then the other has it, and the case's process
/// must not get it.
fn each_in_turn(kind: Kind, take: fn(&OwnedFd) -> Result<(), Errno>) -> CaseOutcome {
    for name in ["mine", "theirs"] {
        write(name, b"x")?;
        chmod(name, 0o666)?;
    }
    let mine = open("mine", OFlags::RDWR)?;
    let call = if kind == Kind::Flock {
        "flock"
    } else {
        "fcntl"
    };
    take(&mine).call(call, format_args!("mine, {kind:?}"))?;
    expect(
        call,
        "a lock by another client on a file that this one has locked",
        host::lock("mine", kind)?,
        Err(Errno::EAGAIN),
    )?;
    host::lock("theirs", kind)?.call(call, format_args!("theirs, {kind:?}, by another client"))?;
    let theirs = open("theirs", OFlags::RDWR)?;
    expect(
        call,
        "a lock by this client on a file that another one has locked",
        take(&theirs),
        Err(Errno::EAGAIN),
    )
}

submit!(
    Case::new(
        "lock.two_clients_posix",
        "a POSIX lock taken by one client of a volume keeps out another",
        two_clients_posix
    )
    .source(SOURCE)
    .needed_by(&[
        "SQLite shared by two machines",
        "apt, dpkg on a shared cache",
        "gradle"
    ])
    .needs(&[Need::SecondClient])
    .alone()
);

fn two_clients_posix(_: &mut Ctx) -> CaseOutcome {
    each_in_turn(Kind::Posix, |fd| host::take(fd))
}

submit!(
    Case::new(
        "lock.two_clients_flock",
        "a flock taken by one client of a volume keeps out another",
        two_clients_flock
    )
    .source(SOURCE)
    .needed_by(&[
        "cargo on a shared target directory",
        "cron jobs on two machines",
        "git-annex"
    ])
    .needs(&[Need::SecondClient])
    .alone()
);

fn two_clients_flock(_: &mut Ctx) -> CaseOutcome {
    each_in_turn(Kind::Flock, |fd| {
        flock(fd, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| Errno::from_raw(error.raw_os_error()))
    })
}

submit!(
    Case::new(
        "lock.two_clients_ofd",
        "an OFD lock taken by one client of a volume keeps out another",
        two_clients_ofd
    )
    .source(SOURCE)
    .needed_by(&[
        "QEMU images on shared storage",
        "containers/storage",
        "libvirt"
    ])
    .needs(&[Need::SecondClient])
    .alone()
);

fn two_clients_ofd(_: &mut Ctx) -> CaseOutcome {
    each_in_turn(Kind::Ofd, |fd| {
        nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_OFD_SETLK(&WHOLE)).map(drop)
    })
}

submit!(
    Case::new(
        "coherence.two_clients",
        "what one client of a volume writes, names and removes another sees at once",
        two_clients
    )
    .source(
        "linux Documentation/filesystems/9p.rst: cache=none reads and asks the server each time"
    )
    .needed_by(&[
        "work shared out over machines by files",
        "maildir on shared storage",
        "build farms"
    ])
    .needs(&[Need::SecondClient])
    .alone()
);

fn two_clients(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"first")?;
    chmod("data", 0o666)?;
    let theirs = host::act(Act::Read("data".into()))?;
    same_bytes(
        "pwrite",
        "data as another client sees it",
        &theirs,
        b"first",
    )?;
    write_at(&fd, "data", 5, b" and more")?;
    let theirs = host::act(Act::Read("data".into()))?;
    same_bytes(
        "pwrite",
        "data as another client sees it",
        &theirs,
        b"first and more",
    )?;
    host::write("data", b"THEIRS")?;
    same_bytes("pread", "data", &read_at(&fd, "data", 0, 30)?, b"THEIRS")?;
    expect("fstat", "st_size", fstat(&fd, "data")?.st_size, 6)?;
    expect("open", "the presence of new", exists("new")?, false)?;
    // A client may go on with the name of what it has open.
    drop(fd);
    host::act(Act::Rename("data".into(), "new".into()))?;
    expect("rename", "the presence of data", exists("data")?, false)?;
    contents("rename", "new", b"THEIRS")?;
    unlink("new")?;
    expect(
        "unlink",
        "what another client sees of new",
        host::stat("new")?,
        None,
    )
}
