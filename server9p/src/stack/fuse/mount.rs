//! Getting a /dev/fuse descriptor that is mounted: by mount(2), or by fusermount3.

use std::{
    ffi::CString,
    io::ErrorKind,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    mount::{MountFlags, UnmountFlags},
};

use super::{FuseError, FuseOptions, MountBy};
use crate::stack::Cache;

/// The source that /proc/mounts names.
const SOURCE: &str = "probe9p";
/// The filesystem type that /proc/mounts names.
const FSTYPE: &str = "fuse.9p";

/// The mount point's absolute path, when it is a directory.
pub(super) fn check_mountpoint(path: &Path) -> Result<PathBuf, FuseError> {
    let fail = |why: String| FuseError::MountPoint(path.to_owned(), why);
    let absolute = path
        .canonicalize()
        .map_err(|error| fail(error.to_string()))?;
    if !absolute.is_dir() {
        return Err(fail("it is not a directory".into()));
    }
    Ok(absolute)
}

/// Mounts, and returns the kernel's end. `max_read` is the largest read in bytes.
pub(super) fn mount(
    mountpoint: &Path,
    options: &FuseOptions,
    max_read: u32,
) -> Result<OwnedFd, FuseError> {
    let mut data = format!("default_permissions,max_read={max_read}");
    if options.allow_other {
        data.push_str(",allow_other");
    }
    match options.by {
        MountBy::Syscall => {
            // v9fs marks its superblock so when it caches nothing, and `statvfs` shows it.
            let mut flags = match options.cache {
                Cache::None => MountFlags::SYNCHRONOUS | MountFlags::DIRSYNC,
                _ => MountFlags::empty(),
            };
            flags.set(MountFlags::RDONLY, options.read_only);
            by_syscall(mountpoint, &data, flags)
        }
        MountBy::Fusermount => {
            if options.read_only {
                data.push_str(",ro");
            }
            by_fusermount(mountpoint, &data)
        }
    }
}

fn by_syscall(mountpoint: &Path, data: &str, flags: MountFlags) -> Result<OwnedFd, FuseError> {
    let device: OwnedFd = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => FuseError::NoDevice,
            _ => FuseError::DeviceForbidden(error),
        })?
        .into();
    let data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},{data}",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let data = CString::new(data).expect("the options hold no NUL");
    rustix::mount::mount(SOURCE, mountpoint, FSTYPE, flags, Some(data.as_c_str()))
        .map_err(|error| FuseError::Mount(mountpoint.to_owned(), error.into()))?;
    Ok(device)
}

fn by_fusermount(mountpoint: &Path, data: &str) -> Result<OwnedFd, FuseError> {
    let refused = |why: String| FuseError::Fusermount(mountpoint.to_owned(), why);
    if !Path::new("/dev/fuse").exists() {
        return Err(FuseError::NoDevice);
    }
    let (ours, theirs) = UnixStream::pair().map_err(|error| refused(error.to_string()))?;
    let keep = |fd: &UnixStream| -> rustix::io::Result<()> {
        fcntl_setfd(fd, fcntl_getfd(fd)?.difference(FdFlags::CLOEXEC))
    };
    keep(&theirs).map_err(|error| refused(error.to_string()))?;
    let child = Command::new("fusermount3")
        .arg("-o")
        .arg(format!("fsname={SOURCE},subtype=9p,{data}"))
        .arg("--")
        .arg(mountpoint)
        .env("_FUSE_COMMFD", theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => FuseError::NoFusermount,
            _ => refused(error.to_string()),
        })?;
    drop(theirs);
    let device = crate::stack::process::receive_fd(&ours);
    let output = child
        .wait_with_output()
        .map_err(|error| refused(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let device = device.ok_or_else(|| refused(said.trim().to_owned()))?;
    // It may be inherited by nobody: a second holder would keep the mount alive.
    fcntl_setfd(&device, FdFlags::CLOEXEC).map_err(|error| refused(error.to_string()))?;
    Ok(device)
}

/// Unmounts, even when programs still have files open there.
pub(super) fn unmount(mountpoint: &Path, by: MountBy) {
    // A mount that somebody else ended is what was wanted.
    match by {
        MountBy::Syscall => {
            let _ = rustix::mount::unmount(mountpoint, UnmountFlags::DETACH);
        }
        MountBy::Fusermount => {
            fusermount_unmount(mountpoint, &["-u", "-q", "-z"]);
        }
    }
}

/// Unmounts when nothing uses the mount; says whether it did.
pub(super) fn unmount_idle(mountpoint: &Path, by: MountBy) -> bool {
    match by {
        MountBy::Syscall => rustix::mount::unmount(mountpoint, UnmountFlags::empty()).is_ok(),
        MountBy::Fusermount => fusermount_unmount(mountpoint, &["-u", "-q"]),
    }
}

fn fusermount_unmount(mountpoint: &Path, flags: &[&str]) -> bool {
    Command::new("fusermount3")
        .args(flags)
        .arg("--")
        .arg(mountpoint)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
