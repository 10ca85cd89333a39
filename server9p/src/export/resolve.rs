//! Opening paths so that nothing leads out of the export.
//!
//! Every open starts at the export's root and goes through `openat2` with `RESOLVE_BENEATH`, so that neither a
//! symbolic link nor a rename during the walk can lead elsewhere; no symbolic link is ever followed, since
//! clients resolve them themselves.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, fcntl_setfl, fstat, openat2},
    io::Errno,
};

use super::{Result, path::RelPath};

/// The longest path that one `openat2` takes, bytes (PATH_MAX less the terminating NUL).
const CHUNK: usize = 4095;

fn confined() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS
}

/// Opens `name`, one entry of `dir`, without following a link; `flags` get O_CLOEXEC and O_NOFOLLOW.
pub(super) fn open_entry(
    dir: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    loop {
        // EAGAIN: the kernel could not rule out that a rename elsewhere led the walk astray.
        match openat2(dir, name, flags, mode, confined()) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Opens a directory by its path from the root. Paths of any length can be opened.
///
/// # Errors
/// ENOTDIR where a name on the way, or the last one, is no directory: what QEMU's walk by `O_DIRECTORY` answers.
pub(super) fn open_dir(root: BorrowedFd<'_>, path: &RelPath, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::DIRECTORY;
    let mut rest = path.as_bytes();
    let mut at: Option<OwnedFd> = None;
    loop {
        let here = at.as_ref().map_or(root, OwnedFd::as_fd);
        let opened = if rest.len() <= CHUNK {
            let name = if rest.is_empty() {
                b".".as_slice()
            } else {
                rest
            };
            open_entry(here, name, flags, Mode::empty())
        } else {
            let cut = rest[..CHUNK]
                .iter()
                .rposition(|byte| *byte == b'/')
                .ok_or(Errno::NAMETOOLONG)?;
            let (head, tail) = (&rest[..cut], &rest[cut + 1..]);
            let step = open_entry(here, head, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
            at = Some(step.map_err(no_link)?);
            rest = tail;
            continue;
        };
        return opened.map_err(no_link);
    }
}

fn no_link(errno: Errno) -> Errno {
    if errno == Errno::LOOP {
        Errno::NOTDIR
    } else {
        errno
    }
}

/// Refuses a descriptor of anything but a regular file or a directory, with ENXIO.
pub(super) fn refuse_special(fd: BorrowedFd<'_>) -> Result<()> {
    let kind = rustix::fs::FileType::from_raw_mode(fstat(fd)?.st_mode);
    if kind.is_file() || kind.is_dir() {
        Ok(())
    } else {
        Err(Errno::NXIO)
    }
}

/// Opens for I/O what `open` opens with the flags it is given, as QEMU's `openat_file` does: without blocking on
/// a FIFO, without becoming the controlling terminal, without special files, and without O_NOATIME where
/// that is not permitted.
pub(super) fn open_for_io(
    flags: OFlags,
    open: impl Fn(OFlags) -> Result<OwnedFd>,
) -> Result<OwnedFd> {
    let attempt = |flags: OFlags| open(flags | OFlags::NOCTTY | OFlags::NONBLOCK);
    let (fd, flags) = match attempt(flags) {
        Err(Errno::PERM) if flags.contains(OFlags::NOATIME) => {
            let without = flags - OFlags::NOATIME;
            (attempt(without)?, without)
        }
        result => (result?, flags),
    };
    refuse_special(fd.as_fd())?;
    fcntl_setfl(&fd, flags)?;
    Ok(fd)
}
