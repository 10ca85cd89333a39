//! Renaming and removing.

use std::sync::Arc;

use rs9p::FCall;
use rustix::{
    fs::{AtFlags, FileType, OFlags, renameat, statat, unlinkat},
    io::Errno,
};
use std::os::fd::{AsFd, OwnedFd};

use super::{Export, Fid, RelPath, Result, held, legal_name, no_dots, resolve};

/// Tunlinkat's only flag, P9_DOTL_AT_REMOVEDIR: remove a directory.
const REMOVE_DIR: u32 = 0x200;

impl Export {
    /// Trename: gives the object of `fid` a new name in the directory of `dir`.
    ///
    /// # Errors
    /// EINVAL where something is open on the fid, as QEMU has it; EISDIR for `.` and `..`.
    pub fn rename(&self, fid: &Fid, dir: &Fid, name: &[u8]) -> Result<FCall> {
        self.writable()?;
        legal_name(name)?;
        no_dots(name, Errno::ISDIR)?;
        fid.idle()?;
        let _names = self.names.write().expect("no holder of this lock panics");
        let old = fid.path();
        if old.is_root() {
            return Err(Errno::BUSY);
        }
        let parent = self.parent_of(fid)?;
        self.move_entry(
            &parent,
            &old,
            &*self.directory(dir)?,
            &dir.path().join(name),
        )?;
        Ok(FCall::RRename)
    }

    /// Trenameat.
    ///
    /// # Errors
    /// EISDIR for `.` and `..`, as QEMU has it.
    pub fn renameat(&self, old_dir: &Fid, old: &[u8], new_dir: &Fid, new: &[u8]) -> Result<FCall> {
        self.writable()?;
        for name in [old, new] {
            legal_name(name)?;
        }
        for name in [old, new] {
            no_dots(name, Errno::ISDIR)?;
        }
        let _names = self.names.write().expect("no holder of this lock panics");
        let from = self.directory(old_dir)?;
        let to = self.directory(new_dir)?;
        self.move_entry(
            &from,
            &old_dir.path().join(old),
            &to,
            &new_dir.path().join(new),
        )?;
        Ok(FCall::RRenameAt)
    }

    /// Renames, and corrects the path of every fid that is at the object or below it.
    fn move_entry(&self, from: &OwnedFd, old: &RelPath, to: &OwnedFd, new: &RelPath) -> Result<()> {
        renameat(from, old.name(), to, new.name())?;
        held::changed();
        let fids: Vec<Arc<Fid>> = {
            let known = self.fids.lock().expect("no holder of this lock panics");
            known.iter().filter_map(|fid| fid.upgrade()).collect()
        };
        for fid in fids {
            let mut path = fid.path.write().expect("no holder of this lock panics");
            if let Some(renamed) = path.renamed(old, new) {
                *path = renamed;
            }
        }
        Ok(())
    }

    /// Tunlinkat.
    ///
    /// # Errors
    /// EINVAL for `.` and for unknown flags, ENOTEMPTY for `..`, as QEMU has it.
    pub fn unlinkat(&self, fid: &Fid, name: &[u8], flags: u32) -> Result<FCall> {
        self.writable()?;
        legal_name(name)?;
        match name {
            b"." => return Err(Errno::INVAL),
            b".." => return Err(Errno::NOTEMPTY),
            _ => {}
        }
        let flags = match flags {
            0 => AtFlags::empty(),
            REMOVE_DIR => AtFlags::REMOVEDIR,
            _ => return Err(Errno::INVAL),
        };
        let _names = self.names.read().expect("no holder of this lock panics");
        unlinkat(&*self.directory(fid)?, name, flags)?;
        if flags == AtFlags::REMOVEDIR {
            held::changed();
        }
        Ok(FCall::RUnlinkAt)
    }

    /// Tremove: removes the object of the fid. The session frees the fid whatever comes of it.
    ///
    /// # Errors
    /// ENOENT where the fid's name stands for another object by now; EBUSY for the export itself.
    pub fn remove(&self, fid: &Fid) -> Result<FCall> {
        self.writable()?;
        let _names = self.names.read().expect("no holder of this lock panics");
        let path = fid.path();
        if path.is_root() {
            return Err(Errno::BUSY);
        }
        let parent = self.parent_of(fid)?;
        let stat = statat(&parent, path.name(), AtFlags::SYMLINK_NOFOLLOW)?;
        let is_dir = FileType::from_raw_mode(stat.st_mode).is_dir();
        unlinkat(
            &parent,
            path.name(),
            if is_dir {
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            },
        )?;
        held::changed();
        Ok(FCall::RRemove)
    }

    /// The directory that holds the name of a fid. A fid that holds a descriptor must still be what has that name.
    fn parent_of(&self, fid: &Fid) -> Result<OwnedFd> {
        let path = fid.path();
        let flags = if fid.handle().is_some() {
            OFlags::PATH
        } else {
            OFlags::RDONLY
        };
        let parent = resolve::open_dir(self.root.as_fd(), &path.parent(), flags)?;
        if let Some(handle) = fid.handle() {
            let (held, named) = (
                statat(&handle, c"", AtFlags::EMPTY_PATH)?,
                statat(&parent, path.name(), AtFlags::SYMLINK_NOFOLLOW)?,
            );
            if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino) {
                return Err(Errno::NOENT);
            }
        }
        Ok(parent)
    }
}
