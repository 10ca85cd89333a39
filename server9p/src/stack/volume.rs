//! A volume of ours: what every client's has in common, whoever mounts it and whatever provides its directory.
//!
//! [`VolumeWorld`] holds the run's directories, brings the volume up when it is needed and again when it was
//! lost, and says what it turned out to be. What differs from client to client is a [`Client`]: how it mounts.
//! What differs by `--server` is a [`Source`]. A new client is a new implementation of the trait; a new source is
//! a variant and its arm in those clients that can have it.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use super::{
    Cache, CommandSpec, Conditions, Finished, Mounted, StackError, VolumeOptions, World,
    agent::process::HostRoot,
    live::{Live, Revived, Served, lock},
    local::{self, Local},
    namespaces::Namespaces,
    path::PathWorld,
    root::{Root, put_image_content},
    server::{Door, Server, Site, run_as},
    workdir::Workdir,
};
use crate::{
    profile::Profile,
    session::{Counters, Wire},
};

/// What provides a volume's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A 9P server, in a process that we start.
    Server(Server),
    /// QEMU's own 9P server, which serves its own guest and nobody else: the reference.
    Qemu,
    /// None: a file system of the client's own kernel.
    Local(Local),
}

impl Source {
    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Source::Server(server) => server.name(),
            Source::Qemu => "qemu",
            Source::Local(local) => local.name(),
        }
    }

    /// The server process, for clients that can have nothing else.
    ///
    /// # Errors
    /// [`StackError::Unavailable`], with what `client` could have instead.
    pub fn server(self, client: &str) -> Result<Server, StackError> {
        match self {
            Source::Server(server) => Ok(server),
            Source::Qemu => Err(StackError::Unavailable(format!(
                "QEMU's own 9P server serves no client {client}, only its guest: take --client qemu, or \
                 --server server9p"
            ))),
            Source::Local(local) => Err(StackError::Unavailable(format!(
                "client {client} has no volume of the kind {}: take --client uml or fuse",
                local.name()
            ))),
        }
    }
}

impl From<Local> for Source {
    fn from(local: Local) -> Source {
        Source::Local(local)
    }
}

impl From<Server> for Source {
    fn from(server: Server) -> Source {
        Source::Server(server)
    }
}

/// What mounts a volume, and runs the commands that use it.
pub trait Client: fmt::Debug + Send + Sync {
    /// Starts the processes of the volume and waits until it is up.
    ///
    /// # Errors
    /// [`StackError::Unavailable`]: what is missing, and what brings it.
    fn bring_up(&self, place: &Place) -> Result<Live, StackError>;

    /// Whether its commands run on this host's kernel, and so reach the host's directories.
    fn on_host(&self) -> bool;

    /// A world of ordinary [`Conditions`] with the same users, in which the plain directory is where it is: for the
    /// native side, where the volume's own world has the VM runtime's conditions.
    ///
    /// # Errors
    /// [`StackError::Unavailable`].
    fn ordinary(&self, _: &Place) -> Result<Option<Arc<dyn World>>, StackError> {
        Ok(None)
    }

    /// Where commands find the volume, when not in the run's own directory.
    fn mountpoint(&self) -> Option<&Path> {
        None
    }

    /// Versions of its parts, by name, besides the server's.
    fn versions(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Removes what killed processes may have left.
    fn clean_up(&self, _: &Place) {}
}

/// What a volume is made of, and where.
#[derive(Debug)]
pub struct Place {
    /// What it shall be.
    pub options: VolumeOptions,
    /// What provides it.
    pub source: Source,
    /// Whom its server, or QEMU, becomes when root starts it.
    pub run_as: Option<(u32, u32)>,
    /// The directory that is served, on the host.
    pub export: PathBuf,
    /// A plain directory beside it.
    pub native: PathBuf,
    /// Where commands find the volume.
    pub mountpoint: PathBuf,
    /// What goes over the wire, over all times that it is brought up.
    counters: Counters,
    /// The way to the server, for a second client.
    door: Arc<Mutex<Option<Door>>>,
    /// Whether this is the second client of an export.
    second: bool,
    // Last, so that it is removed when nothing uses it any more.
    workdir: Arc<Workdir>,
}

impl Place {
    /// Starts a server for the export: the client's end of its connection, and its process. For a second client there is
    /// no process, but a connection to the one that the first has.
    ///
    /// # Errors
    /// [`StackError::Unavailable`].
    pub fn start(&self, server: Server) -> Result<(UnixStream, Option<Served>), StackError> {
        if self.second {
            let door = lock(&self.door).clone();
            let connection = door.ok_or(io::ErrorKind::NotConnected.into());
            let connection = connection.and_then(|door| door.connect()).map_err(|err| {
                StackError::Unavailable(format!(
                    "the 9P server {server} takes no second client: {err}"
                ))
            })?;
            return Ok((connection, None));
        }
        let started = server.start(&Site {
            export: &self.export,
            options: &self.options,
            run_as: self.run_as,
            scratch: self.workdir.path(),
            counters: &self.counters,
        })?;
        *lock(&self.door) = Some(started.door);
        Ok((started.connection, Some(started.served)))
    }

    /// What `mount -o` takes for a v9fs that reaches `server` by `transport` (`trans=tcp,port=564`).
    pub fn v9fs_options(&self, transport: &str, server: Server) -> String {
        format!(
            "{transport},version=9p2000.L,msize={},aname={}{}",
            self.options.msize,
            server.aname(&self.export),
            self.cache_option()
        )
    }

    /// What follows the other options of a v9fs mount: nothing for `none`, which is its default.
    pub fn cache_option(&self) -> String {
        match self.options.cache {
            Cache::None => String::new(),
            cache => format!(",cache={cache}"),
        }
    }

    /// The file of a storage volume, formatted for `owner` when it is not there yet; nothing for other volumes.
    ///
    /// # Errors
    /// [`StackError::Unavailable`].
    pub fn image(&self, owner: Option<(u32, u32)>) -> Result<Option<PathBuf>, StackError> {
        if self.source != Source::Local(Local::Storage) {
            return Ok(None);
        }
        let image = self.workdir.path().join("storage.img");
        if !image.exists() {
            local::format(&image, owner)?;
        }
        Ok(Some(image))
    }

    /// The VM runtime's root, for commands on this host in these namespaces: where the profile has it, and nobody
    /// else would see it.
    ///
    /// # Errors
    /// [`StackError::Unavailable`].
    pub fn host_root(
        &self,
        namespaces: Option<&Namespaces>,
    ) -> Result<Option<HostRoot>, StackError> {
        if self.options.profile != Profile::Golem || namespaces.is_none() {
            return Ok(None);
        }
        Ok(Some(HostRoot {
            root: Root::of_runtime(),
            staging: self.directory("root")?,
            run: self.workdir.path().to_owned(),
        }))
    }

    /// A directory of the run, made when it is not there yet.
    ///
    /// # Errors
    /// [`StackError::Unavailable`].
    pub fn directory(&self, name: &str) -> Result<PathBuf, StackError> {
        let name = match self.second {
            true => format!("{name}-2"),
            false => name.to_owned(),
        };
        let path = self.workdir.path().join(name);
        match fs::create_dir(&path) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(StackError::Unavailable(
                format!("directory {} cannot be made: {err}", path.display()),
            )),
            _ => Ok(path),
        }
    }
}

/// A volume that comes up when it is needed, and a plain directory beside its export.
#[derive(Debug)]
pub struct VolumeWorld {
    // Ends before the first, on whose export it is.
    twin: OnceLock<Result<Arc<VolumeWorld>, StackError>>,
    client: Arc<dyn Client>,
    revived: Revived,
    mounted: Mutex<Mounted>,
    place: Place,
}

impl VolumeWorld {
    /// Brings a volume up, with a fresh export under the temporary directory.
    ///
    /// # Errors
    /// [`StackError::Unavailable`]: what is missing, and what brings it.
    pub fn new(
        options: &VolumeOptions,
        source: impl Into<Source>,
        client: Box<dyn Client>,
    ) -> Result<VolumeWorld, StackError> {
        let run_as = run_as(options)?;
        let workdir = Workdir::new().map_err(|err| StackError::Unavailable(err.to_string()))?;
        let mountpoint = match client.mountpoint() {
            Some(elsewhere) => elsewhere.to_owned(),
            None => workdir.part("mnt", run_as)?,
        };
        let native = workdir.part("native", run_as)?;
        if options.profile == Profile::Golem {
            // A mount point on the host may hide it too.
            for directory in [&native, &mountpoint] {
                if directory.starts_with(workdir.path()) {
                    put_image_content(directory).map_err(StackError::Unavailable)?;
                }
            }
        }
        let counters = Counters::new().map_err(|err| {
            StackError::Unavailable(format!("no memory can be shared with the server: {err}"))
        })?;
        let world = VolumeWorld {
            twin: OnceLock::new(),
            client: client.into(),
            revived: Revived::default(),
            mounted: Mutex::default(),
            place: Place {
                options: options.clone(),
                source: source.into(),
                run_as,
                export: workdir.part("export", run_as)?,
                native,
                mountpoint,
                counters,
                door: Arc::default(),
                second: false,
                workdir: Arc::new(workdir),
            },
        };
        world.live()?;
        Ok(world)
    }

    /// The directory that is served, on the host.
    pub fn export(&self) -> &Path {
        &self.place.export
    }

    /// The directory on the host for the native side. Commands of the volume's world reach it only where
    /// [`World::native`] gives it too.
    pub fn host_native(&self) -> &Path {
        &self.place.native
    }

    /// Where commands of ordinary conditions run on the host, beside the volume's own: in this world itself where
    /// its conditions are such, else in one of their own.
    ///
    /// # Errors
    /// [`StackError::Unavailable`].
    pub fn ordinary(self: &Arc<Self>) -> Result<Arc<dyn World>, StackError> {
        if !self.client.on_host() {
            return Ok(Arc::new(PathWorld::new(&self.place.native)?));
        }
        let other = match self.mounted().conditions {
            Conditions::Runtime => self.client.ordinary(&self.place)?,
            Conditions::Ordinary | Conditions::Refused(_) => None,
        };
        Ok(other.unwrap_or_else(|| Arc::clone(self) as _))
    }

    /// Whether what is made in the export is seen on the volume.
    pub fn shared(&self) -> bool {
        !matches!(self.place.source, Source::Local(_))
    }

    /// A second client of the same server process, of the same kind: brought up when it is first asked for.
    ///
    /// # Errors
    /// [`StackError::Unavailable`]: why there can be none.
    fn second(&self) -> Result<Arc<VolumeWorld>, StackError> {
        // Whatever ended the first client ended its server, too.
        self.live()?;
        let make = || {
            let Source::Server(_) = self.place.source else {
                let what = self.place.source.name();
                return Err(StackError::Unavailable(format!(
                    "a volume of {what} has one client alone; take --server server9p"
                )));
            };
            let first = &self.place;
            let world = VolumeWorld {
                twin: OnceLock::new(),
                client: Arc::clone(&self.client),
                revived: Revived::default(),
                mounted: Mutex::default(),
                place: Place {
                    options: first.options.clone(),
                    source: first.source,
                    run_as: first.run_as,
                    export: first.export.clone(),
                    native: first.native.clone(),
                    mountpoint: match self.client.mountpoint() {
                        Some(elsewhere) => elsewhere.to_owned(),
                        None => first.workdir.part("mnt-2", first.run_as)?,
                    },
                    counters: first.counters.clone(),
                    door: Arc::clone(&first.door),
                    second: true,
                    workdir: Arc::clone(&first.workdir),
                },
            };
            world.live()?;
            Ok(Arc::new(world))
        };
        self.twin.get_or_init(make).clone()
    }

    /// Leaves the run's directory where it is when the volume is gone.
    pub fn keep(&self) {
        self.place.workdir.keep();
    }

    /// The run's directory, which holds all others.
    pub fn workdir(&self) -> &Path {
        self.place.workdir.path()
    }

    /// Process ids of the server, if it is a process of ours, and of the agent or the guest's keeper, by what
    /// they are.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let live = self.revived.current();
        live.map_or(Vec::new(), |live| live.processes())
    }

    fn live(&self) -> Result<Arc<Live>, StackError> {
        self.revived.live(|| {
            if let Some(Ok(twin)) = self.twin.get() {
                // Its server was the one that is no more.
                twin.revived.end();
            }
            let live = self.client.bring_up(&self.place)?;
            *lock(&self.mounted) = self.describe(live.link.mounted());
            Ok(live)
        })
    }

    /// What came of a mount that its agent describes so.
    fn describe(&self, mounted: &Mounted) -> Mounted {
        let mut versions = self.client.versions();
        match self.place.source {
            Source::Server(server) => versions.extend(server.versions()),
            Source::Qemu => {
                let version = versions.get("qemu").cloned().unwrap_or_default();
                versions.insert("server".into(), version);
            }
            Source::Local(_) => {}
        }
        Mounted {
            server: self.place.source.name().into(),
            versions,
            ..mounted.clone()
        }
    }
}

impl World for VolumeWorld {
    fn path(&self) -> &Path {
        &self.place.mountpoint
    }

    fn mounted(&self) -> Mounted {
        lock(&self.mounted).clone()
    }

    fn run(&self, command: &CommandSpec) -> Result<Finished, StackError> {
        self.live()?.link.run(command)
    }

    fn server_process(&self) -> Option<u32> {
        let live = self.shared().then(|| self.revived.current()).flatten();
        live.map(|live| live.server_process())
    }

    fn native(&self) -> Option<&Path> {
        self.client.on_host().then_some(self.place.native.as_path())
    }

    fn remount(&self) -> bool {
        let can = self.shared();
        if can {
            self.revived.end();
        }
        can
    }

    fn losses(&self) -> u64 {
        self.revived.losses()
    }

    fn wire(&self) -> Option<Wire> {
        let counts = self.place.source == Source::Server(Server::Own);
        counts.then(|| self.place.counters.read())
    }

    fn twin(&self) -> Result<Arc<dyn World>, StackError> {
        Ok(self.second()?)
    }

    fn stop(&self) {
        if let Some(Ok(twin)) = self.twin.get() {
            twin.stop();
        }
        self.revived.stop();
    }
}

impl Drop for VolumeWorld {
    fn drop(&mut self) {
        self.revived.end();
        self.client.clean_up(&self.place);
    }
}
