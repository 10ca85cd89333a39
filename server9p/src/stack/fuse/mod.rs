//! A FUSE mount of a 9P server that behaves as Linux's v9fs does.
//!
//! Programs see what they would see on a guest's v9fs mount with the same options: every call becomes the 9P
//! messages that v9fs would send (`fs/9p` of Linux 5.10, or of 6.1), and gets the errno that v9fs would give.
//! Only /dev/fuse is needed, so it is the mount that works everywhere.
//!
//! [`Volume`](volume::Volume) is v9fs's state: the dentries ([`node`]) and their fids ([`fids`]), one a user, and the open files.
//! [`filesystem`] receives the kernel's requests; what each does is in [`meta`], [`create`], [`file`],
//! [`dir`], [`xattr`] and [`lock`]. [`mount`] gets a /dev/fuse descriptor and mounts it; [`helper`] is the
//! `@fuse` process.
//!
//! For the processes of a volume's world, [`calls`] answers what FUSE's side of the kernel would decide by itself, and
//! [`watched`] lets watches go as v9fs does. On a mount that everybody uses, [`mappings`] has the kernel refuse the shared
//! mappings that v9fs refuses.
//!
//! # Where FUSE cannot follow v9fs
//!
//! - `statfs` gives FUSE's `f_type` and no `f_fsid`; on v9fs both are the server's.
//! - `st_blksize` is rounded down to a power of two (507904 becomes 262144).
//! - A file that the host replaces while the guest has it open is seen anew by the next path lookup; v9fs
//!   goes on with the old dentry.
//! - Where nobody answers for shared mappings ([`calls`], [`mappings`]), or the kernel is older than 6.6, reads of files opened
//!   read-only go through the page cache, which is checked against the server's size and mtime at each read and
//!   dropped when they changed; v9fs asks the server for the data each time.
//! - An asynchronous write with O_DIRECT that fits in part fails; v9fs tells how much was written.
//! - `fstat` of a directory, and the permissions of one on the way to a file, may be a kernel tick behind what the
//!   host does.
//! - An entry whose type the server does not tell in Rreaddir is listed by its qid's type.
//! - Attributes and permissions are one question of the kernel's. Where the server has no answer any more (a removed
//!   working directory), the caller's system call tells which it is (`meta`); a path that leads through such a
//!   directory in a call of the kind of `stat` fails, where v9fs uses its inode's permissions.

mod calls;
mod convert;
mod create;
mod dir;
mod fids;
mod file;
mod filesystem;
pub mod helper;
mod invalidate;
mod lock;
mod mappings;
mod meta;
mod mount;
mod node;
mod readahead;
mod volume;
mod watched;
mod xattr;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use fuser::{Config, Session, SessionACL};
use serde::{Deserialize, Serialize};

pub use calls::{can_supervise, supervise_this_process};

use super::{Cache, Series};
use crate::client::{Client, ClientError, DEFAULT_MSIZE};
use volume::{LARGEST_REQUEST, Volume};

/// Who mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountBy {
    /// This process, by mount(2): it must be root, or root of its user namespace.
    #[default]
    Syscall,
    /// The setuid program fusermount3, for ordinary users. Such a mount is nosuid and nodev.
    Fusermount,
}

/// How to mount.
#[derive(Debug, Clone)]
pub struct FuseOptions {
    /// Whose v9fs to behave as.
    pub series: Series,
    /// What is cached.
    pub cache: Cache,
    /// Threads that serve the kernel's requests, at least 2.
    pub threads: usize,
    /// Whether nothing may be changed (`ro`).
    pub read_only: bool,
    /// Largest 9P message to ask for, in bytes.
    pub msize: u32,
    /// The tree to attach to; empty for the server's only or first one.
    pub aname: String,
    /// Who mounts.
    pub by: MountBy,
    /// Whether users other than the one who mounts may use the mount. With fusermount3 this takes
    /// `user_allow_other` in /etc/fuse.conf.
    pub allow_other: bool,
    /// Whether the server is ours, and is offered memory to share for large reads and writes.
    pub shares_memory: bool,
    /// Whether whoever uses the mount will be under supervision ([`supervise_this_process`]), so that shared mappings
    /// are refused there and the kernel may be asked to allow them all.
    pub supervised: bool,
}

impl FuseOptions {
    /// The mount options of v9fs that the mount stands for.
    pub fn as_v9fs(&self, msize: u32) -> String {
        let access = if self.read_only { "ro" } else { "rw" };
        format!(
            "{access},version=9p2000.L,msize={msize},cache={},access=client",
            self.cache
        )
    }
}

impl Default for FuseOptions {
    fn default() -> FuseOptions {
        FuseOptions {
            series: Series::Linux5_10,
            cache: Cache::None,
            threads: 8,
            read_only: false,
            msize: DEFAULT_MSIZE,
            aname: String::new(),
            by: MountBy::Syscall,
            allow_other: true,
            shares_memory: true,
            supervised: false,
        }
    }
}

/// Why a volume could not be mounted, or went away.
#[derive(Debug, thiserror::Error)]
pub enum FuseError {
    /// The server did not answer as it should.
    #[error("the 9P session could not be set up: {0}")]
    Session(#[from] ClientError),
    /// There is no /dev/fuse.
    #[error(
        "/dev/fuse does not exist; load it (modprobe fuse), or give it to the container (--device /dev/fuse)"
    )]
    NoDevice,
    /// /dev/fuse may not be opened.
    #[error(
        "/dev/fuse may not be opened ({0}); run as root, or allow it (chmod 666 /dev/fuse), or in a container add --device /dev/fuse"
    )]
    DeviceForbidden(std::io::Error),
    /// The mount point is not usable.
    #[error("{path} cannot be a mount point ({why}); name an existing directory", path = .0.display(), why = .1)]
    MountPoint(PathBuf, String),
    /// mount(2) refused.
    #[error("mounting FUSE on {path} was refused ({why}); it takes root, a user namespace of one's own, or fusermount3 (Debian package fuse3)", path = .0.display(), why = .1)]
    Mount(PathBuf, std::io::Error),
    /// fusermount3 is not installed.
    #[error("fusermount3 was not found; an ordinary user mounts FUSE by it (Debian package fuse3)")]
    NoFusermount,
    /// fusermount3 refused.
    #[error("fusermount3 would not mount on {path}: {why}", path = .0.display(), why = .1)]
    Fusermount(PathBuf, String),
    /// The options cannot be had.
    #[error("cache={0} is not known to the v9fs of Linux {1}; take none, mmap, loose or fscache")]
    UnknownCache(Cache, Series),
    /// A fault of whoever started the daemon.
    #[error(
        "descriptor {0} was not inherited by the FUSE daemon; this is a fault of the program that started it"
    )]
    NotInherited(i32),
    /// The kernel's side of the mount failed.
    #[error("the FUSE session failed: {0}")]
    Fuse(std::io::Error),
}

/// A volume that is mounted and not yet served: programs that use it wait until [`FuseMount::serve`] runs.
#[derive(Debug)]
pub struct FuseMount {
    session: Session<filesystem::V9fs>,
    volume: Arc<Volume>,
    mountpoint: PathBuf,
    by: MountBy,
}

/// Mounts the 9P server at the other end of `stream` on `mountpoint`.
///
/// `stream` is a connected unix or TCP socket. The process that calls this must not be the one that uses the
/// mount.
pub fn mount(
    stream: OwnedFd,
    mountpoint: &Path,
    options: &FuseOptions,
) -> Result<FuseMount, FuseError> {
    if options.cache == Cache::Readahead {
        return Err(FuseError::UnknownCache(options.cache, options.series));
    }
    let mountpoint = mount::check_mountpoint(mountpoint)?;
    let mut client = Client::connect(stream, options.msize)?;
    if options.shares_memory {
        client.share_memory(LARGEST_REQUEST as usize)?;
    }
    let volume = Arc::new(Volume::attach(client, &mountpoint, options)?);
    let device = mount::mount(&mountpoint, options, LARGEST_REQUEST)?;
    let acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(options.threads.max(2));
    config.clone_fd = true;
    let session = Session::from_fd(
        filesystem::V9fs::new(Arc::clone(&volume)),
        device,
        acl,
        config,
    )
    .map_err(FuseError::Fuse)?;
    volume.start_invalidator(session.notifier());
    Ok(FuseMount {
        session,
        volume,
        mountpoint,
        by: options.by,
    })
}

impl FuseMount {
    /// The 9P session below.
    pub fn client(&self) -> &Client {
        self.volume.client()
    }

    /// Why files that are open for reading alone are read through the kernel's page cache, where v9fs with the same cache mode
    /// asks the server each time.
    pub fn why_page_cache(&self) -> Option<&str> {
        let agreed = self.volume.direct_mmap.get();
        let why = agreed.and_then(|agreed| agreed.as_ref().err());
        why.filter(|_| self.volume.cache == Cache::None)
            .map(String::as_str)
    }

    /// Answers, until this process ends, the calls of which FUSE gives it no say, of the process that puts itself
    /// under supervision by the other end of `from` ([`supervise_this_process`]).
    ///
    /// # Errors
    /// The system's, when it has no thread left.
    pub fn answer_calls(&self, from: OwnedFd) -> std::io::Result<()> {
        calls::start(Arc::clone(&self.volume), from)
    }

    /// What ends the mount from another thread.
    pub fn unmounter(&self) -> Unmounter {
        Unmounter {
            mountpoint: self.mountpoint.clone(),
            by: self.by,
        }
    }

    /// Serves until the mount is unmounted, or aborted.
    pub fn serve(self) -> Result<(), FuseError> {
        self.session.run().map_err(FuseError::Fuse)
    }

    /// Serves in threads of this process; the mount ends when the returned guard is dropped.
    pub fn spawn(self) -> Result<ServedMount, FuseError> {
        let unmounter = self.unmounter();
        let FuseMount {
            session,
            volume,
            mountpoint,
            ..
        } = self;
        let thread = std::thread::Builder::new()
            .name("fuse".into())
            .spawn(move || session.run())
            .map_err(FuseError::Fuse)?;
        Ok(ServedMount {
            volume,
            mountpoint,
            unmounter,
            thread: Some(thread),
        })
    }
}

/// Ends a mount.
#[derive(Debug, Clone)]
pub struct Unmounter {
    mountpoint: PathBuf,
    by: MountBy,
}

impl Unmounter {
    /// Unmounts unless something uses the mount; says whether it did.
    pub fn unmount_idle(&self) -> bool {
        mount::unmount_idle(&self.mountpoint, self.by)
    }

    /// Unmounts, even when programs still have files open there; what they do with them then ends with errors
    /// once they are served no more.
    pub fn unmount(&self) {
        mount::unmount(&self.mountpoint, self.by);
    }
}

/// A mount that this process serves. Dropping it unmounts.
#[derive(Debug)]
pub struct ServedMount {
    volume: Arc<Volume>,
    mountpoint: PathBuf,
    unmounter: Unmounter,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl ServedMount {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// The 9P session below.
    pub fn client(&self) -> &Client {
        self.volume.client()
    }
}

impl ServedMount {
    /// Unmounts, and waits for what is under way.
    pub fn unmount(&mut self) {
        self.unmounter.unmount();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for ServedMount {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.unmount();
        }
    }
}
