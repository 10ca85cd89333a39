//! Bringing up the volume that a run wants, with the plain directory to compare it with.

use std::{fmt, path::PathBuf, sync::Arc, thread};

use clap::ValueEnum;
use results::{CaseKind, Stack};
use serde::Serialize;
use server9p::{
    profile::Profile,
    stack::{
        Cache, Mounted, Series, StackError, VolumeOptions, World,
        fuse_world::FuseClient,
        kernel::KernelClient,
        kernels::KernelWanted,
        local::Local,
        path::PathWorld,
        processor::Together,
        qemu::{self, Emulator, QemuClient},
        server,
        uml::{UmlClient, kernels},
        volume::{Client as Mounts, Source, VolumeWorld},
    },
};

use super::{given::Given, side::Side, stack_name::StackName};
use crate::{
    case::{Other, PlannedCase},
    machine::{self, State},
};

/// What mounts the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// The most faithful that this machine can run
    Auto,
    /// Our own client over FUSE, which behaves as v9fs
    Fuse,
    /// The real v9fs in a user-mode Linux
    Uml,
    /// The real v9fs in a QEMU guest
    Qemu,
    /// The real v9fs of this host's kernel
    Kernel,
}

/// What serves the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Server {
    /// Our own
    Server9p,
    /// Debian's diod
    Diod,
    /// unpfs, the example of the crate rs9p
    Unpfs,
    /// QEMU's own, the reference
    Qemu,
    /// None: the VM runtime's ram volume, a tmpfs of the client's kernel
    Ram,
    /// None: the VM runtime's storage volume, an ext2 on a block device
    Storage,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Client::Auto => "auto",
            Client::Fuse => "fuse",
            Client::Uml => "uml",
            Client::Qemu => "qemu",
            Client::Kernel => "kernel",
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Server::Server9p => "server9p",
            Server::Diod => "diod",
            Server::Unpfs => "unpfs",
            Server::Qemu => "qemu",
            Server::Ram => "ram",
            Server::Storage => "storage",
        })
    }
}

impl Server {
    /// What of the stacks' it is.
    pub fn source(self) -> Source {
        match self {
            Server::Server9p => server::Server::Own.into(),
            Server::Diod => server::Server::Diod.into(),
            Server::Unpfs => server::Server::Unpfs.into(),
            Server::Qemu => Source::Qemu,
            Server::Ram => Local::Ram.into(),
            Server::Storage => Local::Storage.into(),
        }
    }
}

/// The volume that is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What mounts it.
    pub client: Client,
    /// What serves it.
    pub server: Server,
    /// Whose behaviour it has.
    pub profile: Profile,
    /// How the client caches.
    pub cache: Cache,
    /// The msize that the client asks for, bytes; the VM runtime's unless given.
    pub msize: Option<u32>,
    /// The client's kernel; the profile's own unless given, and a real client's nearest that is installed.
    pub kernel: Option<KernelWanted>,
    /// Whom the server runs as when root starts it.
    pub run_as: Option<(u32, u32)>,
    /// QEMU's program, when not the system's.
    pub qemu: Option<PathBuf>,
    /// A directory that is mounted already, instead of all this.
    pub path: Option<PathBuf>,
    /// Where the server writes what it is asked, if it can.
    pub trace: Option<PathBuf>,
    /// Whether the directories of the cases stay when the volume is gone.
    pub keep: bool,
}

/// A volume that is up.
pub struct Volume {
    /// The plain directory beside it.
    pub native: Side,
    /// The volume itself.
    pub volume: Side,
    /// What it turned out to be.
    pub stack: Stack,
    /// Which client was taken and why, where that was left open.
    pub choice: Option<String>,
    /// Last, so that it is removed when nothing runs there any more.
    _given: Option<Given>,
}

impl Wanted {
    /// Brings the volume up, and the native side beside it. A client that was left open is this one's afterwards.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when this machine cannot do it, with what would make it so.
    pub fn bring_up(&mut self) -> Result<Volume, StackError> {
        let mut up = self.bring_up_both()?;
        // The worlds that are on the host reach the host's directories.
        if self.path.is_some() {
            up.volume.local = Some(up.native.here.clone());
        }
        up.native.local = Some(up.native.here.clone());
        (up.native.keep, up.volume.keep) = (self.keep, self.keep);
        Ok(up)
    }

    /// As [`Wanted::bring_up`], for so many cases at once. Operations on a volume whose processes are all this host's wait
    /// for one of these at a time: each processor then has a volume of its own, and so has a single case. Programs
    /// may use several processors, and what somebody will look at afterwards is to be in one place.
    ///
    /// # Errors
    /// Those of [`Wanted::bring_up`], of the first.
    pub fn bring_up_for(
        &mut self,
        cases: &[PlannedCase],
        jobs: usize,
    ) -> Result<Vec<Volume>, StackError> {
        let apart = self.client == Client::Fuse
            && self.path.is_none()
            && self.trace.is_none()
            && !self.keep
            && cases.iter().all(|case| case.kind == CaseKind::Op);
        if !apart {
            return Ok(vec![self.bring_up()?]);
        }
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut volumes = Vec::new();
        for number in 0..processors.min(jobs).min(cases.len()).max(1) {
            let _together = Together::enter_as(number);
            match self.bring_up() {
                Ok(volume) => volumes.push(volume),
                Err(error) if volumes.is_empty() => return Err(error),
                // It is slower with fewer.
                Err(_) => break,
            }
        }
        Ok(volumes)
    }

    fn bring_up_both(&mut self) -> Result<Volume, StackError> {
        let Some(dir) = &self.path else {
            let (mount, choice) = match self.client {
                Client::Auto => self.mount_auto().map(|(mount, why)| (mount, Some(why)))?,
                _ => (self.mount(self.server.source(), self.cache)?, None),
            };
            return Ok(Volume {
                native: mount.native_side()?,
                stack: self.stack(mount.world.mounted()),
                volume: mount.volume_side(),
                choice,
                _given: None,
            });
        };
        let mut given = Given::new(dir)?;
        if self.keep {
            given.keep();
        }
        let native: Arc<dyn World> = Arc::new(PathWorld::new(given.native())?);
        let world: Arc<dyn World> = Arc::new(PathWorld::new(given.volume())?);
        Ok(Volume {
            native: Side::new("native", native, given.native()),
            stack: self.stack(world.mounted()),
            volume: Side::new("volume", world, given.volume()),
            choice: None,
            _given: Some(given),
        })
    }

    /// The side of another volume of the same client, for a remedy that says so.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when this machine cannot do it, or somebody else mounted the volume.
    pub fn other(&self, other: Other) -> Result<Side, StackError> {
        if let Some(dir) = &self.path {
            let what = match other {
                Other::Cache(cache) => format!("mount it with cache={cache} and run again"),
                Other::Local(local) => {
                    format!(
                        "run again with a {} volume there, or without --path",
                        local.name()
                    )
                }
            };
            return Err(StackError::Unavailable(format!(
                "{} was mounted by somebody else; {what}",
                dir.display()
            )));
        }
        // The trace is of the volume under test.
        let wanted = Wanted {
            trace: None,
            ..self.clone()
        };
        let mount = match other {
            Other::Cache(cache) => wanted.mount(self.server.source(), cache),
            Other::Local(local) => wanted.mount(local.into(), Cache::None),
        };
        Ok(mount?.volume_side())
    }

    /// Mounts a fresh volume.
    pub(super) fn mount(&self, source: Source, cache: Cache) -> Result<Mount, StackError> {
        let series = match (self.client, &self.kernel) {
            // It behaves as that series' v9fs.
            (Client::Fuse, Some(kernel)) => kernel.series("fuse")?,
            (_, Some(KernelWanted::Series(series))) => *series,
            _ => Series::of(self.profile),
        };
        let usual = VolumeOptions::new(self.profile);
        let options = VolumeOptions {
            cache,
            series,
            run_as: self.run_as,
            trace: self.trace.clone(),
            msize: self.msize.unwrap_or(usual.msize),
            ..usual
        };
        let world = VolumeWorld::new(&options, source, self.mounts()?)?;
        if self.keep {
            world.keep();
        }
        Ok(Mount {
            world: Arc::new(world),
        })
    }

    /// What mounts it, with the kernel that is asked for.
    fn mounts(&self) -> Result<Box<dyn Mounts>, StackError> {
        Ok(match self.client {
            Client::Auto | Client::Fuse => Box::new(FuseClient),
            Client::Uml => Box::new(UmlClient {
                kernel: kernels::choose(self.kernel.as_ref(), self.profile)?,
            }),
            Client::Qemu => {
                let kernel = qemu::kernels::choose(self.kernel.as_ref(), self.profile)?;
                let emulator = match (&self.qemu, self.server) {
                    (None, Server::Qemu) => Emulator::reference(self.profile, kernel),
                    (program, _) => Emulator::new(program.as_deref(), kernel),
                };
                Box::new(QemuClient::new(emulator?)?)
            }
            Client::Kernel => Box::new(KernelClient::new(self.kernel.as_ref())?),
        })
    }

    fn stack(&self, mounted: Mounted) -> Stack {
        let (profile, cache) = match self.path {
            None => (self.profile.name().to_owned(), self.cache.name().to_owned()),
            // What it is mounted with is in its options, if anywhere.
            Some(_) => ("unknown".to_owned(), cache_option(&mounted.options)),
        };
        Stack {
            client: mounted.client,
            server: mounted.server,
            profile,
            cache,
            kernel: mounted.kernel,
            mount_options: mounted.options,
            versions: mounted.versions,
        }
    }
}

/// The cache mode among a mount's options.
fn cache_option(options: &str) -> String {
    let found = options
        .split(',')
        .find_map(|option| option.strip_prefix("cache="));
    found.unwrap_or("unknown").to_owned()
}

/// A volume of ours that is up.
pub(super) struct Mount {
    world: Arc<VolumeWorld>,
}

impl Mount {
    /// The native side: on the host, where it may with the volume's users.
    fn native_side(&self) -> Result<Side, StackError> {
        let world = self.world.ordinary()?;
        Ok(Side::new("native", world, self.world.host_native()))
    }

    /// The volume's side: fresh directories are made in the export, and commands find them in the volume.
    fn volume_side(self) -> Side {
        let there = self.world.path().to_owned();
        let local = self.world.native().map(PathBuf::from);
        let export = self.world.export().to_owned();
        let shared = self.world.shared();
        Side {
            there,
            local,
            shared,
            ..Side::new("volume", self.world, &export)
        }
    }
}

/// A stack, for the listing.
#[derive(Debug, Clone, Serialize)]
pub struct ListedStack {
    /// `client/server/profile`.
    pub name: String,
    /// What it is.
    pub about: &'static str,
    /// Why this machine cannot run it, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// Every stack that this version can bring up somewhere.
pub fn stacks() -> Vec<ListedStack> {
    let fuse = machine::fuse();
    let fuse = (fuse.state != State::Ready).then_some(fuse.detail);
    let missing = |client, server: Server, profile| {
        let reason = match (client, server.source()) {
            (Client::Fuse, _) if fuse.is_some() => return fuse.clone(),
            (_, Source::Server(server)) => server.available(),
            (_, Source::Qemu | Source::Local(_)) => Ok(()),
        };
        let wanted = StackName {
            client,
            server,
            profile,
        }
        .wanted();
        let reason = reason.and_then(|()| wanted.mounts().map(drop));
        reason.err().map(|error| error.to_string())
    };
    let listed = |client, server, profile, about| ListedStack {
        name: format!("{client}/{server}/{profile}"),
        about,
        missing: missing(client, server, profile),
    };
    let mut stacks = vec![
        listed(
            Client::Qemu,
            Server::Qemu,
            Profile::Golem,
            "the reference: QEMU's own server, the VM runtime's options, Linux 5.10",
        ),
        listed(
            Client::Qemu,
            Server::Qemu,
            Profile::Qemu,
            "the reference of profile qemu: the server of QEMU 10, Linux 6.1",
        ),
    ];
    for client in [Client::Kernel, Client::Uml, Client::Fuse, Client::Qemu] {
        for profile in Profile::ALL {
            let about = match profile {
                Profile::Golem => "as the VM runtime: QEMU 8.1's behaviour, Linux 5.10's v9fs",
                Profile::Qemu => {
                    "as QEMU 10: special files can be made, files of several file systems have their own inode numbers"
                }
                Profile::Posix => "all that the protocol allows",
            };
            stacks.push(listed(client, Server::Server9p, profile, about));
        }
    }
    for client in [Client::Kernel, Client::Fuse, Client::Uml, Client::Qemu] {
        for (server, about) in [
            (
                Server::Ram,
                "the VM runtime's ram volume instead: a tmpfs of mode 0700",
            ),
            (
                Server::Storage,
                "the VM runtime's storage volume instead: an ext2 on a block device",
            ),
        ] {
            stacks.push(listed(client, server, Profile::Golem, about));
        }
    }
    for client in [Client::Kernel, Client::Uml, Client::Fuse] {
        for (server, about) in [
            (
                Server::Diod,
                "a peer: the server diod as Debian's package starts it",
            ),
            (
                Server::Unpfs,
                "a peer: rs9p's example server, as an ordinary user",
            ),
        ] {
            // A peer behaves as it does under every profile; this one's guests have an ordinary root.
            stacks.push(listed(client, server, Profile::Posix, about));
        }
    }
    stacks
}
