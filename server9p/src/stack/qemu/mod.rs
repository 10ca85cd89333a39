//! The volume of a QEMU guest with a Debian kernel: with QEMU's own 9p server it is the reference.
//!
//! QEMU runs as an ordinary user, as the VM runtime has it, and shares the host's root with the guest, read-only.
//! The guest's first process is this program, from an initramfs ([`initramfs`]) with the few modules that lead to
//! that root; it speaks with the orchestrator over a virtio port. The volume is QEMU's own server's, or that of a
//! server of ours at another virtio port.

mod cpio;
mod initramfs;
pub mod keeper;
pub mod kernels;
mod machine;
mod program;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use self::{
    keeper::KeeperConfig,
    kernels::Kernel,
    machine::{Accelerator, Machine, Volume},
};
use super::{
    Cache, CommandSpec, Finished, Mounted, StackError, VolumeOptions, World,
    agent::{configure_guest, link::Link},
    fuse_world::server::{Server, run_as},
    guard::Guard,
    guest::{
        GuestConfig, GuestMount,
        root::Root,
        virtio::{SERVER_PORT, VOLUME_TAG},
    },
    live::{Live, Revived, lock},
    process::{self, Helper},
    workdir::Workdir,
};
use crate::profile::Profile;

/// How long an emulated guest may take to boot on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a guest on KVM may take: some machines have it and hang in it.
const KVM_PATIENCE: Duration = Duration::from_secs(10);
/// The guest's memory, in MiB; only what it uses is taken from the host.
const MEMORY: u32 = 768;
/// The program that Debian's package brings.
const QEMU: &str = "qemu-system-x86_64";
/// The msize that the VM runtime asks for; Linux's virtio transport leaves 512000 of it.
const RUNTIME_MSIZE: u32 = 104_857_600;

/// Where the volume is in the guest: not in the run's own directory, of which QEMU's user sees nothing.
const MOUNTPOINT: &str = "/volume";

/// Set when a guest did not boot on KVM, so that no other is tried.
static KVM_FAILED: AtomicBool = AtomicBool::new(false);

/// Who serves a QEMU guest's volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QemuServer {
    /// QEMU's own server: the reference.
    Qemu,
    /// A server process of ours, or a peer.
    Other(Server),
}

impl QemuServer {
    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            QemuServer::Qemu => "qemu",
            QemuServer::Other(server) => server.name(),
        }
    }
}

/// A QEMU and the kernel that it boots.
#[derive(Debug, Clone)]
pub struct Emulator {
    program: PathBuf,
    kernel: Kernel,
}

impl Emulator {
    /// Debian's QEMU, or the one at `program`, with that kernel.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when there is no such program, with what brings it.
    pub fn new(program: Option<&Path>, kernel: Kernel) -> Result<Emulator, StackError> {
        let program = program.unwrap_or(Path::new(QEMU)).to_owned();
        let emulator = Emulator { program, kernel };
        emulator.version().map(|_| emulator)
    }

    /// What it says of itself, "QEMU emulator version 7.2.22 …".
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when it does not start.
    pub fn version(&self) -> Result<String, StackError> {
        let output = Command::new(&self.program)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        let remedy = "install it with `apt install qemu-system-x86`, or name another with --qemu";
        match output {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout);
                Ok(text.lines().next().unwrap_or_default().to_owned())
            }
            Ok(output) => Err(StackError::Unavailable(format!(
                "{} --version {}: {}; {remedy}",
                self.program.display(),
                process::describe(output.status),
                String::from_utf8_lossy(&output.stderr).trim(),
            ))),
            Err(err) => Err(StackError::Unavailable(format!(
                "QEMU cannot be started from {}: {err}; {remedy}",
                self.program.display()
            ))),
        }
    }
}

/// A volume mounted in a QEMU guest, and a plain directory on the host beside its export.
#[derive(Debug)]
pub struct QemuWorld {
    options: VolumeOptions,
    server: QemuServer,
    emulator: Emulator,
    version: String,
    run_as: Option<(u32, u32)>,
    export: PathBuf,
    native: PathBuf,
    revived: Revived,
    mounted: Mutex<Mounted>,
    // Last, so that it is removed when nothing uses it any more.
    workdir: Workdir,
}

impl QemuWorld {
    /// Boots a guest and mounts a fresh export in it.
    ///
    /// # Errors
    /// [`StackError::Unavailable`]: what is missing, and what brings it.
    pub fn new(
        options: &VolumeOptions,
        server: QemuServer,
        emulator: Emulator,
    ) -> Result<QemuWorld, StackError> {
        let run_as = run_as(options)?;
        let version = emulator.version()?;
        let workdir = Workdir::new().map_err(|err| StackError::Unavailable(err.to_string()))?;
        let world = QemuWorld {
            options: options.clone(),
            server,
            emulator,
            version,
            run_as,
            export: workdir.part("export", run_as)?,
            native: workdir.part("native", run_as)?,
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

    /// The run's directory, which holds all others.
    pub fn workdir(&self) -> &Path {
        self.workdir.path()
    }

    /// Leaves the run's directory where it is at the end.
    pub fn keep(&self) {
        self.workdir.keep();
    }

    /// Process ids of the guest's keeper and of the server, if it is one of ours, by what they are.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let live = self.revived.current();
        live.map_or(Vec::new(), |live| live.processes())
    }

    fn live(&self) -> Result<Arc<Live>, StackError> {
        let live = self.revived.live(|| self.bring_up())?;
        *lock(&self.mounted) = Mounted {
            server: self.server.name().into(),
            ..live.link.mounted().clone()
        };
        let mut versions = BTreeMap::from([("qemu".to_owned(), self.version.clone())]);
        match self.server {
            QemuServer::Qemu => versions.insert("server".into(), self.version.clone()),
            QemuServer::Other(server) => {
                versions.extend(server.versions());
                None
            }
        };
        lock(&self.mounted).versions = versions;
        Ok(live)
    }

    /// On KVM where that is there and boots in time, else without.
    fn bring_up(&self) -> Result<Live, StackError> {
        if may_use_kvm(self.run_as) && !KVM_FAILED.load(Ordering::Relaxed) {
            match self.boot(Accelerator::Kvm, KVM_PATIENCE) {
                Ok(live) => return Ok(live),
                Err(why) => {
                    KVM_FAILED.store(true, Ordering::Relaxed);
                    tracing::info!("no guest boots on KVM here, so TCG is taken: {why}");
                }
            }
        }
        self.boot(Accelerator::Tcg, PATIENCE)
    }

    fn boot(&self, accelerator: Accelerator, patience: Duration) -> Result<Live, StackError> {
        let failed = |what: &'static str| {
            move |err: io::Error| {
                StackError::Unavailable(format!("{what} cannot be started: {err}"))
            }
        };
        let kernel = File::open(&self.emulator.kernel.image).map_err(|err| {
            let path = self.emulator.kernel.image.display();
            StackError::Unavailable(format!("the guest's kernel {path} cannot be read: {err}"))
        })?;
        let program = process::program().map_err(failed("the guest"))?;
        let initramfs = initramfs::open(&program, &self.emulator.kernel)?;
        let (link, guest_end) = UnixStream::pair().map_err(failed("the guest's link"))?;
        let (connection, served) = match self.server {
            QemuServer::Qemu => (None, None),
            QemuServer::Other(server) => {
                let (client, served) =
                    UnixStream::pair().map_err(failed("the server's connection"))?;
                let served = server.start(&self.export, &self.options, self.run_as, served)?;
                (Some(client), Some(served))
            }
        };
        let machine = Machine {
            accelerator,
            memory: MEMORY,
            kernel: kernel.as_fd(),
            initramfs: initramfs.as_fd(),
            agent: guest_end.as_fd(),
            volume: match &connection {
                None => Volume::Qemu {
                    export: &self.export,
                    read_only: self.options.read_only,
                },
                Some(connection) => Volume::Other(connection.as_fd()),
            },
        };
        let mut keep: Vec<BorrowedFd> = vec![kernel.as_fd(), initramfs.as_fd(), guest_end.as_fd()];
        keep.extend(connection.as_ref().map(AsFd::as_fd));
        let config = KeeperConfig {
            guard: Guard::for_this_user(),
            program: self.emulator.program.clone(),
            arguments: keeper::plain(machine.arguments()),
            run_as: self.run_as,
            keep: keep.iter().map(AsRawFd::as_raw_fd).collect(),
            link: guest_end.as_raw_fd(),
        };
        let mut keeper =
            Helper::start("the guest", "@qemu", &config, &keep).map_err(failed("the guest"))?;
        drop((guest_end, connection));
        let opened = configure_guest(&link, &self.guest())
            .map_err(failed("the guest"))
            .and_then(|()| Link::open(link, patience));
        match opened {
            Ok(link) => Ok(Live::new(link, keeper, served, true)),
            Err(err) => {
                keeper.wait(Duration::from_millis(500));
                keeper.kill();
                Err(StackError::Unavailable(format!(
                    "the guest did not come up on {}: {err}; {}",
                    accelerator.name(),
                    keeper.obituary()
                )))
            }
        }
    }

    fn guest(&self) -> GuestConfig {
        GuestConfig {
            client: "qemu".into(),
            modules: None,
            root: match self.options.profile {
                Profile::Golem => Root::of_runtime(),
                Profile::Qemu | Profile::Posix => Root::ordinary(),
            },
            mount: self.mount(),
        }
    }

    fn mount(&self) -> GuestMount {
        let transport = match self.server {
            QemuServer::Qemu => format!("trans=virtio,version=9p2000.L,msize={RUNTIME_MSIZE}"),
            QemuServer::Other(server) => format!(
                "trans=fd,version=9p2000.L,msize={},aname={}",
                self.options.msize,
                server.aname(&self.export)
            ),
        };
        let cache = match self.options.cache {
            Cache::None => String::new(),
            cache => format!(",cache={cache}"),
        };
        GuestMount {
            source: VOLUME_TAG.into(),
            mountpoint: MOUNTPOINT.into(),
            options: transport + &cache,
            modules: Vec::new(),
            port: match self.server {
                QemuServer::Qemu => None,
                QemuServer::Other(_) => Some(SERVER_PORT.into()),
            },
        }
    }
}

/// Whether the user that QEMU will run as may open KVM's device.
fn may_use_kvm(run_as: Option<(u32, u32)>) -> bool {
    let Ok(stat) = rustix::fs::stat("/dev/kvm") else {
        return false;
    };
    match run_as {
        // It will have no other group than this one.
        Some((uid, gid)) => {
            let shift = match (stat.st_uid == uid, stat.st_gid == gid) {
                (true, _) => 6,
                (false, true) => 3,
                (false, false) => 0,
            };
            stat.st_mode >> shift & 0o6 == 0o6
        }
        None => {
            let wanted = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
            rustix::fs::access("/dev/kvm", wanted).is_ok()
        }
    }
}

impl World for QemuWorld {
    fn path(&self) -> &Path {
        Path::new(MOUNTPOINT)
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

impl Drop for QemuWorld {
    fn drop(&mut self) {
        self.revived.end();
    }
}
