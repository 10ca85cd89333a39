//! The volume of the embedded client: our 9P server, and our FUSE client in namespaces of its own.
//!
//! Three processes beside the orchestrator: the server, which drops to an ordinary user; the agent, first
//! process of a private mount namespace and a pid namespace, which runs the commands; and the FUSE daemon, the
//! agent's child, which speaks to the server over a socket pair. They hold on to each other by descriptors
//! alone: when the orchestrator dies, the agent's link and the server's life line close; when the agent
//! dies, its pid namespace dies; when the daemon dies, the server's connection ends. So whichever is killed,
//! nothing is left but directories, which the next run removes.

pub mod ground;
pub mod server;

use std::{
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use self::{
    ground::FuseMount,
    server::{Server, run_as},
};
use super::{
    CommandSpec, Finished, Mounted, StackError, VolumeOptions, World,
    agent::process::{AgentConfig, Volume},
    live::{Live, Revived, lock},
    namespaces::{NO_PROC, Namespaces},
    path::start_agent,
    workdir::Workdir,
};

/// How long the volume may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A volume mounted with FUSE, and a plain directory beside its export.
#[derive(Debug)]
pub struct FuseWorld {
    options: VolumeOptions,
    server: Server,
    run_as: Option<(u32, u32)>,
    export: PathBuf,
    native: PathBuf,
    mountpoint: PathBuf,
    revived: Revived,
    mounted: Mutex<Mounted>,
    // Last, so that it is removed when nothing uses it any more.
    workdir: Workdir,
}

impl FuseWorld {
    /// Brings a volume up, with a fresh export under the temporary directory.
    ///
    /// # Errors
    /// [`StackError::Unavailable`]: what is missing, and what brings it.
    pub fn new(options: &VolumeOptions, server: Server) -> Result<FuseWorld, StackError> {
        check_device()?;
        let run_as = run_as(options)?;
        let workdir = Workdir::new().map_err(|err| StackError::Unavailable(err.to_string()))?;
        let world = FuseWorld {
            options: options.clone(),
            server,
            run_as,
            export: workdir.part("export", run_as)?,
            native: workdir.part("native", run_as)?,
            mountpoint: workdir.part("mnt", run_as)?,
            revived: Revived::default(),
            mounted: Mutex::default(),
            workdir,
        };
        world.live()?;
        Ok(world)
    }

    /// The directory that is served, on the host.
    pub fn export(&self) -> &Path {
        &self.export
    }

    /// Leaves the run's directory where it is when the volume is gone.
    pub fn keep(&self) {
        self.workdir.keep();
    }

    /// The run's directory, which holds all others.
    pub fn workdir(&self) -> &Path {
        self.workdir.path()
    }

    /// Process ids of the server and the agent, by what they are.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let live = self.revived.current();
        live.map_or(Vec::new(), |live| live.processes())
    }

    fn live(&self) -> Result<Arc<Live>, StackError> {
        let live = self.revived.live(|| self.bring_up())?;
        *lock(&self.mounted) = Mounted {
            server: self.server.name().into(),
            versions: self.server.versions(),
            ..live.link.mounted().clone()
        };
        Ok(live)
    }

    fn bring_up(&self) -> Result<Live, StackError> {
        let mut namespaces = Namespaces::for_this_user();
        match self.bring_up_in(&namespaces) {
            Err(StackError::Unavailable(why)) if why.starts_with(NO_PROC) => {
                namespaces.pid = false;
                self.bring_up_in(&namespaces)
            }
            other => other,
        }
    }

    fn bring_up_in(&self, namespaces: &Namespaces) -> Result<Live, StackError> {
        let (client_end, server_end) = UnixStream::pair().map_err(|err| {
            StackError::Unavailable(format!("no socket pair can be made for the server: {err}"))
        })?;
        let (server, life) =
            self.server
                .start(&self.export, &self.options, self.run_as, server_end)?;
        let config = |link: &UnixStream| {
            let mount = FuseMount {
                socket: client_end.as_raw_fd(),
                mountpoint: self.mountpoint.clone(),
                aname: self.server.aname(&self.export),
                series: self.options.series,
                cache: self.options.cache,
                msize: self.options.msize,
                read_only: self.options.read_only,
            };
            AgentConfig::new(link.as_fd(), Some(namespaces.clone()), Volume::Fuse(mount))
        };
        let mut server = server;
        match start_agent(config, &[client_end.as_fd()], PATIENCE) {
            Ok((link, agent)) => Ok(Live::new(link, agent, Some((server, life)), false)),
            Err(err) => {
                drop(client_end);
                // When the server could not even start, that is why.
                let died = server.wait(Duration::from_millis(100)) && !server.succeeded();
                let why = died.then(|| server.obituary());
                let _ = server.finish(Duration::ZERO);
                Err(match why {
                    Some(why) => {
                        StackError::Unavailable(format!("the volume did not come up: {why}"))
                    }
                    None => err,
                })
            }
        }
    }
}

impl World for FuseWorld {
    fn path(&self) -> &Path {
        &self.mountpoint
    }

    fn mounted(&self) -> Mounted {
        lock(&self.mounted).clone()
    }

    fn run(&self, command: &CommandSpec) -> Result<Finished, StackError> {
        self.live()?.link.run(command)
    }

    fn native(&self) -> Option<&Path> {
        Some(&self.native)
    }

    fn stop(&self) {
        self.revived.stop();
    }
}

impl Drop for FuseWorld {
    fn drop(&mut self) {
        self.revived.end();
    }
}

fn check_device() -> Result<(), StackError> {
    use rustix::{
        fs::{Access, access},
        io::Errno,
    };
    let why = match access("/dev/fuse", Access::READ_OK | Access::WRITE_OK) {
        Ok(()) => return Ok(()),
        Err(Errno::NOENT) => {
            "/dev/fuse does not exist: load it with `modprobe fuse`, or start the container with `--device \
             /dev/fuse`"
                .into()
        }
        Err(Errno::ACCESS) => format!(
            "user {} may not open /dev/fuse: run as root, or give it the mode it has on most systems with \
             `chmod 666 /dev/fuse`",
            rustix::process::geteuid().as_raw()
        ),
        Err(err) => format!("/dev/fuse cannot be used: {err}"),
    };
    Err(StackError::Unavailable(why))
}
