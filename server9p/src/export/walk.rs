//! Attaching and walking.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use rs9p::QId;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, statat},
    io::Errno,
};

use super::{Export, Fid, Reach, RelPath, Result, fid::State, legal_name, resolve};

/// What a Twalk came to.
#[derive(Debug)]
pub struct Walked {
    /// The qids of the names that were there.
    pub qids: Vec<QId>,
    /// The fid at the end of the walk; `None` where not every name was there.
    pub fid: Option<Arc<Fid>>,
}

/// Where a walk stands.
struct Step {
    path: RelPath,
    /// The directory, open as this profile needs it to look up entries; absent where it is known to be none.
    dir: Option<Arc<OwnedFd>>,
}

impl Export {
    /// Tattach: a fid of the directory `aname` below the export, `/` or empty for the export itself.
    ///
    /// # Errors
    /// ENOENT or ENOTDIR where `aname` is no directory of the export. `..` does not lead out of it.
    pub fn attach(&self, user: u32, aname: &[u8]) -> Result<(QId, Arc<Fid>)> {
        let names = aname
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty());
        let path = names.fold(RelPath::root(), |path, name| path.join(name));
        let dir = resolve::open_dir(self.root.as_fd(), &path, OFlags::PATH)?;
        let stat = statat(&dir, c"", AtFlags::EMPTY_PATH)?;
        let handle = (self.behaviour.reach == Reach::Handle).then(|| Arc::new(dir));
        Ok((self.qid(&stat), self.register(Fid::new(user, path, handle))))
    }

    /// Twalk by `names` from `fid`; without names the walk ends where it begins.
    ///
    /// # Errors
    /// The first name's errno, where not even that is there. EINVAL from a fid of an attribute.
    pub fn walk(&self, fid: &Fid, names: &[Vec<u8>]) -> Result<Walked> {
        for name in names {
            legal_name(name)?;
        }
        if matches!(fid.state(), State::XattrRead(_) | State::XattrWrite(_)) {
            return Err(Errno::INVAL);
        }
        let _names = self.names.read().expect("no holder of this lock panics");
        let mut at = self.start(fid, !names.is_empty())?;
        let mut qids = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let last = index + 1 == names.len();
            match self.step(&at, name, last) {
                Ok((next, stat)) => {
                    at = next;
                    qids.push(self.qid(&stat));
                }
                Err(errno) if qids.is_empty() => return Err(errno),
                Err(_) => return Ok(Walked { qids, fid: None }),
            }
        }
        let handle = match self.behaviour.reach {
            Reach::Path => None,
            Reach::Handle if names.is_empty() => fid.handle_to_share()?,
            Reach::Handle => at.dir,
        };
        let fid = self.register(Fid::new(fid.user, at.path, handle));
        Ok(Walked {
            qids,
            fid: Some(fid),
        })
    }

    /// The place of a fid; QEMU looks it up even for a walk of no names, so that a removed file has no clones.
    fn start(&self, fid: &Fid, enter: bool) -> Result<Step> {
        let path = fid.path();
        if let Some(handle) = fid.handle() {
            // The next look-up says whether this is a directory.
            return Ok(Step {
                path,
                dir: Some(handle),
            });
        }
        // Both were looked at when they were opened, in the same instant as this.
        if enter
            && self.held(&path.parent()).is_some()
            && let Some(dir) = self.held(&path)
        {
            return Ok(Step {
                path,
                dir: Some(dir),
            });
        }
        let stat = self.entry(&path)?.stat()?;
        let is_dir = FileType::from_raw_mode(stat.st_mode).is_dir();
        let dir = (enter && is_dir).then(|| self.directory_at(&path));
        Ok(Step {
            path,
            dir: dir.transpose()?,
        })
    }

    fn step(&self, at: &Step, name: &[u8], last: bool) -> Result<(Step, Stat)> {
        let path = at.path.join(name);
        if name == b"." || name == b".." {
            // A parent is looked up from the root: a directory that was moved has another one by now.
            let dir = resolve::open_dir(self.root.as_fd(), &path, self.look_up())?;
            let stat = statat(&dir, c"", AtFlags::EMPTY_PATH)?;
            let dir = Some(Arc::new(dir));
            return Ok((Step { path, dir }, stat));
        }
        let parent = at.dir.as_ref().ok_or(Errno::NOTDIR)?;
        if self.behaviour.reach == Reach::Handle {
            let fd = resolve::open_entry(parent.as_fd(), name, OFlags::PATH, Mode::empty())?;
            let stat = statat(&fd, c"", AtFlags::EMPTY_PATH)?;
            let dir = Some(Arc::new(fd));
            return Ok((Step { path, dir }, stat));
        }
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let enter = !last && FileType::from_raw_mode(stat.st_mode).is_dir();
        let dir = match self.held(&path).filter(|_| enter) {
            None if enter => {
                let flags = self.look_up() | OFlags::DIRECTORY;
                let dir = resolve::open_entry(parent.as_fd(), name, flags, Mode::empty())?;
                let dir = Arc::new(dir);
                self.keep(&path, &dir);
                Some(dir)
            }
            held => held,
        };
        Ok((Step { path, dir }, stat))
    }

    fn look_up(&self) -> OFlags {
        match self.behaviour.reach {
            // QEMU opens the last directory for reading, so that search permission alone is not enough.
            Reach::Path => OFlags::RDONLY,
            Reach::Handle => OFlags::PATH,
        }
    }
}
