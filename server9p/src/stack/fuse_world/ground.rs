//! The FUSE mount as an agent makes it: in the agent's namespaces, by a daemon that is the agent's child.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    mount::{MntFlags, umount2},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::WaitStatus,
    },
    unistd::{Pid, pipe2},
};
use serde::{Deserialize, Serialize};

use crate::stack::{
    Cache, Conditions, Mounted, Series,
    agent::Ground,
    fuse::{MountBy, can_supervise, helper::Word, supervise_this_process},
    mounts, process,
};

/// How long the daemon may take to mount.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the daemon may take to unmount when asked.
const FAREWELL: Duration = Duration::from_secs(2);

/// A FUSE mount of a 9P server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FuseMount {
    /// Inherited descriptor of a stream socket that the server listens to.
    pub socket: RawFd,
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
    pub by: MountBy,
    /// Whether nobody but the user who mounts may use it.
    pub owner_only: bool,
    /// Whether the server is ours, and is offered memory to share.
    pub shares_memory: bool,
}

/// What the daemon is told: the mount, and where to say that it is made.
#[derive(Debug, Serialize, Deserialize)]
struct DaemonConfig {
    #[serde(flatten)]
    mount: FuseMount,
    /// Inherited descriptor of a pipe for one line, a [`Word`].
    ready: RawFd,
    /// Inherited descriptor of a unix socket, where the agent puts itself under the daemon's supervision.
    calls: Option<RawFd>,
}

/// Makes the mount and ends it.
#[derive(Debug)]
pub struct FuseGround {
    mount: FuseMount,
    conditions: Conditions,
    daemon: Option<Pid>,
    /// Whether this process is the one that ends the daemon.
    ending: bool,
}

impl FuseGround {
    /// The ground that this mount will be, under these conditions.
    pub fn new(mount: FuseMount, conditions: Conditions) -> FuseGround {
        FuseGround {
            mount,
            conditions,
            daemon: None,
            ending: false,
        }
    }

    /// What comes back is where it says that the volume is mounted, and where it takes over supervision, if it does.
    fn start_daemon(&mut self) -> io::Result<(OwnedFd, Option<UnixStream>)> {
        let (ready, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        let (calls, supervisor) = UnixStream::pair()?;
        let config = DaemonConfig {
            mount: self.mount.clone(),
            ready: theirs.as_raw_fd(),
            // Without privileges or on an old kernel, the few calls that it is about have FUSE's own results.
            calls: can_supervise().then(|| supervisor.as_raw_fd()),
        };
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("probe9p")
            .arg("@fuse")
            .arg(process::json(&config))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // SAFETY: the descriptor was inherited for this process, and is closed only below.
        let socket = unsafe { BorrowedFd::borrow_raw(self.mount.socket) };
        let keep = [socket, theirs.as_fd(), supervisor.as_fd()];
        process::inherit(&mut command, &keep, false);
        // SAFETY: one system call that is safe between fork and exec.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let child = command.spawn()?;
        self.daemon = Some(Pid::from_raw(child.id() as i32));
        // The daemon's end must be the end of the connection, so no other copy may be left.
        // SAFETY: as above; nothing uses the descriptor from here on.
        unsafe { libc::close(self.mount.socket) };
        Ok((ready, config.calls.map(|_| calls)))
    }

    fn last_words() -> String {
        // The log that this process shares with its daemon.
        let log = rustix::io::dup(io::stderr().as_fd()).map(File::from);
        let line = log.ok().as_ref().and_then(process::last_line);
        line.map_or(String::new(), |line| format!("; its last words: {line}"))
    }
}

impl Ground for FuseGround {
    fn up(&mut self) -> Result<Mounted, String> {
        let (ready, calls) = self
            .start_daemon()
            .map_err(|err| format!("the FUSE daemon cannot be started: {err}"))?;
        let line = read_line(ready, PATIENCE)
            .map_err(|err| format!("the FUSE daemon did not mount the volume: {err}"))?;
        match serde_json::from_str(&line) {
            Ok(Word::Mounted { options, msize, .. }) => {
                // The daemon relies on it.
                if let Some(calls) = calls {
                    supervise_this_process(calls.as_fd()).map_err(|error| {
                        format!("the volume's commands cannot be supervised: {error}")
                    })?;
                }
                Ok(Mounted {
                    client: "fuse".into(),
                    kernel: self.mount.series.name().into(),
                    options,
                    msize: Some(msize),
                    conditions: self.conditions.clone(),
                    ..Mounted::default()
                })
            }
            Ok(Word::Failed { error }) => Err(error),
            Err(_) => Err(format!(
                "the FUSE daemon ended before the volume was mounted{}",
                FuseGround::last_words()
            )),
        }
    }

    fn abort(&mut self) {
        let point = &self.mount.mountpoint;
        // The table, not the mount: looking at the mount would wait for it.
        let mount = mounts::at(point);
        if let Some(mount) = mount {
            let switch = format!("/sys/fs/fuse/connections/{}/abort", mount.minor);
            // Not mounted, or not ours, in a user namespace; then the daemon's end is what aborts.
            let _ = fs::write(switch, "1");
        }
        if let Some(daemon) = self.daemon {
            self.ending = true;
            let _ = kill(daemon, Signal::SIGKILL);
        }
    }

    fn process(&self) -> Option<Pid> {
        self.daemon
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) -> Option<String> {
        if self.daemon != Some(pid) {
            return None;
        }
        self.daemon = None;
        let how = match status {
            WaitStatus::Exited(_, code) => format!("exited with code {code}"),
            WaitStatus::Signaled(_, signal, _) => format!("was killed by {}", signal.as_str()),
            other => format!("ended ({other:?})"),
        };
        (!self.ending).then(|| {
            format!(
                "the volume is lost: its FUSE daemon (process {pid}) {how}{}",
                FuseGround::last_words()
            )
        })
    }

    fn down(&mut self) {
        self.ending = true;
        if let Some(daemon) = self.daemon {
            let _ = kill(daemon, Signal::SIGTERM);
            let pid = rustix::process::Pid::from_raw(daemon.as_raw()).expect("pids are positive");
            let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok();
            if let Some(pidfd) = pidfd {
                let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                let farewell = PollTimeout::try_from(FAREWELL).unwrap_or(PollTimeout::ZERO);
                let _ = poll(&mut fds, farewell);
            }
            let _ = kill(daemon, Signal::SIGKILL);
        }
        let point = &self.mount.mountpoint;
        if mounts::at(point).is_some() {
            unmount(point, self.mount.by);
        }
    }
}

/// Unmounts what the daemon did not.
pub(in crate::stack) fn unmount(point: &Path, by: MountBy) {
    match by {
        // Somebody else may have been faster.
        MountBy::Syscall => drop(umount2(point, MntFlags::MNT_DETACH)),
        MountBy::Fusermount => drop(
            Command::new("fusermount3")
                .args(["-u", "-q", "-z", "--"])
                .arg(point)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status(),
        ),
    }
}

/// Reads up to a newline or the end, at most for `patience`.
fn read_line(from: OwnedFd, patience: Duration) -> io::Result<String> {
    let started = Instant::now();
    let mut from = File::from(from);
    let mut line = Vec::new();
    loop {
        let left = patience.saturating_sub(started.elapsed());
        let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        if poll(&mut fds, left)? == 0 {
            return Err(io::Error::other(format!(
                "it said nothing within {} s",
                patience.as_secs()
            )));
        }
        let mut buffer = [0; 4096];
        let came = from.read(&mut buffer)?;
        line.extend_from_slice(&buffer[..came]);
        if came == 0 || line.contains(&b'\n') {
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
    }
}
