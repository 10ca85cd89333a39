//! Trying a guard out before anything depends on it.

use std::{io, os::fd::AsFd};

use rustix::{
    fs::{Mode, OFlags, fstat, minor, openat},
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

use super::Guard;

/// Whether what is mapped on a filesystem of our own, mounted nowhere, is refused while a guard for it lives, and nothing
/// else is.
///
/// # Errors
/// The system's: EPERM for who is not root.
pub(super) fn succeeds(guard: impl FnOnce(u32) -> io::Result<Guard>) -> io::Result<bool> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let root = fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let open = |how| {
        openat(
            &root,
            "file",
            how | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
    };
    let writable = open(OFlags::CREATE | OFlags::RDWR)?;
    let readable = open(OFlags::RDONLY)?;
    let before = map(&writable, MapFlags::SHARED);
    let _guard = guard(minor(fstat(&writable)?.st_dev))?;
    Ok(before.is_ok()
        && map(&writable, MapFlags::SHARED) == Err(Errno::INVAL)
        && map(&writable, MapFlags::PRIVATE).is_ok()
        && map(&readable, MapFlags::SHARED).is_ok())
}

fn map(file: impl AsFd, flags: MapFlags) -> Result<(), Errno> {
    const LENGTH: usize = 4096;
    // SAFETY: new mappings, at addresses that the kernel chooses, which are unmapped before anything uses them.
    unsafe {
        let place = mmap(
            std::ptr::null_mut(),
            LENGTH,
            ProtFlags::READ,
            flags,
            file,
            0,
        )?;
        munmap(place, LENGTH)
    }
}
