//! Making files, directories, links and special files.
//!
//! As QEMU with `security_model=none`: the new object gets the owner that the client names where the server's
//! user may give it (else it stays the server's), and then exactly the mode that the client asked for, since the
//! client has applied its umask already.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use rs9p::{FCall, QId};
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, Stat, fchmod, fchown, fstat, makedev, mkdirat, mknodat,
        symlinkat, unlinkat,
    },
    io::Errno,
};

use super::{
    CreateOver, Export, Fid, Reach, Result,
    fid::State,
    io::open_flags,
    legal_name, no_dots,
    resolve::{open_entry, open_for_io},
    target::{Target, gid, uid},
};

/// The mode bits that can be set on a file.
const MODE_BITS: u32 = 0o7777;

impl Export {
    /// Tlcreate: makes a regular file in the directory of `fid` and opens it; the fid then stands for the file.
    ///
    /// # Errors
    /// EINVAL where something is open on the fid; EEXIST for `.` and `..`; ENXIO where a special file has that name.
    pub fn lcreate(
        &self,
        fid: &Fid,
        name: &[u8],
        flags: u32,
        mode: u32,
        group: u32,
        msize: u32,
    ) -> Result<FCall> {
        self.writable()?;
        legal_name(name)?;
        no_dots(name, Errno::EXIST)?;
        fid.idle()?;
        let _names = self.names.write().expect("no holder of this lock panics");
        let dir = self.directory(fid)?;
        let flags = open_flags(flags);
        let mode = mode & MODE_BITS;
        let open = |flags| open_entry(dir.as_fd(), name, flags, Mode::from_raw_mode(mode));
        // What is new is a regular file, so that nothing has to be ruled out.
        let (file, fresh) = match open(flags | OFlags::CREATE | OFlags::EXCL) {
            Err(Errno::EXIST) if !flags.contains(OFlags::EXCL) => {
                let file = open_for_io(flags, |flags| open(flags | OFlags::CREATE))?;
                (file, false)
            }
            result => (result?, true),
        };
        let stat = fstat(&file)?;
        let set = fresh || self.behaviour.create_over == CreateOver::Resets;
        if set && let Err(errno) = own(&file, &stat, fresh, (fid.user, group), mode) {
            let _ = unlinkat(&*dir, name, AtFlags::empty());
            return Err(errno);
        }
        let iounit = self.iounit(file.as_fd(), &stat, msize);
        let path = fid.path().join(name);
        let file = Arc::new(file);
        let handle = (self.behaviour.reach == Reach::Handle).then(|| file.clone());
        *fid.path.write().expect("no holder of this lock panics") = path;
        *fid.handle.write().expect("no holder of this lock panics") = handle;
        fid.set_state(State::File(file));
        Ok(FCall::RlCreate {
            qid: self.qid(&stat),
            iounit,
        })
    }

    /// Tmkdir.
    pub fn mkdir(&self, fid: &Fid, name: &[u8], mode: u32, group: u32) -> Result<FCall> {
        let qid = self.make(fid, name, |dir| {
            mkdirat(dir, name, Mode::from_raw_mode(mode & MODE_BITS))?;
            self.credentials(dir, name, fid.user, group, mode)
                .inspect_err(|_| {
                    let _ = unlinkat(dir, name, AtFlags::REMOVEDIR);
                })
        })?;
        Ok(FCall::RMkDir { qid })
    }

    /// Tmknod: a FIFO, a socket, a device or a regular file.
    ///
    /// # Errors
    /// ENXIO for a FIFO or socket under profiles that refuse special files; EPERM for a device, of an ordinary user.
    pub fn mknod(
        &self,
        fid: &Fid,
        name: &[u8],
        mode: u32,
        device: (u32, u32),
        group: u32,
    ) -> Result<FCall> {
        let device = makedev(device.0, device.1);
        let qid = self.make(fid, name, |dir| {
            mknodat(
                dir,
                name,
                FileType::from_raw_mode(mode),
                Mode::from_raw_mode(mode & MODE_BITS),
                device,
            )?;
            self.credentials(dir, name, fid.user, group, mode)
                .inspect_err(|_| {
                    let _ = unlinkat(dir, name, AtFlags::empty());
                })
        })?;
        Ok(FCall::RMkNod { qid })
    }

    /// Tsymlink: a link to `target`, which is not looked at.
    pub fn symlink(&self, fid: &Fid, name: &[u8], target: &[u8], group: u32) -> Result<FCall> {
        let qid = self.make(fid, name, |dir| {
            symlinkat(target, dir, name)?;
            let link = Target::Entry {
                dir: dir.clone(),
                name: name.to_vec(),
            };
            // Not to be allowed to give a file away is the rule for an ordinary user, and no failure.
            let _ = link.chown(fid.user, group);
            Ok(())
        })?;
        Ok(FCall::RSymlink { qid })
    }

    /// Tlink: a further name, in the directory of `fid`, for the object of `old`.
    pub fn link(&self, fid: &Fid, old: &Fid, name: &[u8]) -> Result<FCall> {
        self.writable()?;
        legal_name(name)?;
        no_dots(name, Errno::EXIST)?;
        let _names = self.names.read().expect("no holder of this lock panics");
        let target = self.target(old)?;
        let dir = self.directory(fid)?;
        target.link(dir.as_fd(), name)?;
        Ok(FCall::RLink)
    }

    /// What all of these share: the checks, the directory, and the qid of what was made.
    fn make(
        &self,
        fid: &Fid,
        name: &[u8],
        make: impl FnOnce(&Arc<OwnedFd>) -> Result<()>,
    ) -> Result<QId> {
        self.writable()?;
        legal_name(name)?;
        no_dots(name, Errno::EXIST)?;
        let _names = self.names.read().expect("no holder of this lock panics");
        let dir = self.directory(fid)?;
        make(&dir)?;
        let made = Target::Entry {
            dir: dir.clone(),
            name: name.to_vec(),
        };
        Ok(self.qid(&made.stat()?))
    }

    /// Owner, where that is permitted, and mode of a new object.
    fn credentials(
        &self,
        dir: &Arc<OwnedFd>,
        name: &[u8],
        user: u32,
        group: u32,
        mode: u32,
    ) -> Result<()> {
        let made = Target::Entry {
            dir: dir.clone(),
            name: name.to_vec(),
        };
        // Not to be allowed to give a file away is the rule for an ordinary user, and no failure.
        let _ = made.chown(user, group);
        made.chmod(mode & MODE_BITS, self.behaviour.special_mode)
    }
}

/// Owner, where that is permitted, and mode of a file that was created. What a fresh one has already is not set again:
/// of one that was there before, the attempt may be refused.
fn own(
    file: &OwnedFd,
    stat: &Stat,
    fresh: bool,
    (user, group): (u32, u32),
    mode: u32,
) -> Result<()> {
    let owned = (stat.st_uid, stat.st_gid) == (user, group);
    // Not to be allowed to give a file away is the rule for an ordinary user, and no failure.
    let given = !owned && fchown(file, uid(user), gid(group)).is_ok();
    // A change of owner takes mode bits away.
    if !fresh || given || stat.st_mode & MODE_BITS != mode {
        fchmod(file, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}
