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
mod way;

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
    way::Way,
};
use super::{
    CommandSpec, Finished, Mounted, StackError, VolumeOptions, World,
    agent::process::{AgentConfig, Volume},
    fuse::MountBy,
    live::{Live, Revived, lock},
    mounts,
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
        // Before anything is made.
        Way::all()?;
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
        let mut first = None;
        for way in Way::all()? {
            match self.bring_up_by(&way) {
                Err(why) if way.gives_way(&why) => first = first.or(Some(why)),
                Err(why) => return Err(first.unwrap_or(why)),
                Ok(live) => return Ok(live),
            }
        }
        Err(first.expect("without a way there was an error before"))
    }

    fn bring_up_by(&self, way: &Way) -> Result<Live, StackError> {
        unmount_left(&self.mountpoint);
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
                // The server refuses changes where that is asked for; v9fs knows nothing of it.
                read_only: false,
                by: way.by(),
                // Others need `user_allow_other` in /etc/fuse.conf, which is not there by default.
                owner_only: way.by() == MountBy::Fusermount,
            };
            AgentConfig::new(link.as_fd(), way.namespaces(), Volume::Fuse(mount))
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
        unmount_left(&self.mountpoint);
    }
}

/// Removes what a killed agent left of a mount that everybody sees; of others it leaves nothing.
fn unmount_left(mountpoint: &Path) {
    if mounts::all().iter().any(|mount| mount.point == mountpoint) {
        ground::unmount(mountpoint, MountBy::Fusermount);
    }
}
