//! Starting this program again as one of its own helpers.
//!
//! A helper is started from `/proc/self/exe`, so that it is the very program that runs, even when the file
//! was replaced since, or lies in a directory that the helper's user cannot reach. It has a session of its
//! own, so that a Ctrl-C reaches the orchestrator alone, which then brings everything down in order.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::{
            fs::FileExt,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::prctl,
};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::Serialize;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Takes another program than the one that runs for the helpers; for callers, such as tests, whose own
/// `main` does not begin with [`crate::helper::dispatch`]. Only the first call counts.
pub fn use_program(path: impl Into<PathBuf>) {
    let _ = PROGRAM.set(path.into());
}

/// The path of the program that helpers are started from, for those who cannot use `/proc/self/exe`.
///
/// # Errors
/// The system's.
pub fn program() -> io::Result<PathBuf> {
    match PROGRAM.get() {
        Some(program) => Ok(program.clone()),
        None => std::env::current_exe(),
    }
}

/// The command that starts this program again, whatever its path is for the user who is to run it.
pub fn again() -> Command {
    let program = PROGRAM
        .get()
        .map_or(Path::new("/proc/self/exe"), PathBuf::as_path);
    let mut command = Command::new(program);
    command.arg0("probe9p");
    command
}

/// The one descriptor that comes over a socket; `None` where none does.
pub fn receive_fd(from: impl AsFd) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let got = recvmsg(
        from.as_fd(),
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    );
    got.ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    })
}

/// Sends one descriptor over a socket, for [`receive_fd`].
///
/// # Errors
/// The system's.
pub fn send_fd(to: impl AsFd, fd: BorrowedFd) -> io::Result<()> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(to, &[IoSlice::new(b"f")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A helper process of ours.
#[derive(Debug)]
pub struct Helper {
    what: &'static str,
    child: Child,
    pidfd: OwnedFd,
    log: File,
}

impl Helper {
    /// Starts the helper `name` (`@agent`) with its configuration; it inherits the descriptors `keep` under
    /// their numbers. `what` names it in messages ("the 9P server").
    ///
    /// # Errors
    /// The system's.
    pub fn start(
        what: &'static str,
        name: &str,
        config: &impl Serialize,
        keep: &[BorrowedFd],
    ) -> io::Result<Helper> {
        let mut command = again();
        command.arg(name).arg(json(config));
        Helper::spawn(what, command, keep)
    }

    /// Starts another program as a helper.
    ///
    /// # Errors
    /// The system's.
    pub fn spawn(
        what: &'static str,
        mut command: Command,
        keep: &[BorrowedFd],
    ) -> io::Result<Helper> {
        // In memory, so that it leaves no file and is whole however the helper ends.
        let log = File::from(memfd_create("log", MemfdFlags::CLOEXEC)?);
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone()?);
        inherit(&mut command, keep, true);
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Helper {
            what,
            child,
            pidfd,
            log,
        })
    }

    /// What it is, for messages.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Readable when it ended.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Kills it.
    pub fn kill(&self) {
        // It may have ended already.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
    }

    /// Waits for its end, at most for `time`; says whether it ended.
    pub fn wait(&self, time: Duration) -> bool {
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(
            std::os::fd::AsFd::as_fd(&self.pidfd),
            PollFlags::POLLIN,
        )];
        poll(&mut fds, time).is_ok_and(|ready| ready > 0)
    }

    /// Waits for its end, kills it when that takes longer than `time`, and collects it.
    pub fn finish(&mut self, time: Duration) -> io::Result<ExitStatus> {
        if !self.wait(time) {
            self.kill();
        }
        self.child.wait()
    }

    /// Whether it ended, and well.
    pub fn succeeded(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(status)) if status.success())
    }

    /// A sentence's worth on how it ended, with the last line it wrote; waits for its end.
    pub fn obituary(&mut self) -> String {
        let pid = self.pid();
        let how = match self.child.wait() {
            Ok(status) => describe(status),
            Err(err) => format!("ended ({err})"),
        };
        let what = self.what;
        match last_line(&self.log) {
            Some(line) => format!("{what} (process {pid}) {how}; its last words: {line}"),
            None => format!("{what} (process {pid}) {how}"),
        }
    }

    /// What it wrote to standard error so far, at most the last 64 KiB.
    pub fn log(&self) -> String {
        tail(&self.log)
    }
}

/// How a process ended, as a predicate: "was killed by SIGKILL".
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (_, Some(signal)) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(signal) => format!("was killed by {}", signal.as_str()),
            Err(_) => format!("was killed by signal {signal}"),
        },
        _ => "ended".into(),
    }
}

/// A helper's configuration as its argument.
pub fn json(config: &impl Serialize) -> OsString {
    serde_json::to_string(config)
        .expect("a helper's configuration is plain data")
        .into()
}

/// Lets a command's process have the descriptors `keep` under their numbers, and, with `session`, a session
/// of its own.
pub fn inherit(command: &mut Command, keep: &[BorrowedFd], session: bool) {
    let keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: only system calls that are safe between fork and exec, on descriptors that the caller holds
    // open until the command was spawned.
    unsafe {
        command.pre_exec(move || {
            if session {
                libc::setsid();
            }
            for &fd in &keep {
                if libc::fcntl(fd, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// Becomes a user with one group, for good. For use between fork and exec.
///
/// # Errors
/// The system's.
fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: system calls; no groups are passed.
    let done = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(gid, gid, gid) == 0
            && libc::setresuid(uid, uid, uid) == 0
    };
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has the command run as that user, where one is named, and end with the thread that starts it.
pub fn die_with_this(command: &mut Command, run_as: Option<(u32, u32)>) {
    // SAFETY: system calls that are safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            if let Some((uid, gid)) = run_as {
                become_user(uid, gid)?;
            }
            // After the change of user, which clears it.
            Ok(prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?)
        });
    }
}

/// Where a program is: at its path, or on PATH.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// The last line that holds anything.
pub fn last_line(log: &File) -> Option<String> {
    tail(log)
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}

/// What a log holds, at most its last 64 KiB.
pub fn tail(log: &File) -> String {
    const MOST: u64 = 64 << 10;
    let length = log.metadata().map_or(0, |meta| meta.len());
    let mut bytes = vec![0; length.min(MOST) as usize];
    let at = length.saturating_sub(MOST);
    match log.read_exact_at(&mut bytes, at) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}
