//! The process that a peer's server lives under: `@peer`.
//!
//! A peer knows nothing of our life lines. This process starts it, as an ordinary user where it is root's, and
//! ends it when the life line closes; and it ends with this process.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{ffi::OsStringExt, process::CommandExt},
    },
    path::Path,
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl, signal::Signal},
    unistd::pipe2,
};
use serde::{Deserialize, Serialize};

use crate::stack::{
    live::Served,
    process::{Helper, become_user, describe, inherit},
};

/// What the keeper is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct PeerConfig {
    /// Inherited descriptor of the program, open for reading: its user may not reach its path.
    program: RawFd,
    /// Its arguments, as bytes, its name first.
    arguments: Vec<Vec<u8>>,
    /// User and group that it runs as, when this process is root's.
    run_as: Option<(u32, u32)>,
    /// Inherited descriptor of the life line.
    life: RawFd,
}

/// Starts a peer's program under a keeper; `what` names it in messages.
///
/// # Errors
/// The system's.
pub fn start(
    what: &'static str,
    program: &Path,
    arguments: impl IntoIterator<Item = OsString>,
    run_as: Option<(u32, u32)>,
) -> io::Result<Served> {
    let file = File::open(program)?;
    let (theirs, life) = pipe2(OFlag::O_CLOEXEC)?;
    let name = program.file_name().unwrap_or_default().to_owned();
    let config = PeerConfig {
        program: file.as_raw_fd(),
        arguments: [name]
            .into_iter()
            .chain(arguments)
            .map(OsString::into_encoded_bytes)
            .collect(),
        run_as,
        life: theirs.as_raw_fd(),
    };
    let keeper = Helper::start(what, "@peer", &config, &[file.as_fd(), theirs.as_fd()])?;
    Ok((keeper, life))
}

/// Is the keeper process.
pub fn main(config: PeerConfig) -> ExitCode {
    match keep(config) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(status)) => {
            eprintln!("it {}", describe(status));
            ExitCode::FAILURE
        }
        Err(err) => {
            eprintln!("it cannot be started: {err}");
            ExitCode::FAILURE
        }
    }
}

/// How the peer ended, if that came before the end of its life line.
fn keep(config: PeerConfig) -> io::Result<Option<ExitStatus>> {
    // SAFETY: both descriptors were inherited for this process to own, and are taken only here.
    let [program, life] =
        [config.program, config.life].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    rustix::io::fcntl_setfd(&life, rustix::io::FdFlags::CLOEXEC)?;
    let mut arguments = config.arguments.into_iter().map(OsString::from_vec);
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command
        .arg0(arguments.next().unwrap_or_default())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    inherit(&mut command, &[program.as_fd()], false);
    let run_as = config.run_as;
    // SAFETY: system calls that are safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            if let Some((uid, gid)) = run_as {
                become_user(uid, gid)?;
            }
            // After the change of user, which clears it.
            Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
        });
    }
    let mut child = command.spawn()?;
    let pid = rustix::process::Pid::from_child(&child);
    let ended = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    loop {
        let mut fds = [&ended, &life].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        if fds[0].any() == Some(true) {
            return child.wait().map(Some);
        }
        child.kill()?;
        child.wait()?;
        return Ok(None);
    }
}
