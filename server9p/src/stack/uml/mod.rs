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
    fs,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use self::{keeper::KeeperConfig, kernels::Kernel};
use super::{
    StackError,
    guard::Guard,
    guest::{self, GuestConfig, GuestMount, HOST, PORT_9P, ground::NINE},
    live::Live,
    local::Local,
    process::{self, Helper},
    processor::Together,
    root::Root,
    server::{Server, why_not},
    volume::{Client, Place, Source},
};

/// How long a guest may take to boot on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The guest's memory, in MiB; only what it uses is taken from the host.
const MEMORY: u32 = 768;
/// Its first block device.
const DISK: &str = "/dev/ubda";

/// Mounts in a user-mode Linux with this kernel.
#[derive(Debug, Clone)]
pub struct UmlClient {
    /// What the guest runs.
    pub kernel: Kernel,
}

impl Client for UmlClient {
    fn bring_up(&self, place: &Place) -> Result<Live, StackError> {
        let failed = |what: &'static str| {
            move |err: std::io::Error| {
                StackError::Unavailable(format!("{what} cannot be started: {err}"))
            }
        };
        let together = Together::enter();
        let (client_end, served, mount) = match place.source {
            Source::Local(local) => {
                // Nobody asks for a server.
                let (unused, _) = UnixStream::pair().map_err(failed("the guest's link"))?;
                (unused, None, local_mount(local, place))
            }
            Source::Server(_) | Source::Qemu => {
                let server = place.source.server("uml")?;
                let (client_end, served) = place.start(server)?;
                (client_end, served, self.mount(place, server))
            }
        };
        let (link, guest_end) = UnixStream::pair().map_err(failed("the guest's link"))?;
        let config = KeeperConfig {
            link: guest_end.as_raw_fd(),
            server: client_end.as_raw_fd(),
            guard: Guard::for_this_user(),
            kernel: self.kernel.binary.clone(),
            init: process::program().map_err(failed("the guest"))?,
            memory: MEMORY,
            disk: place.image(None)?,
            directory: place.directory("uml")?,
        };
        let keep = [guest_end.as_fd(), client_end.as_fd()];
        let keeper =
            Helper::start("the guest", "@uml", &config, &keep).map_err(failed("the guest"))?;
        drop(together);
        drop((guest_end, client_end));
        let guest = GuestConfig {
            client: "uml".into(),
            modules: Some(self.kernel.modules.clone()),
            root: Root::of(place.options.profile),
            mount,
        };
        match guest::come_up(link, keeper, &guest, PATIENCE) {
            Ok((link, keeper)) => Ok(Live::new(link, keeper, served, true)),
            Err(err) => Err(why_not(served, err)),
        }
    }

    fn on_host(&self) -> bool {
        false
    }
}

impl UmlClient {
    fn mount(&self, place: &Place, server: Server) -> GuestMount {
        let transport = format!("trans=tcp,port={PORT_9P}");
        GuestMount {
            source: HOST.to_string(),
            mountpoint: place.mountpoint.clone(),
            fs_type: NINE.into(),
            options: place.v9fs_options(&transport, server),
            modules: self.mount_modules(),
            port: None,
        }
    }

    /// Until 5.17 the transport was part of 9pnet.
    fn mount_modules(&self) -> Vec<String> {
        let list = self.kernel.modules.join("modules.dep");
        let list = fs::read_to_string(list).unwrap_or_default();
        let mut modules = vec!["9p".to_owned()];
        if list.contains("/9pnet_fd.ko") {
            modules.push("9pnet_fd".into());
        }
        modules
    }
}

/// As the reference has it, whose kernel leaves ext2 to ext4's driver. Debian's user-mode Linux has a driver of its own
/// for it, which lacks what ext4's has, such as RWF_NOWAIT. Delayed allocation is off for an ext2 in either.
fn local_mount(local: Local, place: &Place) -> GuestMount {
    let mut mount = local.mount(&place.mountpoint, DISK);
    if local == Local::Storage {
        mount.fs_type = "ext4".into();
        mount.options.push_str(",nodelalloc");
    }
    mount
}
