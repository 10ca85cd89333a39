//! The user that the server runs as.
//!
//! The VM runtime serves as an ordinary user, and much of what programs meet on its volumes follows from that.
//! So a server that root starts becomes one, too.

use std::{io, os::unix::fs::MetadataExt, path::Path, str::FromStr};

use nix::{
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Gid, Uid, User, fork, setgroups, setresgid, setresuid},
};

/// A user and a group to run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAs {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id.
    pub gid: u32,
}

/// Why a user cannot be taken on.
#[derive(Debug, thiserror::Error)]
pub enum RunAsError {
    /// Only root may.
    #[error(
        "cannot serve as user {0}: only root can become another user; start it as root, or without --run-as"
    )]
    NotRoot(u32),
    /// The kernel refuses.
    #[error("cannot become user {0}: {1}; name another with --run-as UID:GID")]
    Refused(u32, io::Error),
    /// The directory cannot be looked at.
    #[error("cannot export {0}: {1}; name a directory that exists")]
    Directory(String, io::Error),
}

impl FromStr for RunAs {
    type Err = String;

    fn from_str(text: &str) -> Result<RunAs, String> {
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        match (uid.parse(), gid.parse()) {
            (Ok(uid), Ok(gid)) => Ok(RunAs { uid, gid }),
            _ => Err(format!(
                "{text:?} names no user; write UID or UID:GID in numbers, as 1000:1000"
            )),
        }
    }
}

impl RunAs {
    /// The user that the server must become, `None` where it is that user already.
    ///
    /// # Errors
    /// Where one was asked for that this process cannot become, or the directory does not exist.
    pub fn choose(asked: Option<RunAs>, dir: &Path) -> Result<Option<RunAs>, RunAsError> {
        let (uid, gid) = (
            nix::unistd::geteuid().as_raw(),
            nix::unistd::getegid().as_raw(),
        );
        let owner = std::fs::metadata(dir)
            .map_err(|error| RunAsError::Directory(dir.display().to_string(), error))?;
        if uid != 0 {
            return match asked {
                Some(user) if user != (RunAs { uid, gid }) => Err(RunAsError::NotRoot(user.uid)),
                _ => Ok(None),
            };
        }
        Ok(Some(asked.unwrap_or_else(|| {
            RunAs::owner_or_nobody(owner.uid(), owner.gid())
        })))
    }

    /// The owner of a directory, or nobody where that is root.
    pub fn owner_or_nobody(uid: u32, gid: u32) -> RunAs {
        if uid != 0 {
            return RunAs { uid, gid };
        }
        match User::from_name("nobody") {
            Ok(Some(user)) => RunAs {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            },
            _ => RunAs {
                uid: 65_534,
                gid: 65_534,
            },
        }
    }

    /// Makes this process run as the user, for good.
    ///
    /// # Errors
    /// Where the kernel refuses; the process is then not to go on.
    pub fn become_it(self) -> Result<(), RunAsError> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setgroups(&[gid])
            .and_then(|()| setresgid(gid, gid, gid))
            .and_then(|()| setresuid(uid, uid, uid))
            .map_err(|errno| RunAsError::Refused(self.uid, errno.into()))
    }
}

/// Splits the process: the child, to which this returns `true`, goes on to serve. The parent waits for it, passes
/// SIGINT and SIGTERM on, and returns `false` when it has ended; it exits by itself where the child failed.
pub(super) fn split() -> io::Result<bool> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let parent = nix::unistd::getpid();
    // SAFETY: the caller vouches that there are no other threads.
    let child = match unsafe { fork() }? {
        ForkResult::Child => {
            signals.thread_unblock()?;
            // Whatever ends the parent ends the server; it may have ended already.
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
            if nix::unistd::getppid() != parent {
                std::process::exit(0);
            }
            return Ok(true);
        }
        ForkResult::Parent { child } => child,
    };
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::Exited(_, 0) => return Ok(false),
                WaitStatus::Exited(_, code) => {
                    return Err(io::Error::other(format!(
                        "the serving process ended with code {code}"
                    )));
                }
                WaitStatus::Signaled(_, signal, _) => {
                    return Err(io::Error::other(format!(
                        "{signal} ended the serving process"
                    )));
                }
                _ => {}
            },
            signal => kill(child, signal)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_written_in_numbers() {
        assert_eq!(
            "1000".parse(),
            Ok(RunAs {
                uid: 1000,
                gid: 1000
            })
        );
        assert_eq!("1000:50".parse(), Ok(RunAs { uid: 1000, gid: 50 }));
        assert!("nobody".parse::<RunAs>().unwrap_err().contains("UID:GID"));
    }

    #[test]
    fn roots_own_directory_is_served_by_nobody_and_any_other_by_its_owner() {
        assert_ne!(RunAs::owner_or_nobody(0, 0).uid, 0);
        assert_eq!(RunAs::owner_or_nobody(7, 8), RunAs { uid: 7, gid: 8 });
    }
}
