//! Bringing up the volume that a run wants, with the plain directory to compare it with.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::ValueEnum;
use results::Stack;
use serde::Serialize;
use server9p::{
    profile::Profile,
    stack::{
        Cache, Mounted, Series, StackError, VolumeOptions, World,
        fuse_world::{FuseWorld, server::Server as FuseServer},
        path::PathWorld,
    },
};

use super::{given::Given, side::Side};
use crate::machine::{self, State};

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
    /// QEMU's own, the reference
    Qemu,
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
            Server::Qemu => "qemu",
        })
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
    /// The client's kernel.
    pub series: Series,
    /// Whom the server runs as when root starts it.
    pub run_as: Option<(u32, u32)>,
    /// A directory that is mounted already, instead of all this.
    pub path: Option<PathBuf>,
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
    /// Last, so that it is removed when nothing runs there any more.
    _given: Option<Given>,
}

impl Wanted {
    /// Brings the volume up, and the native side beside it.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when this machine cannot do it, with what would make it so.
    pub fn bring_up(&self) -> Result<Volume, StackError> {
        let mut up = self.bring_up_both()?;
        (up.native.keep, up.volume.keep) = (self.keep, self.keep);
        Ok(up)
    }

    fn bring_up_both(&self) -> Result<Volume, StackError> {
        let Some(dir) = &self.path else {
            let (world, export) = self.mount(self.cache)?;
            let native = native_side(&world)?;
            return Ok(Volume {
                native,
                stack: self.stack(world.mounted()),
                volume: volume_side(world, &export),
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
            _given: Some(given),
        })
    }

    /// The volume's side once more, with another cache mode, for a remedy that says so.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when this machine cannot do it, or somebody else mounted the volume.
    pub fn other_cache(&self, cache: Cache) -> Result<Side, StackError> {
        if let Some(dir) = &self.path {
            return Err(StackError::Unavailable(format!(
                "{} was mounted by somebody else; mount it with cache={cache} and run again",
                dir.display()
            )));
        }
        let (world, export) = self.mount(cache)?;
        Ok(volume_side(world, &export))
    }

    /// Mounts a fresh volume; also says what directory of the host it exports.
    fn mount(&self, cache: Cache) -> Result<(Arc<dyn World>, PathBuf), StackError> {
        let options = VolumeOptions {
            cache,
            series: self.series,
            run_as: self.run_as,
            ..VolumeOptions::new(self.profile)
        };
        match (self.client, self.server) {
            (Client::Auto | Client::Fuse, Server::Server9p) => {
                let world = FuseWorld::new(&options, FuseServer::Own)?;
                if self.keep {
                    world.keep();
                }
                let export = world.export().to_owned();
                Ok((Arc::new(world), export))
            }
            (client, server) => Err(StackError::Unavailable(format!(
                "this version cannot bring up client {client} with server {server}; \
                 `probe9p list stacks` shows what it can"
            ))),
        }
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

/// The native side: in the volume's world, where the same users run.
fn native_side(world: &Arc<dyn World>) -> Result<Side, StackError> {
    let dir = world.native().ok_or_else(|| {
        let client = world.mounted().client;
        StackError::Unavailable(format!(
            "client {client} has no plain directory to compare with"
        ))
    })?;
    Ok(Side::new("native", Arc::clone(world), dir))
}

/// The volume's side: fresh directories are made in the export, and commands find them in the volume.
fn volume_side(world: Arc<dyn World>, export: &Path) -> Side {
    let there = world.path().to_owned();
    Side {
        there,
        ..Side::new("volume", world, export)
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
    let missing = (fuse.state != State::Ready).then_some(fuse.detail);
    Profile::ALL
        .into_iter()
        .map(|profile| ListedStack {
            name: format!("fuse/server9p/{profile}"),
            about: match profile {
                Profile::Golem => "as the VM runtime: QEMU 8.1's behaviour, Linux 5.10's v9fs",
                Profile::Qemu => "as QEMU since 9.2: special files can be made",
                Profile::Posix => "all that the protocol allows",
            },
            missing: missing.clone(),
        })
        .collect()
}
