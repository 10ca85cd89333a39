//! The volume of the fast real client: a user-mode Linux guest, with v9fs as Linux has it.
//!
//! The guest's root is the host's, read-only, under an overlay. Its one network link ends in [`keeper`]'s
//! process, which passes the guest's TCP connections on: one to the 9P server, the other to the orchestrator.
//! No privilege, no KVM, no host network takes part.

pub mod keeper;
pub mod kernels;
mod relay;
mod wire;

use std::{
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use self::{keeper::KeeperConfig, kernels::Kernel};
use super::{
    Cache, CommandSpec, Finished, Mounted, StackError, VolumeOptions, World,
    agent::{configure_guest, link::Link},
    fuse_world::server::{Server, run_as},
    guard::Guard,
    guest::{GuestConfig, GuestMount, HOST, PORT_9P, root::Root},
    live::{Live, Revived, lock},
    process::{self, Helper},
    workdir::Workdir,
};
use crate::profile::Profile;

/// How long a guest may take to boot on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The guest's memory, in MiB; only what it uses is taken from the host.
const MEMORY: u32 = 768;

/// A volume mounted by a user-mode Linux, and a plain directory on the host beside its export.
#[derive(Debug)]
pub struct UmlWorld {
    options: VolumeOptions,
    server: Server,
    kernel: Kernel,
    run_as: Option<(u32, u32)>,
    export: PathBuf,
    native: PathBuf,
    mountpoint: PathBuf,
    kernel_files: PathBuf,
    revived: Revived,
    mounted: Mutex<Mounted>,
    // Last, so that it is removed when nothing uses it any more.
    workdir: Workdir,
}

impl UmlWorld {
    /// Boots a guest and mounts a fresh export in it.
    ///
    /// # Errors
    /// [`StackError::Unavailable`]: what is missing, and what brings it.
    pub fn new(
        options: &VolumeOptions,
        server: Server,
        kernel: Kernel,
    ) -> Result<UmlWorld, StackError> {
        let run_as = run_as(options)?;
        let workdir = Workdir::new().map_err(|err| StackError::Unavailable(err.to_string()))?;
        let world = UmlWorld {
            options: options.clone(),
            server,
            kernel,
            run_as,
            export: workdir.part("export", run_as)?,
            native: workdir.part("native", run_as)?,
            mountpoint: workdir.part("mnt", run_as)?,
            kernel_files: workdir.part("uml", None)?,
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

    /// The directory on the host for the native side; the guest cannot write there.
    pub fn host_native(&self) -> &Path {
        &self.native
    }

    /// Leaves the run's directory where it is when the volume is gone.
    pub fn keep(&self) {
        self.workdir.keep();
    }

    /// The run's directory, which holds all others.
    pub fn workdir(&self) -> &Path {
        self.workdir.path()
    }

    /// Process ids of the server and the guest's keeper, by what they are.
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
        let failed = |what: &'static str| {
            move |err: std::io::Error| {
                StackError::Unavailable(format!("{what} cannot be started: {err}"))
            }
        };
        let (client_end, server_end) =
            UnixStream::pair().map_err(failed("the server's connection"))?;
        let served = self
            .server
            .start(&self.export, &self.options, self.run_as, server_end)?;
        let (link, guest_end) = UnixStream::pair().map_err(failed("the guest's link"))?;
        let config = KeeperConfig {
            link: guest_end.as_raw_fd(),
            server: client_end.as_raw_fd(),
            guard: Guard::for_this_user(),
            kernel: self.kernel.binary.clone(),
            init: process::program().map_err(failed("the guest"))?,
            memory: MEMORY,
            directory: self.kernel_files.clone(),
        };
        let keep = [guest_end.as_fd(), client_end.as_fd()];
        let mut keeper =
            Helper::start("the guest", "@uml", &config, &keep).map_err(failed("the guest"))?;
        drop((guest_end, client_end));
        let opened = configure_guest(&link, &self.guest())
            .map_err(failed("the guest"))
            .and_then(|()| Link::open(link, PATIENCE));
        match opened {
            Ok(link) => Ok(Live::new(link, keeper, Some(served), true)),
            Err(err) => {
                keeper.wait(Duration::from_millis(200));
                keeper.kill();
                let obituary = keeper.obituary();
                Err(match err {
                    StackError::Lost(why) => StackError::Unavailable(format!("{why}: {obituary}")),
                    told => told,
                })
            }
        }
    }

    fn guest(&self) -> GuestConfig {
        GuestConfig {
            client: "uml".into(),
            modules: Some(self.kernel.modules.clone()),
            root: match self.options.profile {
                Profile::Golem => Root::of_runtime(),
                Profile::Qemu | Profile::Posix => Root::ordinary(),
            },
            mount: GuestMount {
                source: HOST.to_string(),
                mountpoint: self.mountpoint.clone(),
                options: self.mount_options(),
                modules: self.mount_modules(),
                port: None,
            },
        }
    }

    fn mount_options(&self) -> String {
        let mut options = format!(
            "trans=tcp,port={PORT_9P},version=9p2000.L,msize={},aname={}",
            self.options.msize,
            self.server.aname(&self.export)
        );
        if self.options.cache != Cache::None {
            options.push_str(",cache=");
            options.push_str(self.options.cache.name());
        }
        options
    }

    /// Until 5.17 the transport was part of 9pnet.
    fn mount_modules(&self) -> Vec<String> {
        let list = self.kernel.modules.join("modules.dep");
        let list = std::fs::read_to_string(list).unwrap_or_default();
        let mut modules = vec!["9p".to_owned()];
        if list.contains("/9pnet_fd.ko") {
            modules.push("9pnet_fd".into());
        }
        modules
    }
}

impl World for UmlWorld {
    fn path(&self) -> &Path {
        &self.mountpoint
    }

    fn mounted(&self) -> Mounted {
        lock(&self.mounted).clone()
    }

    fn run(&self, command: &CommandSpec) -> Result<Finished, StackError> {
        self.live()?.link.run(command)
    }

    fn stop(&self) {
        self.revived.stop();
    }
}

impl Drop for UmlWorld {
    fn drop(&mut self) {
        self.revived.end();
    }
}
