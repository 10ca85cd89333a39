//! The root file system that a guest's commands see.
//!
//! The VM runtime lays a small tmpfs over the image, and that tmpfs's mode is the root's: 0700, so that only
//! root can reach anything. Here the image is the host's own root, read-only.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use nix::{
    mount::{MsFlags, mount},
    unistd::{chdir, chroot},
};
use serde::{Deserialize, Serialize};

use crate::profile::Profile;

/// What lies over the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Mode of `/`.
    pub mode: u32,
    /// Size of what can be written, as tmpfs's `size=` takes it.
    pub size: String,
    /// Whether there is more that the VM runtime does: an empty `/tmp`, and only its own names of hosts.
    pub runtime: bool,
}

/// What the runtime's init writes, to an image whose own file is empty, as those of containers are.
const HOSTS: &str = "127.0.0.1\tlocalhost
::1\tip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";
/// Likewise; nobody answers there.
const NAMESERVERS: &str = "nameserver 1.1.1.1\nnameserver 8.8.8.8\n";

impl Root {
    /// The one that guests have under a profile.
    pub fn of(profile: Profile) -> Root {
        match profile {
            Profile::Golem => Root::of_runtime(),
            Profile::Qemu | Profile::Posix => Root::ordinary(),
        }
    }

    /// As the VM runtime has it (`runtime/init-container/src/init.c`).
    pub fn of_runtime() -> Root {
        Root {
            mode: 0o700,
            size: "128M".into(),
            runtime: true,
        }
    }

    /// As an ordinary system has it.
    pub fn ordinary() -> Root {
        Root {
            mode: 0o755,
            size: "50%".into(),
            runtime: false,
        }
    }
}

const NONE: Option<&str> = None;

/// Mounts the file systems that every program expects.
///
/// # Errors
/// A sentence that names the mount.
pub fn mount_system() -> Result<(), String> {
    make("proc", "/proc", "proc", "")?;
    make("sysfs", "/sys", "sysfs", "")?;
    // Most kernels did this one themselves.
    if !Path::new("/dev/null").exists() || !Path::new("/dev/kmsg").exists() {
        make("devtmpfs", "/dev", "devtmpfs", "mode=0755")?;
    }
    for directory in ["/dev/pts", "/dev/shm"] {
        match fs::create_dir(directory) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!("the guest cannot make {directory}: {err}"));
            }
            _ => {}
        }
    }
    make(
        "devpts",
        "/dev/pts",
        "devpts",
        "gid=5,mode=0620,ptmxmode=0666",
    )?;
    make("tmpfs", "/dev/shm", "tmpfs", "mode=1777")
}

fn make(what: &str, point: &str, fs_type: &str, options: &str) -> Result<(), String> {
    mount(
        Some(what),
        point,
        Some(fs_type),
        MsFlags::empty(),
        Some(options),
    )
    .map_err(|err| format!("the guest cannot mount {what} at {point}: {}", err.desc()))
}

impl Root {
    /// Lays it over the present root and makes it the root.
    ///
    /// # Errors
    /// A sentence that names the step.
    pub fn enter(&self) -> Result<(), String> {
        // Any directory that every system has: what it holds stays reachable through the overlay, whose lower
        // layer is the root's own file system and nothing that is mounted on it.
        let at = "/tmp";
        let options = format!("mode={:04o},size={}", self.mode, self.size);
        make("tmpfs", at, "tmpfs", &options)?;
        let step = |what: &str, err: io::Error| format!("the guest's root: {what}: {err}");
        for (name, mode) in [("upper", self.mode), ("work", 0o700), ("root", 0o755)] {
            let path = format!("{at}/{name}");
            DirBuilder::new()
                .mode(mode)
                .create(&path)
                .map_err(|err| step(&path, err))?;
        }
        let layers = format!("lowerdir=/,upperdir={at}/upper,workdir={at}/work");
        let root = format!("{at}/root");
        make("overlay", &root, "overlay", &layers)?;
        for point in ["/proc", "/sys", "/dev"] {
            let to = format!("{root}{point}");
            mount(Some(point), to.as_str(), NONE, MsFlags::MS_MOVE, NONE)
                .map_err(|err| step(&format!("moving {point}"), err.into()))?;
        }
        chdir(root.as_str()).map_err(|err| step("entering", err.into()))?;
        mount(Some("."), "/", NONE, MsFlags::MS_MOVE, NONE)
            .map_err(|err| step("moving", err.into()))?;
        chroot(".").map_err(|err| step("chroot", err.into()))?;
        chdir("/").map_err(|err| step("entering /", err.into()))?;
        if self.runtime {
            make("tmpfs", "/tmp", "tmpfs", "mode=0777")?;
            for (file, text) in [("/etc/hosts", HOSTS), ("/etc/resolv.conf", NAMESERVERS)] {
                // A symbolic link to what the host's network manager writes, on many systems.
                let _ = fs::remove_file(file);
                fs::write(file, text).map_err(|err| step(file, err))?;
            }
        }
        Ok(())
    }
}
