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
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::{
    ground::FuseMount,
    server::{Server, run_as},
};
use super::{
    CommandSpec, Finished, Mounted, StackError, VolumeOptions, World,
    agent::{
        link::Link,
        process::{AgentConfig, Volume},
    },
    namespaces::{NO_PROC, Namespaces},
    path::start_agent,
    process::Helper,
    workdir::Workdir,
};

/// How long the volume may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to come down before it is killed.
const FAREWELL: Duration = Duration::from_secs(8);

/// A volume mounted with FUSE, and a plain directory beside its export.
#[derive(Debug)]
pub struct FuseWorld {
    options: VolumeOptions,
    server: Server,
    run_as: Option<(u32, u32)>,
    export: PathBuf,
    native: PathBuf,
    mountpoint: PathBuf,
    state: Mutex<State>,
    mounted: Mutex<Mounted>,
    // Last, so that it is removed when nothing uses it any more.
    workdir: Workdir,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Arc<Live>>,
    stopped: bool,
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
        let directory = |name: &str| {
            workdir.directory(name, run_as).map_err(|err| {
                let path = workdir.path().join(name);
                StackError::Unavailable(format!(
                    "directory {} cannot be made: {err}",
                    path.display()
                ))
            })
        };
        let world = FuseWorld {
            options: options.clone(),
            server,
            run_as,
            export: directory("export")?,
            native: directory("native")?,
            mountpoint: directory("mnt")?,
            state: Mutex::default(),
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

    /// Process ids of the server and the agent, by name.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let state = self.state();
        let Some(live) = &state.live else {
            return Vec::new();
        };
        vec![
            ("server", lock(&live.server).pid()),
            ("agent", lock(&live.agent).pid()),
        ]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The volume that is up, brought up anew when it was lost.
    fn live(&self) -> Result<Arc<Live>, StackError> {
        let mut state = self.state();
        if state.stopped {
            return Err(StackError::Cancelled);
        }
        if let Some(live) = &state.live
            && live.link.over().is_none()
        {
            return Ok(Arc::clone(live));
        }
        // Down first: two servers of one export would see each other's changes late.
        if let Some(old) = state.live.take() {
            old.end();
        }
        let live = Arc::new(self.bring_up()?);
        *lock(&self.mounted) = Mounted {
            server: self.server.name().into(),
            versions: self.server.versions(),
            ..live.link.mounted().clone()
        };
        state.live = Some(Arc::clone(&live));
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
            Ok((link, agent)) => Ok(Live::new(link, server, agent, life)),
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
        let mut state = self.state();
        state.stopped = true;
        if let Some(live) = &state.live {
            live.link.lose(&StackError::Cancelled);
            live.link.stop();
        }
    }
}

impl Drop for FuseWorld {
    fn drop(&mut self) {
        if let Some(live) = self.state().live.take() {
            live.end();
        }
    }
}

/// The processes of a volume that is up.
#[derive(Debug)]
struct Live {
    link: Arc<Link>,
    server: Arc<Mutex<Helper>>,
    agent: Arc<Mutex<Helper>>,
    ending: Arc<AtomicBool>,
    /// The server exits when this closes.
    life: Mutex<Option<OwnedFd>>,
}

impl Live {
    fn new(link: Link, server: Helper, agent: Helper, life: OwnedFd) -> Live {
        let live = Live {
            link: Arc::new(link),
            server: Arc::new(Mutex::new(server)),
            agent: Arc::new(Mutex::new(agent)),
            ending: Arc::default(),
            life: Mutex::new(Some(life)),
        };
        live.watch();
        live
    }

    /// Sees to it that a death is told at once, and that what is told is whose it was: the others die of it.
    fn watch(&self) {
        let (server, agent) = (Arc::clone(&self.server), Arc::clone(&self.agent));
        self.link.on_loss(move |told| {
            for helper in [&server, &agent] {
                let mut helper = lock(helper);
                if helper.wait(Duration::from_millis(100)) {
                    return StackError::Lost(format!("the volume is lost: {}", helper.obituary()));
                }
            }
            told
        });
        let Ok(ended) = lock(&self.server).pidfd().try_clone() else {
            return;
        };
        let (link, ending) = (Arc::clone(&self.link), Arc::clone(&self.ending));
        thread::spawn(move || {
            let mut fds = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
            while poll(&mut fds, PollTimeout::NONE).is_err() {}
            if !ending.load(Ordering::Acquire) {
                link.lose(&StackError::Lost("the volume is lost".into()));
                link.close();
            }
        });
    }

    fn end(&self) {
        if self.ending.swap(true, Ordering::AcqRel) {
            return;
        }
        self.link.stop();
        let _ = lock(&self.agent).finish(FAREWELL);
        self.link.close();
        lock(&self.life).take();
        let _ = lock(&self.server).finish(FAREWELL);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole between any two statements, so a panic elsewhere does no harm.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
