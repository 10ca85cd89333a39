//! The first process of a QEMU guest: `@guest-virtio`.
//!
//! It starts in the first root that the orchestrator made, with nothing but this program and modules. It loads
//! them, takes the host's root, which is shared read-only, as its own, and is from there on a guest's first
//! process like any other, with a virtio port for its link.

use std::{
    env, fs,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use nix::{
    mount::{MsFlags, mount},
    unistd::{chdir, chroot},
};

use super::{end, ground::GuestGround, modules, network, system};
use crate::stack::agent;

/// Where the first root has the modules to load.
pub const MODULES: &str = "/modules";
/// The file there that lists them, one a line, in order.
pub const ORDER: &str = "order";
/// The tag of the share that is the host's root.
pub const HOST_TAG: &str = "host";
/// The tag of the volume, as the VM runtime names its first.
pub const VOLUME_TAG: &str = "mnt0";
/// The name of the port that is the agent's link.
pub const AGENT_PORT: &str = "probe9p.agent";
/// The name of the port where a 9P server answers that is not QEMU's own.
pub const SERVER_PORT: &str = "probe9p.server";

/// The host's root changes little while a guest runs, and its files are opened over and over.
const HOST_OPTIONS: &str = "trans=virtio,version=9p2000.L,msize=512000,cache=loose";

/// Is the guest's first process; returns only when it could not power off.
pub fn main() -> ExitCode {
    end(serve())
}

fn serve() -> Result<(), String> {
    // SAFETY: this process has one thread. It was for the loader of this program alone.
    unsafe { env::remove_var("LD_LIBRARY_PATH") };
    system::mount_system()?;
    let order = Path::new(MODULES).join(ORDER);
    let order = fs::read_to_string(&order)
        .map_err(|err| format!("the guest cannot read {}: {err}", order.display()))?;
    modules::load_files(Path::new(MODULES), order.lines())?;
    take_hosts_root()?;
    network::loopback()?;
    let link = open_port(AGENT_PORT)?;
    agent::serve_guest(link, GuestGround::new).map_err(|err| format!("the link failed: {err}"))
}

fn take_hosts_root() -> Result<(), String> {
    let at = "/host";
    let none: Option<&str> = None;
    let step = |what: &'static str| {
        move |err: nix::Error| {
            format!(
                "the guest cannot take the host's root: {what}: {}",
                err.desc()
            )
        }
    };
    let flags = MsFlags::MS_RDONLY;
    mount(Some(HOST_TAG), at, Some("9p"), flags, Some(HOST_OPTIONS))
        .map_err(step("mounting it"))?;
    for point in ["/proc", "/sys", "/dev"] {
        let to = format!("{at}{point}");
        mount(Some(point), to.as_str(), none, MsFlags::MS_MOVE, none)
            .map_err(step("moving /proc, /sys and /dev"))?;
    }
    chdir(at).map_err(step("entering it"))?;
    mount(Some("."), "/", none, MsFlags::MS_MOVE, none).map_err(step("moving it"))?;
    chroot(".").map_err(step("changing to it"))?;
    chdir("/").map_err(step("entering /"))
}

/// Opens the virtio port of this name. Without udev it has no link of that name; the kernel knows it.
///
/// # Errors
/// A sentence that names the port.
pub fn open_port(name: &str) -> Result<File, String> {
    let device = find_port(name).ok_or_else(|| format!("the guest has no virtio port {name}"))?;
    let opened = File::options().read(true).write(true).open(&device);
    opened.map_err(|err| format!("the guest cannot open {}: {err}", device.display()))
}

fn find_port(name: &str) -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    let named = |port: &Path| -> io::Result<bool> {
        Ok(fs::read_to_string(port.join("name"))?.trim() == name)
    };
    let mut ports = ports.flatten().map(|entry| entry.path());
    let port = ports.find(|port| named(port).unwrap_or(false))?;
    Some(Path::new("/dev").join(port.file_name()?))
}
