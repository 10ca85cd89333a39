//! A FUSE mount that every process of the user sees, unlike the worlds' private ones.
//!
//! Nothing in the kernel removes such a mount with the processes behind it, so they watch each other: the
//! owner of the mount unmounts when server or daemon is gone, and a third process ([`watch`]) unmounts when
//! the owner is; the server ends when its life line closes, the daemon when it is unmounted.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::{fcntl::OFlag, unistd::pipe2};
use serde::{Deserialize, Serialize};

use super::{
    StackError, VolumeOptions,
    fuse::{
        MountBy,
        helper::{FuseConfig, Word},
    },
    mounts,
    process::Helper,
    server::{Server, Site},
};
use crate::session::Counters;

/// How long daemon and server may take to end when asked.
const FAREWELL: Duration = Duration::from_secs(5);

/// A directory, served by our server and mounted elsewhere.
#[derive(Debug)]
pub struct VisibleMount {
    mountpoint: PathBuf,
    minor: u32,
    by: MountBy,
    why_page_cache: Option<String>,
    daemon: Helper,
    server: Helper,
    /// The server ends when this closes.
    life: Option<Arc<OwnedFd>>,
    /// The watcher unmounts when this closes; declared last, so that there is nothing left for it to do.
    _watched: OwnedFd,
}

impl VisibleMount {
    /// Serves `dir` and mounts it at `mountpoint`.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] with what is in the way.
    pub fn new(
        dir: &Path,
        mountpoint: &Path,
        options: &VolumeOptions,
    ) -> Result<VisibleMount, StackError> {
        let (dir, mountpoint) = check(dir, mountpoint)?;
        let by = if rustix::process::geteuid().is_root() {
            MountBy::Syscall
        } else {
            MountBy::Fusermount
        };
        let failed = |error: io::Error| {
            StackError::Unavailable(format!("{} cannot be mounted: {error}", dir.display()))
        };
        let counters = Counters::new().map_err(failed)?;
        let started = Server::Own.start(&Site {
            export: &dir,
            options,
            run_as: options.run_as,
            scratch: Path::new("/"),
            counters: &counters,
        })?;
        let (client_end, (mut server, life)) = (started.connection, started.served);
        let (ready, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(|error| failed(error.into()))?;
        let config = FuseConfig {
            calls: None,
            socket: client_end.as_raw_fd(),
            ready: theirs.as_raw_fd(),
            mountpoint: mountpoint.clone(),
            aname: Server::Own.aname(&dir),
            series: options.series,
            cache: options.cache,
            msize: options.msize,
            read_only: options.read_only,
            by,
            // What others may see of it is the system's to allow (user_allow_other).
            owner_only: by == MountBy::Fusermount,
            shares_memory: true,
        };
        let keep = [client_end.as_fd(), theirs.as_fd()];
        let daemon = Helper::start("the FUSE daemon", "@fuse", &config, &keep).map_err(failed)?;
        drop((client_end, theirs));
        let why_page_cache = match word(ready) {
            Word::Mounted { why_page_cache, .. } => why_page_cache,
            Word::Failed { error } => {
                let died = server.wait(Duration::from_millis(100)) && !server.succeeded();
                let why = if died { server.obituary() } else { error };
                return Err(StackError::Unavailable(why));
            }
        };
        let minor = mounts::at(&mountpoint).map_or(0, |mount| mount.minor);
        let watched = watch_over(&mountpoint, minor, by).map_err(failed)?;
        Ok(VisibleMount {
            mountpoint,
            minor,
            by,
            why_page_cache,
            daemon,
            server,
            life: Some(life),
            _watched: watched,
        })
    }

    /// Each is readable when its process ended, without which the mount is of no use.
    pub fn ended(&self) -> [&OwnedFd; 2] {
        [self.daemon.pidfd(), self.server.pidfd()]
    }

    /// Why files that are open for reading alone are read through the kernel's page cache here, where v9fs with the same
    /// cache mode asks the server each time.
    pub fn why_page_cache(&self) -> Option<&str> {
        self.why_page_cache.as_deref()
    }

    /// How the volume ended, unless somebody unmounted it.
    pub fn obituary(&mut self) -> Option<String> {
        // Where a server dies the daemon ends too, and in good order: it may be first to be seen.
        if self.server.wait(Duration::ZERO)
            && !(self.server.succeeded() && self.daemon.wait(Duration::ZERO))
        {
            return Some(self.server.obituary());
        }
        let _ = self.daemon.wait(FAREWELL);
        (!self.daemon.succeeded()).then(|| self.daemon.obituary())
    }
}

impl Drop for VisibleMount {
    fn drop(&mut self) {
        self.daemon.terminate();
        let _ = self.daemon.finish(FAREWELL);
        unmount(&self.mountpoint, self.minor, self.by);
        self.life.take();
        let _ = self.server.finish(FAREWELL);
    }
}

/// Both directories, absolute and fit for each other.
fn check(dir: &Path, mountpoint: &Path) -> Result<(PathBuf, PathBuf), StackError> {
    let unfit =
        |path: &Path, why: &str| StackError::Unavailable(format!("{} {why}", path.display()));
    let real = |path: &Path| match path.canonicalize() {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Err(unfit(
            path,
            "is the mount point of a volume that died; unmount it with `fusermount3 -u` or `umount -l`",
        )),
        Err(error) => Err(unfit(
            path,
            &format!("cannot be used ({error}); make it first"),
        )),
        Ok(real) if !real.is_dir() => Err(unfit(path, "is not a directory; name one that is")),
        Ok(real) => Ok(real),
    };
    let (dir, mountpoint) = (real(dir)?, real(mountpoint)?);
    if mountpoint.starts_with(&dir) || dir.starts_with(&mountpoint) {
        // The server would wait for its own client.
        return Err(unfit(
            &mountpoint,
            &format!(
                "and {} lie in each other; mount it elsewhere",
                dir.display()
            ),
        ));
    }
    Ok((dir, mountpoint))
}

/// Waits for the daemon's one line.
fn word(ready: OwnedFd) -> Word {
    let mut line = String::new();
    let read = BufReader::new(File::from(ready)).read_line(&mut line);
    let word = read.ok().and_then(|_| serde_json::from_str(&line).ok());
    word.unwrap_or_else(|| Word::Failed {
        error: "the FUSE daemon ended before the volume was mounted".into(),
    })
}

/// Unmounts what was mounted at a place, and only that.
fn unmount(mountpoint: &Path, minor: u32, by: MountBy) {
    if !mounts::at(mountpoint)
        .is_some_and(|mount| mount.minor == minor && mount.fs_type.starts_with("fuse"))
    {
        return;
    }
    // Whoever else unmounted it meanwhile did what was wanted.
    match by {
        MountBy::Syscall => {
            let _ = nix::mount::umount2(mountpoint, nix::mount::MntFlags::MNT_DETACH);
        }
        MountBy::Fusermount => {
            let _ = Command::new("fusermount3")
                .args(["-u", "-q", "-z", "--"])
                .arg(mountpoint)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// What a watcher is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct WatchConfig {
    /// Inherited descriptor of a pipe, whose other end closes with the owner of the mount.
    owner: RawFd,
    mountpoint: PathBuf,
    minor: u32,
    by: MountBy,
}

/// Starts a watcher; it unmounts when the descriptor that comes back is closed, by whatever.
fn watch_over(mountpoint: &Path, minor: u32, by: MountBy) -> io::Result<OwnedFd> {
    let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
    let config = WatchConfig {
        owner: theirs.as_raw_fd(),
        mountpoint: mountpoint.to_owned(),
        minor,
        by,
    };
    // It outlives its handle, which is the point of it.
    Helper::start(
        "the mount's watcher",
        "@unmount",
        &config,
        &[theirs.as_fd()],
    )?;
    Ok(ours)
}

/// The watcher: waits for the owner's end, then unmounts.
pub fn watch(config: WatchConfig) -> ExitCode {
    // SAFETY: the descriptor was inherited for this process, which has one thread and uses it here alone.
    let mut owner = File::from(unsafe { OwnedFd::from_raw_fd(config.owner) });
    let _ = owner.read(&mut [0]);
    unmount(&config.mountpoint, config.minor, config.by);
    ExitCode::SUCCESS
}
