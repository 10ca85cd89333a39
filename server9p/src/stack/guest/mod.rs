//! The first process of a guest: `@guest`.
//!
//! It is this program again, started by the guest's kernel: it brings up what a system needs, waits for its
//! orders on the agent's link, loads modules, lays out the root that commands see, mounts the volume with the
//! real v9fs, and then is an agent like any other. When that ends, it powers off.

pub mod ground;
pub mod modules;
pub mod network;
mod pages;
pub mod pump;
pub mod system;
pub mod virtio;

use std::{
    env,
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::ground::GuestGround;
use super::{
    StackError,
    agent::{self, link::Link},
    process::Helper,
    root::Root,
};

/// The guest's address on its only link.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Our address on that link. No other host or interface has it, nor this one.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The port where the 9P server answers.
pub const PORT_9P: u16 = 564;
/// The port where the orchestrator answers.
pub const PORT_AGENT: u16 = 5640;

/// What a guest is told on its link, before anything else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GuestConfig {
    /// `uml` or `qemu`.
    pub client: String,
    /// Directory of its kernel's modules, as the guest sees it; none when they are loaded already.
    pub modules: Option<PathBuf>,
    /// The root that commands see.
    pub root: Root,
    /// The volume.
    pub mount: GuestMount,
}

/// A mount of the volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GuestMount {
    /// What is mounted: an address, or a tag.
    pub source: String,
    /// Where.
    pub mountpoint: PathBuf,
    /// Its type, `9p` unless no server takes part.
    pub fs_type: String,
    /// The options, as `mount -o` takes them.
    pub options: String,
    /// Modules that it needs, without those that they need.
    pub modules: Vec<String>,
    /// The virtio port where the server is, for a mount that takes it as a descriptor.
    pub port: Option<String>,
}

/// On the orchestrator's side: tells the guest at the other end of `link`, which `keeper` keeps, what it is to be,
/// and waits until its volume is up.
///
/// # Errors
/// [`StackError::Unavailable`]: why the volume is not up; the guest is dead then.
pub fn come_up(
    link: UnixStream,
    mut keeper: Helper,
    guest: &GuestConfig,
    patience: Duration,
) -> Result<(Link, Helper), StackError> {
    let opened = agent::configure_guest(&link, guest)
        .map_err(|err| StackError::Lost(format!("the guest takes no orders ({err})")))
        .and_then(|()| Link::open(link, patience));
    match opened {
        Ok(link) => Ok((link, keeper)),
        Err(err) => {
            // It may be about to say why.
            keeper.wait(Duration::from_millis(500));
            keeper.kill();
            let obituary = keeper.obituary();
            Err(match err {
                StackError::Lost(why) => StackError::Unavailable(format!("{why}: {obituary}")),
                told => told,
            })
        }
    }
}

/// Is the guest's first process; returns only when it could not power off.
pub fn main() -> ExitCode {
    end(serve())
}

/// Ends the guest, when its first process has nothing more to do.
fn end(served: Result<(), String>) -> ExitCode {
    if let Err(why) = served {
        eprintln!("probe9p guest: {why}");
    }
    rustix::fs::sync();
    // SAFETY: a system call without pointers; the kernel this ends is the guest's.
    unsafe { libc::reboot(libc::LINUX_REBOOT_CMD_POWER_OFF) };
    ExitCode::FAILURE
}

fn serve() -> Result<(), String> {
    forget_parameters();
    system::mount_system()?;
    network::up(GUEST)?;
    let address = SocketAddrV4::new(HOST, PORT_AGENT);
    let link = TcpStream::connect(address)
        .map_err(|err| format!("the orchestrator does not answer at {address}: {err}"))?;
    link.set_nodelay(true)
        .map_err(|err| format!("the link cannot be set up: {err}"))?;
    agent::serve_guest(link, GuestGround::new).map_err(|err| format!("the link failed: {err}"))
}

/// A kernel puts those of its parameters that it does not know into its first process's environment; commands
/// must not see them.
fn forget_parameters() {
    for (name, _) in env::vars_os() {
        if name != "HOME" && name != "TERM" {
            // SAFETY: this process has one thread.
            unsafe { env::remove_var(name) };
        }
    }
}
