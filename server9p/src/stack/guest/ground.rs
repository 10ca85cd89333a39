//! The volume as a guest mounts it.

use std::{collections::BTreeMap, ffi::CString, fs, os::fd::AsRawFd, path::Path};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::wait::WaitStatus,
    unistd::Pid,
};

use super::{GuestConfig, modules, pump, virtio};
use crate::stack::{Conditions, Mounted, agent::Ground, local, mounts, root};

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
        if let Some(directory) = &config.modules {
            let wanted = config.mount.modules.iter().map(String::as_str);
            let wanted: Vec<&str> = wanted.chain(["overlay"]).collect();
            modules::load(directory, &wanted)?;
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
        let mut options = config.mount.options.clone();
        let mut ours = None;
        if let Some(port) = &config.mount.port {
            let (pump, socket) = pump::start(virtio::open_port(port)?)
                .map_err(|err| format!("the guest cannot reach the server's port: {err}"))?;
            self.pump = Some(pump);
            let fd = socket.as_raw_fd();
            options.push_str(&format!(",rfdno={fd},wfdno={fd}"));
            ours = Some(socket);
        }
        let mounted = mount(
            Some(config.mount.source.as_str()),
            point,
            Some(NINE),
            MsFlags::empty(),
            Some(options.as_str()),
        );
        // v9fs has taken a reference of its own.
        drop(ours);
        mounted.map_err(|err| refusal(&options, err))?;
        Ok(describe(config))
    }

    fn abort(&mut self) {
        let Ok(point) = CString::new(self.config.mount.mountpoint.as_os_str().as_encoded_bytes())
        else {
            return;
        };
        // In a child: to look the mount point up may wait for the very server that does not answer.
        // SAFETY: an agent has one thread; the child makes two system calls.
        unsafe {
            if libc::fork() == 0 {
                libc::umount2(point.as_ptr(), libc::MNT_FORCE);
                libc::_exit(0);
            }
        }
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

fn refusal(options: &str, err: Errno) -> String {
    let release = release();
    match err {
        Errno::EINVAL if options.contains("cache=readahead") => format!(
            "v9fs of Linux {release} has no cache=readahead, which came with 6.4: take cache=mmap or cache=loose"
        ),
        _ => format!(
            "v9fs of Linux {release} does not mount the volume with options {options}: {}",
            err.desc()
        ),
    }
}

fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

fn describe(config: &GuestConfig) -> Mounted {
    let point: &Path = &config.mount.mountpoint;
    let mount = mounts::all().into_iter().rfind(|m| m.point == point);
    let options = mount.map_or_else(|| config.mount.options.clone(), |m| m.options);
    let msize = options
        .split(',')
        .find_map(|option| option.strip_prefix("msize=")?.parse().ok());
    Mounted {
        client: config.client.clone(),
        kernel: release(),
        options,
        msize,
        versions: BTreeMap::new(),
        conditions: match config.root.runtime {
            true => Conditions::Runtime,
            false => Conditions::Ordinary,
        },
        ..Mounted::default()
    }
}
