//! The calls of which FUSE gives a filesystem no say, answered as v9fs answers them.
//!
//! Most calls on a file reach the filesystem, or fail as the kernel's code for every filesystem has it. For a few
//! Linux's FUSE decides by itself, and otherwise than v9fs:
//!
//! - a shared mapping of a file that is open for writing: v9fs says EINVAL (`generic_file_readonly_mmap`), FUSE
//!   ENODEV;
//! - epoll of a file: v9fs has no poll operation, so it is EPERM; FUSE has one;
//! - fanotify by file identifiers: v9fs gives out none (EOPNOTSUPP), FUSE does;
//! - inotify and fanotify marks are put on inodes; [`watched`](super::watched) has what follows.
//!
//! So the processes of a volume's world run under a seccomp filter ([`filter`]) that lets the kernel ask the FUSE
//! daemon about exactly these calls ([`supervisor`]); all others pass as if there were none. What concerns other
//! filesystems is let through ([`caller`] tells). Since shared mappings that v9fs refuses are refused here, the kernel can be
//! asked to allow them of files that it reads directly, so that every read asks the server, as on v9fs. The filter needs
//! privileges over the world's user namespace and Linux 5.5; without them the calls have FUSE's own results.

mod caller;
mod filter;
mod supervisor;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};

use crate::stack::process::send_fd;

pub(super) use supervisor::start;

/// Whether [`supervise_this_process`] would work: a child of this process tries, since what tried stays under its filter.
/// The process must have one thread.
pub fn can_supervise() -> bool {
    // SAFETY: there is one thread, so that no lock is held by another; and the child makes a few system calls.
    match unsafe { fork() } {
        Err(_) => false,
        Ok(ForkResult::Child) => {
            let code = i32::from(filter::install().is_err());
            // SAFETY: ends the child at once, with nothing of its parent's flushed or dropped.
            unsafe { libc::_exit(code) }
        }
        Ok(ForkResult::Parent { child }) => {
            matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0)))
        }
    }
}

/// Puts this process, and all that it starts from now on, under the filter. Who answers is at the other end of
/// `to`, a unix socket; when that process ends, the calls fail with ENOSYS.
///
/// The process must not be the one that answers. It must have one thread, as every agent has.
///
/// # Errors
/// The system's: EACCES without CAP_SYS_ADMIN, EBUSY under another such filter, EINVAL on Linux before 5.5;
/// `Unsupported` on processors for which there is no filter. Nothing is changed then.
pub fn supervise_this_process(to: BorrowedFd) -> io::Result<()> {
    let listener = filter::install()?;
    send_fd(to, listener.as_fd())
}
