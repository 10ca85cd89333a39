//! The process that a QEMU guest lives under: `@qemu`.
//!
//! It starts QEMU as an ordinary user and sees to it that it ends: with the orchestrator's end of the agent's
//! link, with the guest's power-off, or with its own.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::prctl,
};
use serde::{Deserialize, Serialize};

use crate::stack::{
    agent::descendants,
    guard::{self, Guard},
    process::{describe, die_with_this, inherit, tail},
};

/// How long a guest may take to power off when the orchestrator is gone.
const FAREWELL: Duration = Duration::from_secs(3);

/// What the keeper is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeeperConfig {
    /// How to be sure that nothing is left.
    pub guard: Guard,
    /// QEMU.
    pub program: PathBuf,
    /// Its arguments, as bytes.
    pub arguments: Vec<Vec<u8>>,
    /// User and group that it runs as, when this process is root's.
    pub run_as: Option<(u32, u32)>,
    /// Inherited descriptors that QEMU has under their numbers.
    pub keep: Vec<RawFd>,
    /// That of them whose other end is the orchestrator's.
    pub link: RawFd,
}

/// Is the keeper process.
pub fn main(config: KeeperConfig) -> ExitCode {
    match keep(&config) {
        Ok(status) => match (status.success(), panic_line()) {
            (true, None) => ExitCode::SUCCESS,
            (_, Some(line)) => {
                eprintln!("the guest's kernel panicked ({line})");
                ExitCode::FAILURE
            }
            (false, None) => {
                eprintln!("QEMU {}{}", describe(status), complaint());
                ExitCode::FAILURE
            }
        },
        Err(err) => {
            eprintln!("{err}");
            ExitCode::FAILURE
        }
    }
}

fn keep(config: &KeeperConfig) -> Result<ExitStatus, String> {
    // SAFETY: the descriptors were inherited for this process to own, and are taken only here.
    let own = |fd: &RawFd| unsafe { OwnedFd::from_raw_fd(*fd) };
    let kept: Vec<OwnedFd> = config.keep.iter().map(own).collect();
    for fd in &kept {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC).map_err(|err| err.to_string())?;
    }
    let parent = guard::enter(&config.guard)?;
    prctl::set_child_subreaper(true).map_err(|err| err.to_string())?;
    let mut child = start(config, &kept).map_err(|err| {
        format!(
            "QEMU cannot be started from {}: {err}",
            config.program.display()
        )
    })?;
    let position = config.keep.iter().position(|fd| *fd == config.link);
    let link = position.map(|at| kept[at].as_fd());
    let watched = watch(&child, link, parent.as_ref());
    let _ = child.kill();
    let status = child.wait().map_err(|err| err.to_string())?;
    descendants::kill_all(
        Duration::from_secs(3),
        |_, _| {},
        || {
            let _ = poll(&mut [], 5u8);
        },
    );
    watched.map(|()| status).map_err(|err| err.to_string())
}

fn start(config: &KeeperConfig, kept: &[OwnedFd]) -> io::Result<Child> {
    let mut command = program(&config.program);
    let arguments = config
        .arguments
        .iter()
        .map(|bytes| OsStr::from_bytes(bytes));
    command
        .args(arguments)
        .stdin(Stdio::null())
        // The console, whose last words matter when the kernel dies.
        .stdout(io::stderr().as_fd().try_clone_to_owned()?)
        .stderr(io::stderr().as_fd().try_clone_to_owned()?);
    let kept: Vec<BorrowedFd> = kept.iter().map(OwnedFd::as_fd).collect();
    inherit(&mut command, &kept, false);
    die_with_this(&mut command, config.run_as);
    command.spawn()
}

/// QEMU by its directory, which is entered before the change of user: the other may not be allowed to walk there,
/// as to root's cache. A program without a directory is looked for in PATH.
fn program(path: &Path) -> Command {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) if path.is_absolute() => {
            let mut command = Command::new(Path::new(".").join(name));
            command.current_dir(dir);
            command
        }
        _ => Command::new(path),
    }
}

/// Waits for QEMU's end; gives it some time when whoever is at the link's other end, or guards this process, is
/// gone.
fn watch(child: &Child, link: Option<BorrowedFd>, parent: Option<&OwnedFd>) -> io::Result<()> {
    let pid = rustix::process::Pid::from_child(child);
    let ended = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    loop {
        let mut fds = vec![PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        // No events are asked for, so that only its end wakes: what comes is QEMU's to read.
        fds.extend(link.map(|link| PollFd::new(link, PollFlags::empty())));
        fds.extend(parent.map(|parent| PollFd::new(parent.as_fd(), PollFlags::POLLIN)));
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        if fds[0].any() == Some(true) {
            return Ok(());
        }
        if fds[1..].iter().any(|fd| fd.any() != Some(false)) {
            // The guest sees its port's end too, and powers off.
            let mut fds = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
            let _ = poll(
                &mut fds,
                PollTimeout::try_from(FAREWELL).unwrap_or(PollTimeout::MAX),
            );
            return Ok(());
        }
    }
}

/// What this process shares with QEMU as standard error.
fn log() -> String {
    let log = rustix::io::dup(io::stderr().as_fd()).map(File::from);
    log.as_ref().map(tail).unwrap_or_default()
}

/// What the kernel said when it panicked.
fn panic_line() -> Option<String> {
    let log = log();
    let line = log.lines().find(|line| line.contains("Kernel panic"));
    line.map(|line| line.trim().to_owned())
}

/// What QEMU itself said.
fn complaint() -> String {
    let log = log();
    let said = log.lines().rfind(|line| line.contains("qemu-system"));
    said.map_or(String::new(), |line| format!(": {}", line.trim()))
}

/// QEMU's arguments as plain data.
pub fn plain(arguments: Vec<OsString>) -> Vec<Vec<u8>> {
    arguments
        .into_iter()
        .map(OsString::into_encoded_bytes)
        .collect()
}
