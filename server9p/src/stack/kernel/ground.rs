//! The mount of this host's 9p client as an agent makes it, in the agent's namespace.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, FromRawFd, OwnedFd, RawFd},
    path::PathBuf,
    time::Duration,
};

use nix::{
    mount::{MntFlags, umount2},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::wait::WaitStatus,
    unistd::Pid,
};
use rustix::{
    net::{Shutdown, shutdown},
    process::{PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Serialize};

use crate::stack::{Conditions, Mounted, agent::Ground, v9fs};

/// How long an unmount may take, which writes back what is cached.
const FAREWELL: Duration = Duration::from_secs(2);

/// A mount of a 9P server by this kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KernelMount {
    /// Inherited descriptor of a stream socket that the server listens to.
    pub connection: RawFd,
    /// Where to mount.
    pub mountpoint: PathBuf,
    /// The options, as `mount -o` takes them, without the descriptors.
    pub options: String,
}

/// Makes the mount and ends it.
#[derive(Debug)]
pub struct KernelGround {
    mount: KernelMount,
    conditions: Conditions,
    /// The end of the connection that v9fs uses, held to cut it.
    connection: OwnedFd,
}

impl KernelGround {
    /// The ground that this mount will be, under these conditions. To be called once, by the process that inherited the descriptor.
    ///
    /// # Errors
    /// The system's.
    pub fn new(mount: KernelMount, conditions: Conditions) -> io::Result<KernelGround> {
        // SAFETY: the descriptor was inherited for this process to own, and is taken only here.
        let connection = unsafe { OwnedFd::from_raw_fd(mount.connection) };
        // Not for the commands.
        rustix::io::fcntl_setfd(&connection, rustix::io::FdFlags::CLOEXEC)?;
        Ok(KernelGround {
            mount,
            conditions,
            connection,
        })
    }

    /// v9fs fails all that waits when the connection ends, and all that comes.
    fn cut(&self) {
        let _ = shutdown(&self.connection, Shutdown::Both);
    }

    /// Unmounts in a child, and waits for it at most so long.
    fn unmount(&self, patience: Duration) {
        let Ok(point) = CString::new(self.mount.mountpoint.as_os_str().as_encoded_bytes()) else {
            return;
        };
        // SAFETY: an agent has one thread; the child makes two system calls.
        let child = unsafe {
            match libc::fork() {
                0 => {
                    libc::umount2(point.as_ptr(), 0);
                    libc::_exit(0)
                }
                child => Pid::from_raw(child),
            }
        };
        let child = rustix::process::Pid::from_raw(child.as_raw());
        let ended = child.and_then(|child| pidfd_open(child, PidfdFlags::empty()).ok());
        if let Some(ended) = ended {
            let mut fds = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
            let _ = poll(
                &mut fds,
                PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO),
            );
        }
    }
}

impl Ground for KernelGround {
    fn up(&mut self) -> Result<Mounted, String> {
        let KernelMount {
            mountpoint,
            options,
            ..
        } = &self.mount;
        v9fs::mount_volume(
            "probe9p",
            mountpoint,
            options,
            Some(self.connection.as_fd()),
        )?;
        Ok(Mounted {
            conditions: self.conditions.clone(),
            ..v9fs::describe("kernel", mountpoint, options)
        })
    }

    fn abort(&mut self) {
        self.cut();
        v9fs::abort(&self.mount.mountpoint);
    }

    fn ended(&mut self, _: Pid, _: WaitStatus) -> Option<String> {
        None
    }

    fn down(&mut self) {
        // What is cached is written back; a server that does not answer must not keep the rest waiting.
        self.unmount(FAREWELL);
        self.cut();
        let _ = umount2(&self.mount.mountpoint, MntFlags::MNT_DETACH);
    }
}
