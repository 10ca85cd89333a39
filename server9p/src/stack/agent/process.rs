//! The agent as a process of its own: `@agent`.

use std::{
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::ExitCode,
};

use serde::{Deserialize, Serialize};

use super::{Given, frame, frame::FromAgent, serve};
use crate::stack::{
    Conditions, Mounted,
    fuse_world::ground::{FuseGround, FuseMount},
    kernel::ground::{KernelGround, KernelMount},
    local::{LocalGround, LocalMount},
    namespaces::{self, Namespaces},
    root::Root,
};

/// What an agent process is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct AgentConfig {
    /// Inherited descriptor of its link, a stream socket.
    pub link: RawFd,
    /// The namespaces to enter first, if any.
    pub namespaces: Option<Namespaces>,
    /// The root that its commands see, if not the present one.
    pub root: Option<HostRoot>,
    /// What its commands run on.
    pub volume: Volume,
}

/// A root that an agent lays over the host's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostRoot {
    /// What it is like.
    pub root: Root,
    /// An empty directory to make it in.
    pub staging: PathBuf,
    /// The run's directory, which stays as it is.
    pub run: PathBuf,
}

/// What an agent's commands run on.
#[derive(Debug, Serialize, Deserialize)]
pub enum Volume {
    /// What is mounted already.
    Given(Mounted),
    /// A FUSE mount that the agent makes.
    Fuse(FuseMount),
    /// A file system of this kernel's own that the agent mounts.
    Local(LocalMount),
    /// A mount of this host's own 9p client that the agent makes.
    Kernel(KernelMount),
}

impl AgentConfig {
    /// With the link at `link`.
    pub fn new(link: BorrowedFd, namespaces: Option<Namespaces>, volume: Volume) -> AgentConfig {
        AgentConfig {
            link: link.as_raw_fd(),
            namespaces,
            root: None,
            volume,
        }
    }
}

/// Is the agent process.
pub fn main(config: AgentConfig) -> ExitCode {
    // SAFETY: the descriptor was inherited for this process to own, and is taken only here.
    let link = UnixStream::from(unsafe { OwnedFd::from_raw_fd(config.link) });
    // Not for the commands, nor for the FUSE daemon.
    let _ = rustix::io::fcntl_setfd(&link, rustix::io::FdFlags::CLOEXEC);
    if let Some(wanted) = &config.namespaces
        && let Err(why) = namespaces::enter(wanted)
    {
        let _ = frame::write(&mut &link, &FromAgent::Failed(why), b"");
        return ExitCode::FAILURE;
    }
    let conditions = match &config.root {
        None => Conditions::Ordinary,
        Some(wanted) => match wanted.root.enter_on_host(&wanted.staging, &wanted.run) {
            Ok(()) if wanted.root.runtime => Conditions::Runtime,
            Ok(()) => Conditions::Ordinary,
            Err(why) => Conditions::Refused(why),
        },
    };
    let served = match config.volume {
        Volume::Given(mounted) => serve(link, Given(mounted)),
        Volume::Local(mount) => serve(link, LocalGround::new(mount, conditions)),
        Volume::Fuse(mount) => serve(link, FuseGround::new(mount, conditions)),
        Volume::Kernel(mount) => {
            KernelGround::new(mount, conditions).and_then(|ground| serve(link, ground))
        }
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("the link to the orchestrator failed: {err}");
            ExitCode::FAILURE
        }
    }
}
