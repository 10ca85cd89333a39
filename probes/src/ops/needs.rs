//! What a case needs of the machine and of the world that it runs in, each found out by trying.
//!
//! A need is detected inside the child that runs the case, because a volume's world (a user namespace, a
//! guest) can lack what the host has.

use std::fs;

use rustix::process::{Gid, Uid, geteuid};
use serde::Serialize;

use super::{host, prepared, process};

/// The variable of the volume's child that says whether its world has the VM runtime's conditions: [`RUNTIME`], or what
/// to do, or why not.
pub const CONDITIONS: &str = "PROBE9P_CONDITIONS";
/// What it says when it has them.
pub const RUNTIME: &str = "runtime";

/// The variable of the child that says that the case runs for the second time in its directory, and that a volume was
/// mounted anew since.
pub const AGAIN: &str = "PROBE9P_AGAIN";

/// Whether this process is on a volume with the VM runtime's conditions.
pub fn under_runtime() -> bool {
    std::env::var_os(CONDITIONS).is_some_and(|said| said == RUNTIME)
}

/// The uid and gid that stand for "somebody else" in cases. Not nobody's: a server that runs as nobody may
/// give a file to itself, so that a chown to nobody says nothing.
pub const OTHER: u32 = 54321;
/// A second foreign id, for what concerns two users who are not the owner.
pub const THIRD: u32 = 54322;

/// Something without which a case says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// To run as root, be it of a user namespace.
    Root,
    /// To be able to run a process as another user.
    SecondUser,
    /// To be root of the initial user namespace (device nodes, file handles, trusted xattrs).
    HostRoot,
    /// A kernel that can do io_uring and allows it.
    IoUring,
    /// The same directory as the host sees it, without the volume's client between.
    HostView,
    /// Another client of the same volume.
    SecondClient,
    /// Loop devices.
    LoopDevice,
    /// The VM runtime's conditions around the volume.
    Runtime,
    /// The right to mount, in a mount namespace of the case's own.
    Mount,
    /// Two small file systems below the case's directory, which fill up.
    SmallFilesystems,
    /// A directory of 100,000 entries below the case's directory.
    ManyEntries,
    /// A file system with a quota below the case's directory.
    Quota,
    /// A file system with a quota of files below the case's directory.
    FileQuota,
    /// To run twice in one directory of a volume that is mounted anew meanwhile.
    Remount,
}

impl Need {
    /// Why the need is not met, or `None` when it is.
    pub fn unmet(self) -> Option<String> {
        let root = geteuid().is_root();
        match self {
            Need::Root if !root => Some("needs root: run as root".into()),
            Need::SecondUser if !root => {
                Some("needs a second user: run as root, which can become another".into())
            }
            Need::SecondUser => process::as_user(OTHER, || Ok(())).err().map(|stop| {
                format!("needs a second user, and root here cannot become uid {OTHER} ({stop}): run as the host's root")
            }),
            Need::HostRoot if !root || !initial_user_namespace() => Some(
                "needs root of the host, not of a user namespace: run as root outside of one"
                    .into(),
            ),
            Need::IoUring => io_uring_refusal(),
            Need::SecondClient => match std::env::var(host::HAND) {
                Ok(said) if said == host::HERE => None,
                Ok(why) => Some(format!("needs a second client of the volume: {why}")),
                Err(_) => {
                    Some("needs a second client of the volume: run it with `probe9p run`".into())
                }
            },
            Need::HostView => match std::env::var(host::HAND) {
                Ok(said) if said == host::HERE => None,
                Ok(why) => Some(format!("needs the host's view of the volume: {why}")),
                Err(_) => Some("needs the host's view of the volume: run it with `probe9p run`".into()),
            },
            Need::Runtime => std::env::var(CONDITIONS)
                .ok()
                .filter(|said| said != RUNTIME)
                .map(|said| format!("needs the VM runtime's conditions: {said}")),
            Need::SmallFilesystems | Need::ManyEntries | Need::Quota | Need::FileQuota => {
                match std::env::var(prepared::PREPARED) {
                    Ok(said) if said == prepared::MADE => None,
                    Ok(why) => Some(format!("needs {}: {why}", self.prepared())),
                    Err(_) => Need::HostRoot.unmet().or_else(|| Need::Mount.unmet()),
                }
            }
            Need::Remount => std::env::var(AGAIN)
                .err()
                .map(|_| "needs a volume that can be mounted anew: run it on one of probe9p's own, that a server \
                          provides".into()),
            Need::LoopDevice => fs::File::open("/dev/loop-control")
                .err()
                .map(|error| format!("needs loop devices, and /dev/loop-control says: {error}")),
            Need::Mount => process::fork(|_| {
                // Only the child leaves the mount namespace; nothing that it does is seen outside.
                let mut flags = rustix::thread::UnshareFlags::NEWNS;
                if !root {
                    flags |= rustix::thread::UnshareFlags::NEWUSER;
                }
                // SAFETY: the process has one thread, and shares no descriptor table.
                unsafe { rustix::thread::unshare_unsafe(flags) }
                    .map_err(|e| super::stop::Stop::NotRun(e.to_string()))
            })
            .and_then(process::Other::join)
            .err()
            .map(|_| "needs the right to make a mount namespace: run as root".into()),
            Need::Root | Need::HostRoot => None,
        }
    }
}

impl Need {
    fn prepared(self) -> &'static str {
        match self {
            Need::ManyEntries => "a directory of 100,000 entries in what is served",
            Need::Quota => "a file system with a quota in what is served",
            Need::FileQuota => "a file system with a quota of files in what is served",
            _ => "small file systems in what is served",
        }
    }
}

/// Whether ids are those of the host: a user namespace maps fewer than all of them.
fn initial_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

fn io_uring_refusal() -> Option<String> {
    // SAFETY: a null parameter block makes the kernel answer EFAULT before it does anything.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, std::ptr::null::<u8>()) };
    let errno = nix::errno::Errno::last();
    (result == -1 && matches!(errno, nix::errno::Errno::ENOSYS | nix::errno::Errno::EPERM))
        .then(|| format!("needs io_uring, which this kernel refuses ({errno:?})"))
}

/// Makes the calling process run as `id`, without other groups. For a forked child only.
pub(super) fn become_user(id: u32) -> Result<(), rustix::io::Errno> {
    rustix::thread::set_thread_groups(&[])?;
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}
