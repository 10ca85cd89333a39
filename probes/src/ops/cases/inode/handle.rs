//! Files reached by a handle, and what tells a file from a later one with the same inode number.

use std::os::fd::FromRawFd;

use super::*;
use crate::ops::case::Side;

submit!(
    Case::new(
        "inode.name_to_handle",
        "name_to_handle_at gives a handle that is the same for the same file",
        name_to_handle
    )
    .source("name_to_handle_at(2); v9fs has no export operations")
    .needed_by(&[
        "podman (storage drivers)",
        "systemd (cg, mount detection)",
        "CRIU",
        "fanotify users",
        "nfsd"
    ])
);

fn name_to_handle(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    write("else", b"x")?;
    let handle = Handle::of("data").call("name_to_handle_at", "data")?;
    link("data", "again")?;
    let again = Handle::of("again").call("name_to_handle_at", "again")?;
    let other = Handle::of("else").call("name_to_handle_at", "else")?;
    ensure(
        "name_to_handle_at",
        handle.0 == again.0,
        "two names of one file have different handles",
    )?;
    ensure(
        "name_to_handle_at",
        handle.0 != other.0,
        "two files have the same handle",
    )
}

submit!(
    Case::new(
        "inode.open_by_handle",
        "open_by_handle_at opens the file of a handle, also after a rename",
        open_by_handle
    )
    .source("open_by_handle_at(2)")
    .needed_by(&["CRIU", "nfsd", "fanotify users", "xfsdump"])
    .needs(&[Need::HostRoot])
);

fn open_by_handle(_: &mut Ctx) -> CaseOutcome {
    write("data", b"by handle")?;
    let mut handle = Handle::of("data").call("name_to_handle_at", "data")?;
    rename("data", "moved")?;
    let fd = handle.open().call("open_by_handle_at", "moved")?;
    same_bytes(
        "open_by_handle_at",
        "moved",
        &read_at(&fd, "moved", 0, 20)?,
        b"by handle",
    )
}

/// A file handle: the kernel's struct file_handle, 8 bytes of head and up to 128 of the handle itself.
struct Handle([u32; 34]);

impl Handle {
    fn of(path: &str) -> Result<Self, Errno> {
        let path = std::ffi::CString::new(path).map_err(|_| Errno::EINVAL)?;
        let mut handle = Handle([0; 34]);
        handle.0[0] = 128;
        let mut mount = 0;
        // SAFETY: the buffer holds the head and as many bytes as its first field says.
        check(unsafe {
            libc::name_to_handle_at(
                libc::AT_FDCWD,
                path.as_ptr(),
                handle.0.as_mut_ptr().cast(),
                &mut mount,
                0,
            )
        })?;
        Ok(handle)
    }
    /// Opens what the handle leads to, on the file system of the working directory, for reading.
    fn open(&mut self) -> Result<OwnedFd, Errno> {
        let dir = rustix::fs::open(".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Errno::from_raw(e.raw_os_error()))?;
        // SAFETY: the buffer was filled by name_to_handle_at and outlives the call.
        let fd = check(unsafe {
            libc::open_by_handle_at(dir.as_raw_fd(), self.0.as_mut_ptr().cast(), libc::O_RDONLY)
        })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

submit!(
    Case::new(
        "inode.handle_stale",
        "the handle of a removed file gives ESTALE, also when its inode number went to a new file",
        handle_stale
    )
    .source("open_by_handle_at(2): ESTALE; the generation number in the handle of ext4 and others")
    .needed_by(&[
        "nfsd",
        "CRIU",
        "fanotify users",
        "indexers that keep handles"
    ])
    .needs(&[Need::HostRoot])
);

fn handle_stale(_: &mut Ctx) -> CaseOutcome {
    write("data", b"old")?;
    let before = stat("data")?.st_ino;
    let mut handle = Handle::of("data").call("name_to_handle_at", "data")?;
    drop(handle.open().call("open_by_handle_at", "data")?);
    unlink("data")?;
    let gone = |handle: &mut Handle, what: &str| {
        handle
            .open()
            .refused("open_by_handle_at", what, Errno::ESTALE)
    };
    gone(&mut handle, "data, which was removed")?;
    // A file system that gives the number again does so soon.
    for i in 0..64 {
        let name = format!("new{i}");
        write(&name, b"new")?;
        if stat(&name)?.st_ino == before {
            break;
        }
    }
    gone(
        &mut handle,
        "data, which was removed before others were made",
    )
}

submit!(
    Case::new(
        "inode.generation",
        "a file tells its generation, which is another for a new file with the same inode number",
        generation
    )
    .source("ioctl_iflags(2) and linux/fs.h: FS_IOC_GETVERSION")
    .needed_by(&[
        "lsattr -v",
        "nfsd and Ganesha",
        "borg-like caches that trust no inode number"
    ])
);

fn generation(ctx: &mut Ctx) -> CaseOutcome {
    let side = ctx.side;
    let told = |name: &str| -> CaseOutcome<(u64, i64)> {
        let fd = open(name, OFlags::RDONLY)?;
        let mut version: libc::c_long = 0;
        // SAFETY: the request writes one number of this size at most.
        let asked =
            check(unsafe { libc::ioctl(fd.as_raw_fd(), FS_IOC_GETVERSION as _, &mut version) });
        if side == Side::Native && asked == Err(Errno::ENOTTY) {
            return Err(Stop::NotRun(
                "needs a native file system that has FS_IOC_GETVERSION, such as ext4 or XFS".into(),
            ));
        }
        asked.call("ioctl", format_args!("{name}, FS_IOC_GETVERSION"))?;
        Ok((stat(name)?.st_ino, version))
    };
    write("data", b"old")?;
    let old = told("data")?;
    expect(
        "ioctl",
        "the generation asked for again",
        told("data")?,
        old,
    )?;
    unlink("data")?;
    write("data", b"new")?;
    ensure(
        "ioctl",
        told("data")? != old,
        "a new file has inode number and generation of one that was removed",
    )
}

const FS_IOC_GETVERSION: u64 = 0x8008_7601;

submit!(
    Case::new(
        "inode.attribute_flags",
        "the flags of a file that chattr sets are told, and one is set and taken back",
        attribute_flags
    )
    .source("ioctl_iflags(2): FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_NODUMP_FL")
    .needed_by(&[
        "lsattr, chattr",
        "systemd (journal with FS_NOCOW_FL)",
        "dump",
        "cp --reflink on btrfs"
    ])
);

fn attribute_flags(_: &mut Ctx) -> CaseOutcome {
    const GET: u64 = 0x8008_6601;
    const SET: u64 = 0x4008_6602;
    const NODUMP: libc::c_long = 0x40;
    let fd = create("data", b"x")?;
    let get = || -> CaseOutcome<libc::c_long> {
        let mut flags: libc::c_long = 0;
        // SAFETY: the request writes one number of this size at most.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), GET as _, &mut flags) })
            .call("ioctl", "data, FS_IOC_GETFLAGS")?;
        Ok(flags)
    };
    let before = get()?;
    for wanted in [before | NODUMP, before] {
        // SAFETY: the request reads one number of this size.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), SET as _, &wanted) })
            .call("ioctl", "data, FS_IOC_SETFLAGS")?;
        expect("ioctl", "the flags", get()?, wanted)?;
    }
    Ok(())
}
