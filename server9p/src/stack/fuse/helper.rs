//! The `@fuse` process: mounts, says so, and serves until the mount is gone.
//!
//! Its configuration names two inherited descriptors: the socket to the 9P server, and a pipe that gets one
//! JSON line, a [`Word`], once the volume is mounted or could not be. Programs may use the mount as soon as the line is there; they wait for the serving threads.
//! SIGTERM and SIGINT unmount.

use std::{
    fs::File,
    io::Write,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
};

use serde::{Deserialize, Serialize};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::{FuseError, FuseOptions, MountBy, mount};
use crate::stack::{Cache, Series};

/// What the daemon is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct FuseConfig {
    /// Inherited descriptor of a stream socket that the server listens to.
    pub socket: RawFd,
    /// Inherited descriptor of a pipe for one line.
    pub ready: RawFd,
    /// Inherited descriptor of a unix socket, by which those whose calls are to be answered here put themselves
    /// under supervision.
    #[serde(default)]
    pub calls: Option<RawFd>,
    /// Where to mount.
    pub mountpoint: PathBuf,
    /// The name to attach to.
    pub aname: String,
    /// Whose v9fs to behave as.
    pub series: Series,
    /// How to cache.
    pub cache: Cache,
    /// The msize to ask for, in bytes.
    pub msize: u32,
    /// Whether to mount read-only.
    pub read_only: bool,
    /// Who mounts.
    #[serde(default)]
    pub by: MountBy,
    /// Whether only the user who mounts may use the mount.
    #[serde(default)]
    pub owner_only: bool,
    /// Whether the server is ours, and is offered memory to share.
    #[serde(default)]
    pub shares_memory: bool,
}

/// What the daemon says once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word {
    /// The volume is mounted.
    Mounted {
        /// The mount options of v9fs that it stands for.
        options: String,
        /// Largest 9P message, in bytes.
        msize: u32,
        /// [`FuseMount::why_page_cache`](super::FuseMount::why_page_cache).
        why_page_cache: Option<String>,
    },
    /// It could not be.
    Failed {
        /// Why.
        error: String,
    },
}

/// Runs the daemon.
pub fn main(config: FuseConfig) -> ExitCode {
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: FuseConfig) -> Result<(), FuseError> {
    let options = FuseOptions {
        series: config.series,
        cache: config.cache,
        msize: config.msize,
        aname: config.aname,
        read_only: config.read_only,
        by: config.by,
        allow_other: !config.owner_only,
        shares_memory: config.shares_memory,
        supervised: config.calls.is_some(),
        ..FuseOptions::default()
    };
    let mut ready = File::from(inherited(config.ready)?);
    let mounted =
        inherited(config.socket).and_then(|socket| mount(socket, &config.mountpoint, &options));
    if let (Some(number), Ok(mount)) = (config.calls, &mounted) {
        let started =
            inherited(number).and_then(|from| mount.answer_calls(from).map_err(FuseError::Fuse));
        if let Err(error) = started {
            tracing::warn!(%error, "calls that FUSE decides have FUSE's results");
        }
    }
    // Before anybody knows of the mount, and may want it to end.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(FuseError::Fuse)?;
    let word = match &mounted {
        Ok(mount) => {
            let msize = mount.client().msize();
            Word::Mounted {
                options: options.as_v9fs(msize),
                msize,
                why_page_cache: mount.why_page_cache().map(str::to_owned),
            }
        }
        Err(error) => Word::Failed {
            error: error.to_string(),
        },
    };
    let mut line = serde_json::to_vec(&word).expect("words become JSON");
    line.push(b'\n');
    let told = ready.write_all(&line);
    drop(ready);
    let mounted = mounted?;
    let unmounter = mounted.unmounter();
    if told.is_err() {
        // Whoever wanted the mount is gone.
        unmounter.unmount();
        return Ok(());
    }
    let on_signal = unmounter.clone();
    thread::spawn(move || {
        if signals.forever().next().is_some() && !on_signal.unmount_idle() {
            // In use: whoever uses it gets ENOTCONN from here on.
            on_signal.unmount();
            std::process::exit(0);
        }
    });
    let connection = Arc::clone(mounted.client().connection());
    thread::spawn(move || {
        connection.wait_closed();
        let why = connection
            .lost()
            .unwrap_or_else(|| "the server closed it".into());
        eprintln!("the connection to the 9P server is lost ({why}); the volume is gone");
        unmounter.unmount();
        std::process::exit(1);
    });
    mounted.serve()
}

/// Takes over an inherited descriptor.
fn inherited(number: RawFd) -> Result<OwnedFd, FuseError> {
    // SAFETY: fcntl looks up a number and touches no memory.
    if number <= 2 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(FuseError::NotInherited(number));
    }
    // SAFETY: it is open, as just seen; this process was started to take it over and has one thread yet, so
    // that nothing else here owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    // fusermount3, which this process may start, must not get it.
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)
        .map_err(|_| FuseError::NotInherited(number))?;
    Ok(fd)
}
