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
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use self::{
    keeper::KeeperConfig,
    kernels::Kernel,
    machine::{Accelerator, Machine, Volume},
};
use super::{
    StackError, cache,
    guard::Guard,
    guest::{
        self, GuestConfig, GuestMount,
        ground::NINE,
        virtio::{SERVER_PORT, VOLUME_TAG},
    },
    live::Live,
    process::{self, Helper},
    root::Root,
    server::why_not,
    volume::{Client, Place, Source},
};
use crate::profile::Profile;

/// How long an emulated guest may take to boot on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a guest on KVM may take: some machines have it and hang in it.
const KVM_PATIENCE: Duration = Duration::from_secs(10);
/// The guest's memory, in MiB; only what it uses is taken from the host.
const MEMORY: u32 = 768;
/// Its first block device.
const DISK: &str = "/dev/vda";
/// The program that Debian's package brings.
const QEMU: &str = "qemu-system-x86_64";
/// The msize that the VM runtime asks for; Linux's virtio transport leaves 512000 of it.
const RUNTIME_MSIZE: u32 = 104_857_600;

/// Where the volume is in the guest: not in the run's own directory, of which QEMU's user sees nothing.
const MOUNTPOINT: &str = "/volume";

/// Set when a guest did not boot on KVM, so that no other is tried.
static KVM_FAILED: AtomicBool = AtomicBool::new(false);

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
        let program = match program {
            None => PathBuf::from(QEMU),
            Some(named) if named.components().count() == 1 => named.to_owned(),
            Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        };
        let emulator = Emulator { program, kernel };
        emulator.version().map(|_| emulator)
    }

    /// The QEMU whose own server is the reference of `profile`: for `golem` the system's, which refuses special files
    /// as the VM runtime's 8.1 does, for `qemu` one in which that is mended, from the user's cache or the system's.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when there is none, with what brings it.
    pub fn reference(profile: Profile, kernel: Kernel) -> Result<Emulator, StackError> {
        if profile != Profile::Qemu {
            return Emulator::new(None, kernel);
        }
        let programs = cache::unpacked("qemu-")
            .into_iter()
            .map(|dir| dir.join(QEMU));
        for program in programs.chain([PathBuf::from(QEMU)]) {
            let emulator = Emulator {
                program,
                kernel: kernel.clone(),
            };
            if emulator
                .version()
                .is_ok_and(|version| makes_special_files(&version))
            {
                return Ok(emulator);
            }
        }
        Err(StackError::Unavailable(
            "profile qemu is that of QEMU 9.2 or later, and there is none: `scripts/setup --qemu 10` unpacks one \
             into ~/.cache/probe9p, or name one with --qemu"
                .into(),
        ))
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

/// Whether a QEMU has commit d06a9d843fb6, by what it says of itself: 9.1.3, and 9.2.
fn makes_special_files(version: &str) -> bool {
    let number = version
        .strip_prefix("QEMU emulator version ")
        .unwrap_or_default();
    let digits = number.split(|c: char| !c.is_ascii_digit()).take(3);
    let digits: Vec<u32> = digits.map_while(|digits| digits.parse().ok()).collect();
    digits >= vec![9, 1, 3]
}

/// Mounts in a guest of this emulator.
#[derive(Debug)]
pub struct QemuClient {
    emulator: Emulator,
    version: String,
}

impl QemuClient {
    /// # Errors
    /// [`StackError::Unavailable`] when the emulator does not start.
    pub fn new(emulator: Emulator) -> Result<QemuClient, StackError> {
        let version = emulator.version()?;
        Ok(QemuClient { emulator, version })
    }
}

impl Client for QemuClient {
    /// On KVM where that is there and boots in time, else without.
    fn bring_up(&self, place: &Place) -> Result<Live, StackError> {
        if may_use_kvm(place.run_as) && !KVM_FAILED.load(Ordering::Relaxed) {
            match self.boot(place, Accelerator::Kvm, KVM_PATIENCE) {
                Ok(live) => return Ok(live),
                Err(why) => {
                    KVM_FAILED.store(true, Ordering::Relaxed);
                    tracing::info!("no guest boots on KVM here, so TCG is taken: {why}");
                }
            }
        }
        self.boot(place, Accelerator::Tcg, PATIENCE)
    }

    fn on_host(&self) -> bool {
        false
    }

    fn mountpoint(&self) -> Option<&Path> {
        Some(Path::new(MOUNTPOINT))
    }

    fn versions(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("qemu".to_owned(), self.version.clone())])
    }
}

impl QemuClient {
    fn boot(
        &self,
        place: &Place,
        accelerator: Accelerator,
        patience: Duration,
    ) -> Result<Live, StackError> {
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
        let (connection, served) = match place.source {
            Source::Qemu | Source::Local(_) => (None, None),
            Source::Server(server) => {
                let (connection, served) = place.start(server)?;
                (Some(connection), served)
            }
        };
        let trace = match (&place.source, &place.options.trace) {
            (Source::Qemu, Some(path)) => Some(open_trace(path)?),
            _ => None,
        };
        let disk = match place.image(place.run_as)? {
            None => None,
            Some(path) => {
                let opened = File::options().read(true).write(true).open(path);
                Some(opened.map_err(failed("the storage volume"))?)
            }
        };
        let machine = Machine {
            accelerator,
            memory: MEMORY,
            kernel: kernel.as_fd(),
            initramfs: initramfs.as_fd(),
            agent: guest_end.as_fd(),
            volume: match (&connection, &disk) {
                (Some(connection), _) => Volume::Other(connection.as_fd()),
                (None, Some(disk)) => Volume::Disk(disk.as_fd()),
                (None, None) if place.source == Source::Qemu => Volume::Qemu {
                    export: &place.export,
                    read_only: place.options.read_only,
                },
                (None, None) => Volume::None,
            },
            trace: trace.as_ref().map(AsFd::as_fd),
        };
        let mut keep: Vec<BorrowedFd> = vec![kernel.as_fd(), initramfs.as_fd(), guest_end.as_fd()];
        keep.extend(connection.as_ref().map(AsFd::as_fd));
        keep.extend(trace.as_ref().map(AsFd::as_fd));
        keep.extend(disk.as_ref().map(AsFd::as_fd));
        let config = KeeperConfig {
            guard: Guard::for_this_user(),
            program: self.emulator.program.clone(),
            arguments: keeper::plain(machine.arguments()),
            run_as: place.run_as,
            keep: keep.iter().map(AsRawFd::as_raw_fd).collect(),
            link: guest_end.as_raw_fd(),
        };
        let keeper =
            Helper::start("the guest", "@qemu", &config, &keep).map_err(failed("the guest"))?;
        drop((guest_end, connection));
        let guest = GuestConfig {
            client: "qemu".into(),
            modules: None,
            root: Root::of(place.options.profile),
            mount: mount(place),
        };
        match guest::come_up(link, keeper, &guest, patience) {
            Ok((link, keeper)) => Ok(Live::new(link, keeper, served, true)),
            Err(err) => {
                let why = why_not(served, err);
                Err(StackError::Unavailable(format!(
                    "the guest did not come up on {}: {why}",
                    accelerator.name()
                )))
            }
        }
    }
}

fn mount(place: &Place) -> GuestMount {
    let (options, port) = match place.source {
        Source::Local(local) => return local.mount(&place.mountpoint, DISK),
        Source::Qemu => (
            format!(
                "trans=virtio,version=9p2000.L,msize={RUNTIME_MSIZE}{}",
                place.cache_option()
            ),
            None,
        ),
        Source::Server(server) => (
            place.v9fs_options("trans=fd", server),
            Some(SERVER_PORT.into()),
        ),
    };
    GuestMount {
        source: VOLUME_TAG.into(),
        mountpoint: place.mountpoint.clone(),
        fs_type: NINE.into(),
        options,
        modules: Vec::new(),
        port,
    }
}

/// Makes the file for QEMU's trace, which QEMU opens again by its descriptor, as whichever user it runs as.
fn open_trace(path: &Path) -> Result<File, StackError> {
    use std::os::unix::fs::PermissionsExt as _;
    let made = File::create(path).and_then(|file| {
        file.set_permissions(fs::Permissions::from_mode(0o666))?;
        Ok(file)
    });
    made.map_err(|err| {
        let path = path.display();
        StackError::Unavailable(format!("the trace {path} cannot be written: {err}"))
    })
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

#[cfg(test)]
mod tests {
    use super::makes_special_files;

    #[test]
    fn special_files_are_made_from_9_1_3_on() {
        for (version, makes) in [
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)",
                false,
            ),
            ("QEMU emulator version 9.1.2", false),
            ("QEMU emulator version 9.1.3", true),
            ("QEMU emulator version 9.2.0", true),
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2~bpo12+1)",
                true,
            ),
            ("something else", false),
        ] {
            assert_eq!(makes_special_files(version), makes, "{version}");
        }
    }
}
