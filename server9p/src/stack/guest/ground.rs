//! The volume as a guest mounts it.

use std::{collections::BTreeMap, ffi::CString, fs, path::Path};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::wait::WaitStatus,
    unistd::Pid,
};

use super::{GuestConfig, modules};
use crate::stack::{Mounted, agent::Ground, mounts};

/// Makes the mount in a guest.
#[derive(Debug)]
pub struct GuestGround {
    config: GuestConfig,
}

impl GuestGround {
    /// What this configuration asks for.
    pub fn new(config: GuestConfig) -> GuestGround {
        GuestGround { config }
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
        mount(
            Some(config.mount.source.as_str()),
            point,
            Some("9p"),
            MsFlags::empty(),
            Some(config.mount.options.as_str()),
        )
        .map_err(|err| refusal(&config.mount.options, err))?;
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

    fn ended(&mut self, _: Pid, _: WaitStatus) -> Option<String> {
        None
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
        ..Mounted::default()
    }
}
