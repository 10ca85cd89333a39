//! A directory that is there already, as a world: somebody else's mount, or the native side.

use std::{
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    CommandSpec, Finished, Mounted, StackError, World,
    agent::{
        link::Link,
        process::{AgentConfig, Volume},
    },
    mounts,
    namespaces::{NO_MOUNTS, NO_PROC, Namespaces},
    process::Helper,
};

/// How long an agent that was killed may take to be gone.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs commands on the host, in a directory of the host.
#[derive(Debug)]
pub struct PathWorld {
    path: PathBuf,
    link: Link,
    agent: Mutex<Helper>,
}

impl PathWorld {
    /// A world for the directory `path`.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when it is no directory, or no agent can be started.
    pub fn new(path: impl Into<PathBuf>) -> Result<PathWorld, StackError> {
        let path: PathBuf = path.into();
        // A pid namespace makes the end of the agent the end of all, but an ordinary user has none without
        // becoming its root, which would change what its commands see.
        let namespaces = nix::unistd::geteuid().is_root().then_some(Namespaces {
            user: None,
            pid: true,
        });
        match PathWorld::within(&path, namespaces) {
            Err(StackError::Unavailable(why))
                if why.starts_with(NO_PROC) || why.starts_with(NO_MOUNTS) =>
            {
                PathWorld::within(&path, None)
            }
            other => other,
        }
    }

    /// A world for the directory `path` in namespaces of its own.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when they cannot be had, or no agent can be started.
    pub fn within(path: &Path, namespaces: Option<Namespaces>) -> Result<PathWorld, StackError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // From the table of mounts, not the directory itself: a mount that hangs must hang only commands.
        let volume = Volume::Given(mounts::describe(&path));
        let config = |link: &UnixStream| AgentConfig::new(link.as_fd(), namespaces, volume);
        let (link, agent) = start_agent(config, &[], Duration::from_secs(20))?;
        Ok(PathWorld {
            path,
            link,
            agent: Mutex::new(agent),
        })
    }
}

/// Starts an agent at the other end of a new link and waits until its volume is up.
pub(super) fn start_agent(
    config: impl FnOnce(&UnixStream) -> AgentConfig,
    keep: &[std::os::fd::BorrowedFd],
    patience: Duration,
) -> Result<(Link, Helper), StackError> {
    let failed = |err: std::io::Error| {
        StackError::Unavailable(format!("the volume's agent cannot be started: {err}"))
    };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let config = config(&theirs);
    let keep: Vec<_> = keep.iter().copied().chain([theirs.as_fd()]).collect();
    let mut agent =
        Helper::start("the volume's agent", "@agent", &config, &keep).map_err(failed)?;
    drop(theirs);
    match Link::open(ours, patience) {
        Ok(link) => Ok((link, agent)),
        Err(err) => {
            agent.kill();
            // One that waits in the kernel for a server ends with that server, which is its caller's to end.
            let ended = agent.wait(FAREWELL);
            Err(match err {
                StackError::Lost(why) if ended => {
                    StackError::Unavailable(format!("{why}: {}", agent.obituary()))
                }
                StackError::Lost(why) => StackError::Unavailable(why),
                told => told,
            })
        }
    }
}

impl World for PathWorld {
    fn path(&self) -> &Path {
        &self.path
    }

    fn mounted(&self) -> Mounted {
        self.link.mounted().clone()
    }

    fn run(&self, command: &CommandSpec) -> Result<Finished, StackError> {
        self.link.run(command)
    }

    fn stop(&self) {
        self.link.lose(&StackError::Cancelled);
        self.link.stop();
    }
}

impl Drop for PathWorld {
    fn drop(&mut self) {
        self.link.stop();
        let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = agent.finish(Duration::from_secs(10));
    }
}
