//! The volume as a guest mounts it.

use std::{fs, os::fd::AsFd};

use nix::{
    mount::{MntFlags, umount2},
    sys::{
        resource::{RLIM_INFINITY, Resource, setrlimit},
        wait::WaitStatus,
    },
    unistd::Pid,
};

use super::{GuestConfig, modules, pages, pump, virtio};
use crate::stack::{Conditions, Mounted, agent::Ground, local, root, v9fs};

/// The type of mounts whose volume a server provides.
pub const NINE: &str = "9p";

/// Makes the mount in a guest.
#[derive(Debug)]
pub struct GuestGround {
    config: GuestConfig,
    /// The process that passes 9P on between a virtio port and v9fs.
    pump: Option<Pid>,
}

impl GuestGround {
    /// What this configuration asks for.
    pub fn new(config: GuestConfig) -> GuestGround {
        GuestGround { config, pump: None }
    }
}

impl Ground for GuestGround {
    fn up(&mut self) -> Result<Mounted, String> {
        let config = &self.config;
        if config.client == "uml" {
            // It is not needed for anything but speed.
            let _ = pages::map_for_children();
            say_how_few_addresses()?;
        }
        if let Some(directory) = &config.modules {
            let wanted = config.mount.modules.iter().map(String::as_str);
            let wanted: Vec<&str> = wanted.chain(["overlay"]).collect();
            modules::load(directory, &wanted)?;
            // For cases that make loop devices: nobody in a guest loads a module when one is opened.
            let _ = modules::load(directory, &["loop"]);
        }
        config.root.enter()?;
        let point = &config.mount.mountpoint;
        fs::create_dir_all(point)
            .map_err(|err| format!("the guest cannot make {}: {err}", point.display()))?;
        if config.root.runtime {
            root::put_image_content(point)?;
        }
        if config.mount.fs_type != NINE {
            local::mount_it(&config.mount)?;
            return Ok(describe(config));
        }
        let mut connection = None;
        if let Some(port) = &config.mount.port {
            let (pump, socket) = pump::start(virtio::open_port(port)?)
                .map_err(|err| format!("the guest cannot reach the server's port: {err}"))?;
            self.pump = Some(pump);
            connection = Some(socket);
        }
        // v9fs takes a reference to the connection of its own.
        v9fs::mount_volume(
            &config.mount.source,
            point,
            &config.mount.options,
            connection.as_ref().map(AsFd::as_fd),
        )?;
        Ok(describe(config))
    }

    fn abort(&mut self) {
        v9fs::abort(&self.config.mount.mountpoint);
    }

    fn process(&self) -> Option<Pid> {
        self.pump
    }

    fn ended(&mut self, pid: Pid, _: WaitStatus) -> Option<String> {
        (self.pump == Some(pid)).then(|| {
            self.pump = None;
            "the guest's connection to the 9P server ended".into()
        })
    }

    fn down(&mut self) {
        let _ = umount2(&self.config.mount.mountpoint, MntFlags::MNT_DETACH);
    }
}

/// Half of the addresses that a process of a user-mode Linux has.
const FEW_ADDRESSES: u64 = 256 << 30;

/// Limits the addresses of all that is started here: a user-mode Linux has 512 GiB of them, and Haskell's run time, unless
/// a limit says that there are fewer, looks without end for a place where its terabyte fits.
fn say_how_few_addresses() -> Result<(), String> {
    setrlimit(Resource::RLIMIT_AS, FEW_ADDRESSES, RLIM_INFINITY)
        .map_err(|err| format!("the guest cannot limit its addresses: {}", err.desc()))
}

fn describe(config: &GuestConfig) -> Mounted {
    let mount = &config.mount;
    Mounted {
        conditions: match config.root.runtime {
            true => Conditions::Runtime,
            false => Conditions::Ordinary,
        },
        ..v9fs::describe(&config.client, &mount.mountpoint, &mount.options)
    }
}
