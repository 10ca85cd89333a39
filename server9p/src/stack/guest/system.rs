//! The file systems that every program expects, as a guest's first process mounts them.

use std::{fs, io, path::Path};

use crate::stack::root::make;

/// Mounts them.
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
