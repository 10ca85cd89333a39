//! A host directory as a 9P tree.
//!
//! One method a message, each a plain blocking function on the [`Fid`]s that a session keeps. Where the
//! profiles differ, a [`Behaviour`] says how; what is common follows QEMU's server, whose errnos the reference
//! shows. Which thread a method runs on, tags and flushing are the session's concern.

mod attr;
mod behaviour;
mod create;
mod dir;
mod fid;
mod held;
mod io;
mod lock;
mod names;
mod path;
mod resolve;
mod target;
mod walk;
mod xattr;

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{Arc, Mutex, RwLock, Weak},
};

use rs9p::{QId, QIdType};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, fstatfs, open, statat},
    io::Errno,
};

pub use behaviour::{Behaviour, CreateOver, EmptyXattr, Locks, Qids, Reach, SpecialMode, Xattrs};
pub use fid::Fid;
pub use held::Held;
pub use lock::LockAnswer;
pub use path::RelPath;

use crate::profile::Profile;
use target::Target;

/// What an export's methods answer: the errno goes into an Rlerror.
pub type Result<T> = std::result::Result<T, Errno>;

/// Why a directory cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be opened.
    #[error(
        "cannot export {path}: {errno}; name a directory that the serving user can enter and read"
    )]
    Open {
        /// The directory.
        path: String,
        /// What the kernel said.
        errno: Errno,
    },
}

/// A directory that is served, shared by all sessions.
#[derive(Debug)]
pub struct Export {
    root: OwnedFd,
    root_stat: Stat,
    /// Block size of the root's file system, bytes.
    root_block: Option<u64>,
    behaviour: Behaviour,
    read_only: bool,
    /// See [`Export::blocks_for`].
    blocks_for: u32,
    /// Held for writing while names change, so that a path that was looked up stays what it was.
    names: RwLock<()>,
    /// Devices other than the root's, in the order they were met: the place is part of their qids.
    devices: Mutex<Vec<u64>>,
    /// Every fid there is, for renames to correct their paths.
    fids: Mutex<Vec<Weak<Fid>>>,
    locks: lock::Table,
}

impl Export {
    /// Opens a directory for export.
    ///
    /// # Errors
    /// Where the directory cannot be entered by this process's user.
    pub fn open(
        path: &Path,
        profile: Profile,
        read_only: bool,
    ) -> std::result::Result<Export, ExportError> {
        let failed = |errno| ExportError::Open {
            path: path.display().to_string(),
            errno,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(path, flags, Mode::empty()).map_err(failed)?;
        // Entering needs search permission, which O_PATH does not ask for.
        let root_stat = statat(&root, c".", AtFlags::empty()).map_err(failed)?;
        let root_block = fstatfs(&root).ok().map(|stat| stat.f_bsize as u64);
        Ok(Export {
            root,
            root_stat,
            root_block,
            behaviour: Behaviour::of(profile),
            read_only,
            blocks_for: 0,
            names: RwLock::new(()),
            devices: Mutex::default(),
            fids: Mutex::default(),
            locks: lock::Table::default(),
        })
    }

    /// Has `st_blksize` and `f_bsize` suit messages of `msize` bytes even where a session's are smaller. Programs
    /// choose their buffers by these, so a volume that stands for one on another transport has that one's.
    pub fn blocks_for(self, msize: u32) -> Export {
        Export {
            blocks_for: msize,
            ..self
        }
    }

    /// What this export's profile decided.
    pub fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// Whether every change is refused with EROFS.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Makes a fid known, so that renames correct its path.
    fn register(&self, fid: Fid) -> Arc<Fid> {
        let fid = Arc::new(fid);
        let mut fids = self.fids.lock().expect("no holder of this lock panics");
        // The list is swept when it has doubled, so that a fid costs a constant amount of work.
        if fids.len() == fids.capacity() {
            fids.retain(|known| known.strong_count() > 0);
            let live = fids.len();
            fids.reserve(live.max(64));
        }
        fids.push(Arc::downgrade(&fid));
        fid
    }

    /// The object of a fid.
    fn target(&self, fid: &Fid) -> Result<Target> {
        match fid.handle() {
            Some(handle) => Ok(Target::Handle(handle)),
            None => self.entry(&fid.path()),
        }
    }

    /// The object at a path.
    fn entry(&self, path: &RelPath) -> Result<Target> {
        Ok(Target::Entry {
            dir: self.directory_at(&path.parent())?,
            name: path.name().to_vec(),
        })
    }

    /// The directory of a fid, for calls on its entries.
    fn directory(&self, fid: &Fid) -> Result<Arc<OwnedFd>> {
        match fid.handle() {
            Some(handle) => Ok(handle),
            None => self.directory_at(&fid.path()),
        }
    }

    /// The directory at a path, open for reading: QEMU opens it so, and search permission alone is not enough.
    fn directory_at(&self, path: &RelPath) -> Result<Arc<OwnedFd>> {
        if let Some(dir) = self.held(path) {
            return Ok(dir);
        }
        let dir = resolve::open_dir(self.root.as_fd(), path, OFlags::RDONLY).map(Arc::new)?;
        self.keep(path, &dir);
        Ok(dir)
    }

    /// Whether the object of `fid`, or the entry `name` of its directory, goes, or loses its contents, in no time: a
    /// large file's blocks take the host's file system a while to free. What is not there is not removed either.
    pub(crate) fn is_small(&self, fid: &Fid, name: Option<&[u8]>) -> bool {
        /// Units of 512 bytes: 4 MiB.
        const SMALL: u64 = 8192;
        let _names = self.names.read().expect("no holder of this lock panics");
        let stat = match name {
            None => self.target(fid).and_then(|target| target.stat()),
            Some(name) => self
                .directory(fid)
                .and_then(|dir| statat(&*dir, name, AtFlags::SYMLINK_NOFOLLOW)),
        };
        stat.map_or(true, |stat| {
            stat.st_blocks as u64 <= SMALL || !FileType::from_raw_mode(stat.st_mode).is_file()
        })
    }

    /// The qid of an object.
    fn qid(&self, stat: &Stat) -> QId {
        let mut typ = QIdType::FILE;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => typ.insert(QIdType::DIR),
            FileType::Symlink => typ.insert(QIdType::SYMLINK),
            _ => {}
        }
        // QEMU's formula: a hint for caches that the file changed.
        let version = (stat.st_mtime as u32) ^ ((stat.st_size as u32) << 8);
        QId {
            typ,
            version,
            path: self.qid_path(stat.st_dev, stat.st_ino),
        }
    }

    fn qid_path(&self, device: u64, inode: u64) -> u64 {
        if self.behaviour.qids == Qids::Inode || device == self.root_stat.st_dev {
            return inode;
        }
        let mut devices = self.devices.lock().expect("no holder of this lock panics");
        let place = devices
            .iter()
            .position(|known| *known == device)
            .unwrap_or_else(|| {
                devices.push(device);
                devices.len() - 1
            });
        // The file systems of Linux number inodes from below; the top byte tells devices apart.
        inode ^ (place as u64 + 1) << 56
    }

    /// Type and path of the qid of a directory's entry, of which no more than this is known.
    fn entry_qid(&self, device: u64, inode: u64, kind: FileType) -> (QIdType, u64) {
        match self.behaviour.qids {
            Qids::Inode => (QIdType::FILE, inode),
            Qids::Unique => {
                let typ = match kind {
                    FileType::Directory => QIdType::DIR,
                    FileType::Symlink => QIdType::SYMLINK,
                    _ => QIdType::FILE,
                };
                (typ, self.qid_path(device, inode))
            }
        }
    }

    /// EROFS where the export is read-only.
    fn writable(&self) -> Result<()> {
        if self.read_only {
            Err(Errno::ROFS)
        } else {
            Ok(())
        }
    }
}

/// Refuses names that no entry can have: QEMU answers ENOENT to an empty one and to one with a slash. A NUL
/// would end the name early in any system call.
fn legal_name(name: &[u8]) -> Result<()> {
    match name {
        _ if name.is_empty() || name.contains(&b'/') => Err(Errno::NOENT),
        _ if name.contains(&0) => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

/// Refuses `.` and `..` as the name of something to make or change, with the errno that QEMU gives.
fn no_dots(name: &[u8], errno: Errno) -> Result<()> {
    if name == b"." || name == b".." {
        Err(errno)
    } else {
        Ok(())
    }
}
