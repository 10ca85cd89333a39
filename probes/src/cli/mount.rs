//! `probe9p mount`: a directory, mounted as a volume that every program sees, until SIGINT or SIGTERM.

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
};

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use server9p::{
    profile::Profile,
    stack::{Cache, Series, VolumeOptions, visible::VisibleMount},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    low_level::pipe,
};

use super::{Exit, Failure, Outcome, values::RunAs};

/// Options of `probe9p mount`.
#[derive(Debug, Args)]
pub struct Mount {
    /// Whose behaviour and options the volume has: golem, qemu or posix
    #[arg(long, default_value_t = Profile::Golem)]
    profile: Profile,
    /// How the client caches: none, readahead, mmap, loose or fscache
    #[arg(long, default_value_t = Cache::None)]
    cache: Cache,
    /// The kernel whose client it behaves as: 5.10 or 6.1 [default: 5.10 under golem, else 6.1]
    #[arg(long, value_name = "SERIES")]
    kernel: Option<Series>,
    /// Whom the server runs as when root starts it [default: the owner of DIR, or nobody where that is root]
    #[arg(long, value_name = "UID[:GID]")]
    run_as: Option<RunAs>,
    /// Refuse every change with EROFS
    #[arg(long)]
    read_only: bool,
    /// Write one JSON line for every 9P message to this file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// The directory to serve
    dir: PathBuf,
    /// The empty directory to mount it at
    mountpoint: PathBuf,
}

impl Mount {
    /// Mounts, says so, and unmounts when it is told to stop.
    pub fn run(self) -> Outcome {
        let stop = signals()?;
        let options = VolumeOptions {
            cache: self.cache,
            series: self.kernel.unwrap_or(Series::of(self.profile)),
            run_as: self.server_user(),
            read_only: self.read_only,
            trace: self.trace.clone(),
            ..VolumeOptions::new(self.profile)
        };
        let mut mount = VisibleMount::new(&self.dir, &self.mountpoint, &options)?;
        let point = self.mountpoint.display();
        if let Some(why) = mount.why_page_cache() {
            eprintln!(
                "probe9p: files that are open for reading alone are read through this kernel's page cache, which no guest does \
                 with cache=none: {why}. On Linux 6.6 or later what `probe9p exec` runs reads as a guest does"
            );
        }
        eprintln!(
            "probe9p: {} is mounted at {point}; Ctrl-C unmounts it",
            self.dir.display()
        );
        if wait(&stop, mount.ended())? {
            return Ok(Exit::Completed);
        }
        match mount.obituary() {
            None => Ok(Exit::Completed),
            Some(how) => Err(Failure::NoStack(format!(
                "the volume at {point} is gone: {how}"
            ))),
        }
    }

    /// Whom the server becomes, when this is root.
    fn server_user(&self) -> Option<(u32, u32)> {
        use std::os::unix::fs::MetadataExt as _;
        if !rustix::process::geteuid().is_root() {
            return self.run_as.map(RunAs::pair);
        }
        let owner = std::fs::metadata(&self.dir)
            .ok()
            .map(|meta| (meta.uid(), meta.gid()));
        let owner = owner.filter(|(uid, _)| *uid != 0).unwrap_or((65534, 65534));
        Some(self.run_as.map_or(owner, RunAs::pair))
    }
}

/// A descriptor that becomes readable on the first signal to stop.
fn signals() -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        pipe::register(signal, theirs.try_clone()?)?;
    }
    Ok(ours.into())
}

/// Waits until a signal came or one of `ended` is readable; says whether it was the signal.
fn wait(stop: &OwnedFd, ended: [&OwnedFd; 2]) -> io::Result<bool> {
    loop {
        let mut wanted = [stop, ended[0], ended[1]]
            .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
        match poll(&mut wanted, None) {
            Ok(_) => return Ok(!wanted[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
