//! How a process that keeps others sees to it that nothing is left of them, whichever of them is killed.
//!
//! Root has a pid namespace for that. An ordinary user would have to become another user namespace's root
//! for one, and then sees other owners than there are; two processes that watch each other do instead.

use std::{os::fd::OwnedFd, time::Duration};

use nix::{
    poll::poll,
    sys::{
        prctl,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};
use serde::{Deserialize, Serialize};

use super::{
    agent::descendants,
    namespaces::{self, Namespaces},
};

/// One of the two ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// The first process of a pid namespace.
    Namespaces(Namespaces),
    /// A second process, which kills all that is left when the first one is killed.
    Twin,
}

impl Guard {
    /// The one that the user of this process can have.
    pub fn for_this_user() -> Guard {
        if nix::unistd::geteuid().is_root() {
            Guard::Namespaces(Namespaces {
                user: None,
                pid: true,
            })
        } else {
            Guard::Twin
        }
    }
}

/// Puts this process under guard; the one that goes on may be another. The process must have one thread.
/// A descriptor that comes back is readable when the guard died, which must be the end of this process too.
///
/// # Errors
/// A sentence.
pub fn enter(guard: &Guard) -> Result<Option<OwnedFd>, String> {
    match guard {
        Guard::Namespaces(wanted) => namespaces::enter(wanted).map(|()| None),
        Guard::Twin => twin()
            .map(Some)
            .map_err(|err| format!("no guard process can be started: {err}")),
    }
}

fn twin() -> std::io::Result<OwnedFd> {
    prctl::set_child_subreaper(true)?;
    let guard = rustix::process::pidfd_open(
        rustix::process::getpid(),
        rustix::process::PidfdFlags::empty(),
    )?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => Ok(guard),
        ForkResult::Parent { child } => watch(child),
    }
}

fn watch(child: Pid) -> ! {
    // SAFETY: this process uses no descriptor from here on.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    let code = loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => break code,
            Ok(WaitStatus::Signaled(_, signal, _)) => break 128 + signal as i32,
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => break 1,
        }
    };
    descendants::kill_all(
        Duration::from_secs(5),
        |_, _| {},
        || {
            let _ = poll(&mut [], 5u8);
        },
    );
    // SAFETY: ends this process at once; what was copied to the child was the child's to clean up.
    unsafe { libc::_exit(code) }
}
