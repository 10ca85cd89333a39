//! The process that a peer's server lives under: `@peer`.
//!
//! A peer knows nothing of our life lines. This process starts it, as an ordinary user where it is root's, and
//! ends it when the life line closes; and it ends with this process. A peer that serves on when its connection ends, for
//! whoever connects next, is ended then: nobody will.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{
            ffi::OsStringExt,
            fs::{PermissionsExt as _, chown},
            net::UnixStream,
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::{Door, Site, Started};
use crate::stack::{
    live::Served,
    process::{Helper, describe, die_with_this, inherit, receive_fd, send_fd},
};

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait before looking again whether it listens: it does not say so.
const PAUSE: Duration = Duration::from_millis(5);

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
    let (theirs, life) = UnixStream::pair()?;
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
    Ok((keeper, Arc::new(life.into())))
}

/// Tells the keeper at the other end of a life line which connection the peer serves: the client's end of it.
///
/// # Errors
/// The system's.
fn serves(life: &OwnedFd, connection: &UnixStream) -> io::Result<()> {
    send_fd(life, connection.as_fd())
}

/// A directory of the run for a peer's socket, which nobody but its user reaches.
///
/// # Errors
/// The system's.
pub fn directory(site: &Site, name: &str, run_as: Option<(u32, u32)>) -> io::Result<PathBuf> {
    let directory = site.scratch.join(name);
    // What an earlier one, that was killed, has left there is in its way.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
    if let Some((uid, gid)) = run_as {
        chown(&directory, Some(uid), Some(gid))?;
    }
    Ok(directory)
}

/// Connects the first client of a peer that is about to listen at `socket`.
///
/// # Errors
/// How it ended, or what the system says of its socket.
pub fn connect((mut keeper, life): Served, socket: PathBuf) -> io::Result<Started> {
    let began = Instant::now();
    loop {
        match UnixStream::connect(&socket) {
            Ok(connection) => {
                serves(&life, &connection)?;
                return Ok(Started {
                    connection,
                    served: (keeper, life),
                    door: Door::Socket(socket),
                });
            }
            Err(_) if !keeper.wait(PAUSE) && began.elapsed() < PATIENCE => {}
            Err(err) => {
                let ended = keeper.wait(Duration::ZERO);
                drop(life);
                return Err(io::Error::other(match ended {
                    true => keeper.obituary(),
                    false => format!("it does not listen at {}: {err}", socket.display()),
                }));
            }
        }
    }
}

/// Is the keeper process.
pub fn main(config: PeerConfig) -> ExitCode {
    match keep(config) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(why)) => {
            eprintln!("it {why}");
            ExitCode::FAILURE
        }
        Err(err) => {
            eprintln!("it cannot be started: {err}");
            ExitCode::FAILURE
        }
    }
}

/// Why the peer is no use any more, if that came before the end of its life line.
fn keep(config: PeerConfig) -> io::Result<Option<String>> {
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
    die_with_this(&mut command, config.run_as);
    let mut child = command.spawn()?;
    let pid = rustix::process::Pid::from_child(&child);
    let ended = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let mut connection: Option<OwnedFd> = None;
    loop {
        let mut fds = [&ended, &life]
            .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
            .to_vec();
        // No events are asked for, so that only its end wakes: what comes is the client's to read.
        let watched = connection.as_ref();
        fds.extend(watched.map(|fd| PollFd::new(fd.as_fd(), PollFlags::empty())));
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        let woke: Vec<bool> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
        if woke[0] {
            return child.wait().map(|status| Some(describe(status)));
        }
        if woke[1]
            && let Some(told) = receive_fd(&life)
        {
            connection = Some(told);
            continue;
        }
        child.kill()?;
        child.wait()?;
        return Ok((!woke[1]).then(|| "lost its connection to the client".into()));
    }
}
