//! Volumes that no server provides: the VM runtime's alternatives to a directory of the provider's.
//!
//! A requestor may choose for each path whether it is a `ram` volume, a tmpfs, or a `storage` volume, an ext2 on a
//! block device (ya-runtime-vm `runtime/src/deploy.rs`, `rinit/src/storage.rs`). Both are the guest's own file
//! systems, so what fails on 9p works there; nobody outside sees what they hold.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{fs::chown, net::UnixStream},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::wait::WaitStatus,
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use super::{
    Conditions, Mounted, StackError,
    agent::{
        Ground,
        process::{AgentConfig, Volume},
    },
    guest::GuestMount,
    live::Live,
    mounts,
    namespaces::Namespaces,
    path::start_agent,
    volume::Place,
};

/// A file system of the commands' own kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Local {
    /// A tmpfs.
    Ram,
    /// An ext2 on a block device.
    Storage,
}

impl Local {
    /// As reports name it, and as the runtime does.
    pub fn name(self) -> &'static str {
        match self {
            Local::Ram => "ram",
            Local::Storage => "storage",
        }
    }

    /// The mount, at `mountpoint` and, for what is on a device, of `device`.
    pub fn mount(self, mountpoint: &Path, device: &str) -> GuestMount {
        let (source, fs_type, options) = match self {
            // As large as it may be by default; the runtime has the requestor say.
            Local::Ram => ("tmpfs", "tmpfs", "mode=0700,size=50%"),
            Local::Storage => (device, "ext2", "errors=continue"),
        };
        GuestMount {
            source: source.into(),
            mountpoint: mountpoint.to_owned(),
            fs_type: fs_type.into(),
            options: options.into(),
            modules: Vec::new(),
            port: None,
        }
    }
}

impl Local {
    /// Brings such a volume up on the host's own kernel, for commands in these namespaces.
    ///
    /// # Errors
    /// [`StackError::Unavailable`]: what is missing, and what brings it.
    pub fn bring_up(
        self,
        client: &str,
        namespaces: Option<Namespaces>,
        place: &Place,
    ) -> Result<Live, StackError> {
        if namespaces.is_none() {
            return Err(StackError::Unavailable(format!(
                "a volume of the kind {} needs a mount namespace, which this user may not make: run as root, or take \
                 --client uml",
                self.name()
            )));
        }
        let image = place.image(None)?;
        let device = image
            .as_deref()
            .map_or_else(String::new, |path| path.display().to_string());
        let mount = LocalMount {
            client: client.into(),
            mount: self.mount(&place.mountpoint, &device),
            image: image.is_some(),
        };
        let root = place.host_root(namespaces.as_ref())?;
        let config = |link: &UnixStream| AgentConfig {
            root,
            ..AgentConfig::new(link.as_fd(), namespaces, Volume::Local(mount))
        };
        let (link, agent) = start_agent(config, &[], PATIENCE)?;
        Ok(Live::new(link, agent, None, false))
    }
}

/// How long a volume may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The size of a storage volume, in bytes. Only what is written takes room on the host.
const SIZE: u64 = 1 << 30;

/// What busybox's `mkfs.ext2 DEVICE` makes of a device of that size, which is what the runtime's init calls.
const FORMAT: [&str; 13] = [
    "-q",
    "-F",
    "-t",
    "ext2",
    "-O",
    "none,filetype,sparse_super",
    "-b",
    "4096",
    "-I",
    "256",
    "-i",
    "16384",
    "-m5",
];

/// Makes the file of a storage volume, with an empty ext2 in it, for the user who will open it.
///
/// # Errors
/// [`StackError::Unavailable`]: what is missing, and what brings it.
pub fn format(image: &Path, owner: Option<(u32, u32)>) -> Result<(), StackError> {
    let failed = |err: io::Error| {
        let path = image.display();
        StackError::Unavailable(format!("the storage volume {path} cannot be made: {err}"))
    };
    let file = File::create(image).map_err(failed)?;
    file.set_len(SIZE).map_err(failed)?;
    // Ordinary users do not have its directory on their PATH.
    let usual = Path::new("/usr/sbin/mke2fs");
    let program = if usual.exists() {
        usual
    } else {
        Path::new("mke2fs")
    };
    let made = Command::new(program)
        .args(FORMAT)
        .arg(image)
        .stdin(Stdio::null())
        .output()
        .map_err(|err| {
            StackError::Unavailable(format!(
                "a storage volume needs mke2fs, which cannot be started ({err}): install it with `apt install \
                 e2fsprogs`"
            ))
        })?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        return Err(failed(io::Error::other(format!(
            "mke2fs says {}",
            said.trim()
        ))));
    }
    match owner {
        Some((uid, gid)) => chown(image, Some(uid), Some(gid)).map_err(failed),
        None => Ok(()),
    }
}

/// A volume that an agent on this host mounts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LocalMount {
    /// The client's name, as reports have it.
    pub client: String,
    /// The mount; its source is a file where that is a device's.
    pub mount: GuestMount,
    /// Whether the source is a file, to be made a device.
    pub image: bool,
}

/// Makes the mount in an agent's namespace and ends it.
#[derive(Debug)]
pub struct LocalGround {
    local: LocalMount,
    conditions: Conditions,
}

impl LocalGround {
    /// The ground that this mount will be, under these conditions.
    pub fn new(local: LocalMount, conditions: Conditions) -> LocalGround {
        LocalGround { local, conditions }
    }
}

impl Ground for LocalGround {
    fn up(&mut self) -> Result<Mounted, String> {
        let mut wanted = self.local.mount.clone();
        // Held until it is mounted: without a user it is no device any more.
        let mut device = None;
        if self.local.image {
            let attached = attach(Path::new(&wanted.source))?;
            wanted.source = attached.0.display().to_string();
            device = Some(attached.1);
        }
        mount_it(&wanted)?;
        drop(device);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let seen = mounts::all()
            .into_iter()
            .rfind(|m| m.point == wanted.mountpoint);
        Ok(Mounted {
            client: self.local.client.clone(),
            kernel: kernel.trim().into(),
            options: seen.map_or(wanted.options, |mount| mount.options),
            conditions: self.conditions.clone(),
            ..Mounted::default()
        })
    }

    /// Nobody's answer is waited for here.
    fn abort(&mut self) {}

    fn ended(&mut self, _: Pid, _: WaitStatus) -> Option<String> {
        None
    }

    fn down(&mut self) {
        let _ = umount2(&self.local.mount.mountpoint, MntFlags::MNT_DETACH);
    }
}

/// Mounts a file system of the kernel's own.
///
/// # Errors
/// A sentence that names it.
pub fn mount_it(wanted: &GuestMount) -> Result<(), String> {
    mount(
        Some(wanted.source.as_str()),
        &wanted.mountpoint,
        Some(wanted.fs_type.as_str()),
        MsFlags::MS_NODEV,
        Some(wanted.options.as_str()),
    )
    .map_err(|err| {
        let remedy = match err {
            Errno::EPERM => ": run as the host's root, or take --client uml",
            Errno::ENODEV => ": its kernel has no such file system",
            _ => "",
        };
        let (fs_type, source) = (&wanted.fs_type, &wanted.source);
        format!(
            "{source} cannot be mounted as {fs_type} ({}){remedy}",
            err.desc()
        )
    })
}

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
/// The device is free again when nobody uses it (`LO_FLAGS_AUTOCLEAR`).
const AUTOCLEAR: u32 = 4;

/// `struct loop_config` of linux/loop.h, of which only the descriptor and the flags are ours to set.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    numbers: [u64; 5],
    kind: [u32; 3],
    flags: u32,
    names: [u8; 160],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// Makes a file a block device, for as long as the descriptor that comes back, or a mount, holds it.
fn attach(image: &Path) -> Result<(PathBuf, OwnedFd), String> {
    let needs = |err: io::Error| {
        format!(
            "a storage volume needs a loop device, which cannot be had here ({err}): run as the host's root, or \
             take --client uml"
        )
    };
    let open = |path: &Path| {
        File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(needs)
    };
    let control = open(Path::new("/dev/loop-control"))?;
    let file = open(image)?;
    loop {
        // SAFETY: the request takes no argument and returns a number.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        let number = Errno::result(number).map_err(|err| needs(err.into()))?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&path)?;
        let config = LoopConfig {
            fd: file.as_raw_fd() as u32,
            block_size: 0,
            numbers: [0; 5],
            kind: [0; 3],
            flags: AUTOCLEAR,
            names: [0; 160],
            init: [0; 2],
            reserved: [0; 8],
        };
        // SAFETY: the request reads a structure of this layout and size, which lives.
        let set =
            unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) };
        match Errno::result(set) {
            Ok(_) => return Ok((path, device.into())),
            // Somebody else was faster.
            Err(Errno::EBUSY) => {}
            Err(err) => return Err(needs(err.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_is_the_kernel_s() {
        // struct loop_config: 4 + 4 + sizeof(struct loop_info64) (232) + 64.
        assert_eq!(size_of::<LoopConfig>(), 304);
        assert_eq!(std::mem::offset_of!(LoopConfig, flags), 8 + 52);
    }
}
