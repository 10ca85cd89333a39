//! The ways to a FUSE mount, and which of them this user and machine have.

use std::path::Path;

use nix::unistd::geteuid;
use rustix::{
    fs::{Access, access},
    io::Errno,
};

use crate::stack::{
    StackError,
    fuse::MountBy,
    namespaces::{NO_PROC, NO_USERS, Namespaces},
};

/// A way to a FUSE mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// mount(2) in namespaces of the agent's own.
    Namespaces(Namespaces),
    /// The setuid program fusermount3, in the host's namespaces: for users who may make none of their own.
    /// Their commands run as themselves, not as root.
    Fusermount,
}

impl Way {
    /// Those that this user can try, the best first.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when there is none: what is missing, and what brings it.
    pub fn all() -> Result<Vec<Way>, StackError> {
        let mut ways = Vec::new();
        let device = access("/dev/fuse", Access::READ_OK | Access::WRITE_OK);
        if device == Ok(()) {
            let best = Namespaces::for_this_user();
            // Containers mask parts of /proc, and the kernel then allows no other.
            let second = Namespaces {
                pid: false,
                ..best.clone()
            };
            ways.extend([best, second].map(Way::Namespaces));
        }
        // It opens the device as the user.
        let fusermount = Path::new("/usr/bin/fusermount3").exists();
        if !geteuid().is_root() && fusermount && device == Ok(()) {
            ways.push(Way::Fusermount);
        }
        match (ways.is_empty(), device) {
            (true, Err(err)) => Err(StackError::Unavailable(missing(err))),
            _ => Ok(ways),
        }
    }

    /// Whether the next way may work although this one did not, for this reason.
    pub fn gives_way(&self, why: &StackError) -> bool {
        let StackError::Unavailable(why) = why else {
            return false;
        };
        match self {
            Way::Namespaces(_) => why.starts_with(NO_PROC) || why.starts_with(NO_USERS),
            Way::Fusermount => false,
        }
    }

    /// The namespaces to enter.
    pub fn namespaces(&self) -> Option<Namespaces> {
        match self {
            Way::Namespaces(wanted) => Some(wanted.clone()),
            Way::Fusermount => None,
        }
    }

    /// Who mounts.
    pub fn by(&self) -> MountBy {
        match self {
            Way::Namespaces(_) => MountBy::Syscall,
            Way::Fusermount => MountBy::Fusermount,
        }
    }
}

fn missing(err: Errno) -> String {
    match err {
        Errno::NOENT => {
            "/dev/fuse does not exist: load it with `modprobe fuse`, or start the container with `--device \
             /dev/fuse`"
                .into()
        }
        Errno::ACCESS => format!(
            "user {} may not open /dev/fuse: run as root, or give it the mode it has on most systems with \
             `chmod 666 /dev/fuse`",
            geteuid()
        ),
        err => format!("/dev/fuse cannot be used: {err}"),
    }
}
