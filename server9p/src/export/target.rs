//! The object behind a fid, as the profile reaches it: by its path, or by a descriptor.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, chmod, chownat, open,
        readlinkat, statat, utimensat,
    },
    io::Errno,
};

use super::{
    Result,
    behaviour::SpecialMode,
    resolve::{open_entry, open_for_io},
};

/// An object of the export that calls can be made on.
pub(super) enum Target {
    /// An entry of a directory.
    Entry {
        /// The directory, open.
        dir: Arc<OwnedFd>,
        /// The entry's name.
        name: Vec<u8>,
    },
    /// The object itself, as an O_PATH descriptor.
    Handle(Arc<OwnedFd>),
}

/// The path of a descriptor for calls that take paths alone.
pub(super) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// A user to change to; `None` for -1, which leaves the owner.
pub(super) fn uid(raw: u32) -> Option<Uid> {
    (raw != u32::MAX).then(|| Uid::from_raw(raw))
}

/// A group to change to; `None` for -1, which leaves the group.
pub(super) fn gid(raw: u32) -> Option<Gid> {
    (raw != u32::MAX).then(|| Gid::from_raw(raw))
}

impl Target {
    /// Attributes, of a link itself.
    pub fn stat(&self) -> Result<Stat> {
        match self {
            Target::Entry { dir, name } => statat(dir, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW),
            Target::Handle(fd) => statat(fd, c"", AtFlags::EMPTY_PATH),
        }
    }

    /// Sets the permission bits.
    ///
    /// # Errors
    /// ELOOP for a symbolic link; ENXIO for a special file where the profile refuses that.
    pub fn chmod(&self, mode: u32, special: SpecialMode) -> Result<()> {
        let opened;
        let fd = match self {
            Target::Entry { dir, name } => {
                opened = open_entry(dir.as_fd(), name, OFlags::PATH, Mode::empty())?;
                opened.as_fd()
            }
            Target::Handle(fd) => fd.as_fd(),
        };
        let kind = FileType::from_raw_mode(statat(fd, c"", AtFlags::EMPTY_PATH)?.st_mode);
        if kind.is_symlink() {
            return Err(Errno::LOOP);
        }
        if special == SpecialMode::Refused && !kind.is_file() && !kind.is_dir() {
            return Err(Errno::NXIO);
        }
        chmod(proc_path(fd), Mode::from_raw_mode(mode))
    }

    /// Changes owner and group; `u32::MAX` leaves either.
    pub fn chown(&self, user: u32, group: u32) -> Result<()> {
        let (user, group) = (uid(user), gid(group));
        match self {
            Target::Entry { dir, name } => {
                chownat(dir, name.as_slice(), user, group, AtFlags::SYMLINK_NOFOLLOW)
            }
            Target::Handle(fd) => chownat(fd, c"", user, group, AtFlags::EMPTY_PATH),
        }
    }

    /// Sets access and modification time.
    pub fn utimes(&self, times: &Timestamps) -> Result<()> {
        match self {
            Target::Entry { dir, name } => {
                utimensat(dir, name.as_slice(), times, AtFlags::SYMLINK_NOFOLLOW)
            }
            Target::Handle(fd) => utimensat(fd, c"", times, AtFlags::EMPTY_PATH),
        }
    }

    /// Opens the object for I/O; special files are refused with ENXIO.
    pub fn open(&self, flags: OFlags) -> Result<OwnedFd> {
        match self {
            Target::Entry { dir, name } => open_for_io(flags, |flags| {
                open_entry(dir.as_fd(), name, flags, Mode::empty())
            }),
            Target::Handle(fd) => {
                // O_NOFOLLOW would stop at /proc's own link; the object itself is a link where fstat says so.
                let kind = FileType::from_raw_mode(self.stat()?.st_mode);
                if kind.is_symlink() {
                    return Err(Errno::LOOP);
                }
                if !kind.is_file() && !kind.is_dir() {
                    return Err(Errno::NXIO);
                }
                let flags = flags - OFlags::NOFOLLOW;
                open_for_io(flags, |flags| {
                    open(
                        proc_path(fd.as_fd()),
                        flags | OFlags::CLOEXEC,
                        Mode::empty(),
                    )
                })
            }
        }
    }

    /// The target of a symbolic link.
    pub fn readlink(&self) -> Result<Vec<u8>> {
        let target = match self {
            Target::Entry { dir, name } => readlinkat(dir, name.as_slice(), Vec::new())?,
            Target::Handle(fd) => readlinkat(fd, c"", Vec::new()).map_err(|errno| match errno {
                // With an empty path the kernel says so of anything but a link.
                Errno::NOENT => Errno::INVAL,
                errno => errno,
            })?,
        };
        Ok(target.into_bytes())
    }

    /// A path for the xattr calls that follow no link at its end.
    pub fn xattr_path(&self) -> Vec<u8> {
        match self {
            Target::Entry { dir, name } => [proc_path(dir.as_fd()).as_bytes(), b"/", name].concat(),
            // The directory part is followed, the last part is what the descriptor holds: a trailing "." is not
            // possible for files, so the descriptor's own link must be followed: see `follows`.
            Target::Handle(fd) => proc_path(fd.as_fd()).into_bytes(),
        }
    }

    /// Whether [`Target::xattr_path`] must be followed at its end to meet the object.
    pub fn follows(&self) -> bool {
        matches!(self, Target::Handle(_))
    }

    /// Makes a further name for the object.
    pub fn link(&self, dir: BorrowedFd<'_>, new: &[u8]) -> Result<()> {
        match self {
            Target::Entry { dir: old, name } => {
                rustix::fs::linkat(old, name.as_slice(), dir, new, AtFlags::empty())
            }
            Target::Handle(fd) => rustix::fs::linkat(
                CWD,
                proc_path(fd.as_fd()),
                dir,
                new,
                AtFlags::SYMLINK_FOLLOW,
            ),
        }
    }
}
