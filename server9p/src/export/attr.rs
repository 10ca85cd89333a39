//! Attributes of files and of the file system.

use std::os::fd::{AsFd, AsRawFd};

use rs9p::{FCall, GetAttrMask, SetAttr, SetAttrMask, StatFs, Time};
use rustix::{
    fs::{FileType, OFlags, Stat, Timespec, Timestamps, fstat, fstatfs, ftruncate},
    io::Errno,
};

use super::{Export, Fid, Reach, Result, fid::State, held, io::round_to_blocks};
use crate::wire::{Reply, from_wire};

/// utimensat's nanoseconds for the present time.
const NOW: i64 = rustix::fs::UTIME_NOW;
/// utimensat's nanoseconds for a time to leave.
const OMIT: i64 = rustix::fs::UTIME_OMIT;

/// FS_IOC_GETVERSION, `_IOR('v', 1, long)`.
const GET_GENERATION: libc::Ioctl = 0x8008_7601u32 as libc::Ioctl;

impl Export {
    /// Tgetattr. The basic fields are always given, the generation number where asked for and known.
    ///
    /// The attributes are those of the descriptor where something is open, so that a removed file has some.
    pub fn getattr(&self, fid: &Fid, mask: GetAttrMask, msize: u32) -> Result<Reply> {
        let state = fid.state();
        let stat = match &state {
            State::File(file) => fstat(file)?,
            State::Dir(dir) => fstat(&dir.fd)?,
            _ => {
                let _names = self.names.read().expect("no holder of this lock panics");
                self.target(fid)?.stat()?
            }
        };
        let qid = self.qid(&stat);
        let generation = mask
            .contains(GetAttrMask::GEN)
            .then(|| self.generation(fid, &state, &stat))
            .flatten();
        let mut valid = GetAttrMask::BASIC;
        valid.set(GetAttrMask::GEN, generation.is_some());
        let blksize = round_to_blocks(msize.max(self.blocks_for), stat.st_blksize as u64);
        let call = FCall::RGetAttr {
            valid,
            qid,
            stat: attributes(&stat, blksize.into()),
        };
        Ok(Reply::Attributes {
            call,
            generation: generation.unwrap_or(0),
        })
    }

    /// The generation number of an inode, of regular files and directories that the server's user may read.
    fn generation(&self, fid: &Fid, state: &State, stat: &Stat) -> Option<u64> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !kind.is_file() && !kind.is_dir() {
            return None;
        }
        let opened;
        let fd = match state {
            State::File(file) => file.as_fd(),
            State::Dir(dir) => dir.fd.as_fd(),
            _ => {
                let _names = self.names.read().expect("no holder of this lock panics");
                opened = self.target(fid).ok()?.open(OFlags::RDONLY).ok()?;
                opened.as_fd()
            }
        };
        let mut generation: libc::c_long = 0;
        // SAFETY: the request writes one `long` to the address it is given.
        let answer = unsafe { libc::ioctl(fd.as_raw_fd(), GET_GENERATION, &mut generation) };
        // QEMU says 0, and that it knows, of file systems that have no such numbers.
        let none = || std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOTTY);
        (answer == 0 || none()).then_some(generation as u64)
    }

    /// Tsetattr: mode, times, owner and size, in QEMU's order; what was done before a failure stays done.
    pub fn setattr(&self, fid: &Fid, valid: SetAttrMask, new: &SetAttr) -> Result<FCall> {
        self.writable()?;
        let _names = self.names.read().expect("no holder of this lock panics");
        let target = || self.target(fid);
        if valid.contains(SetAttrMask::MODE) {
            target()?.chmod(new.mode & 0o7777, self.behaviour.special_mode)?;
            held::changed();
        }
        if valid.intersects(SetAttrMask::ATIME | SetAttrMask::MTIME) {
            let times = Timestamps {
                last_access: time(
                    valid,
                    SetAttrMask::ATIME,
                    SetAttrMask::ATIME_SET,
                    &new.atime,
                ),
                last_modification: time(
                    valid,
                    SetAttrMask::MTIME,
                    SetAttrMask::MTIME_SET,
                    &new.mtime,
                ),
            };
            target()?.utimes(&times)?;
        }
        let named = SetAttrMask::MODE
            | SetAttrMask::UID
            | SetAttrMask::GID
            | SetAttrMask::SIZE
            | SetAttrMask::ATIME
            | SetAttrMask::MTIME
            | SetAttrMask::CTIME;
        let touch = valid & named == SetAttrMask::CTIME;
        if valid.intersects(SetAttrMask::UID | SetAttrMask::GID) || touch {
            let user = if valid.contains(SetAttrMask::UID) {
                new.uid
            } else {
                u32::MAX
            };
            let group = if valid.contains(SetAttrMask::GID) {
                new.gid
            } else {
                u32::MAX
            };
            target()?.chown(user, group)?;
            held::changed();
        }
        if valid.contains(SetAttrMask::SIZE) {
            self.truncate(fid, new.size)?;
        }
        Ok(FCall::RSetAttr)
    }

    fn truncate(&self, fid: &Fid, size: u64) -> Result<()> {
        if self.behaviour.reach == Reach::Handle
            && let Some(file) = fid.file()
        {
            // Who opened the file for writing may cut it, whatever its mode is by now.
            match ftruncate(&file, size) {
                Err(Errno::INVAL | Errno::BADF) => {}
                result => return result,
            }
        }
        ftruncate(self.target(fid)?.open(OFlags::WRONLY)?, size)
    }

    /// Treadlink.
    pub fn readlink(&self, fid: &Fid) -> Result<FCall> {
        let _names = self.names.read().expect("no holder of this lock panics");
        let target = self.target(fid)?.readlink()?;
        Ok(FCall::RReadLink {
            target: from_wire(&target),
        })
    }

    /// Tstatfs: the host's file system, with blocks of the size that suits I/O messages, as QEMU has it.
    ///
    /// # Errors
    /// Under profiles that go by path those of opening the file for reading: EACCES, ENXIO, ELOOP.
    pub fn statfs(&self, fid: &Fid, msize: u32) -> Result<FCall> {
        let _names = self.names.read().expect("no holder of this lock panics");
        let stat = match fid.handle() {
            Some(handle) => fstatfs(&handle)?,
            None => fstatfs(self.target(fid)?.open(OFlags::RDONLY)?)?,
        };
        let block = stat.f_bsize as u64;
        let room = u64::from(msize.max(self.blocks_for) - 24);
        let factor = (room / block.max(1)).max(1);
        // SAFETY: an fsid is two numbers of four bytes, whatever the C type's names for them are.
        let [low, high] = unsafe { std::mem::transmute::<rustix::fs::Fsid, [u32; 2]>(stat.f_fsid) };
        let statfs = StatFs {
            typ: stat.f_type as u32,
            bsize: (block * factor) as u32,
            blocks: stat.f_blocks as u64 / factor,
            bfree: stat.f_bfree as u64 / factor,
            bavail: stat.f_bavail as u64 / factor,
            files: stat.f_files as u64,
            ffree: stat.f_ffree as u64,
            fsid: u64::from(low) | u64::from(high) << 32,
            namelen: stat.f_namelen as u32,
        };
        Ok(FCall::RStatFs { statfs })
    }
}

fn attributes(stat: &Stat, blksize: u64) -> rs9p::Stat {
    let time = |sec: i64, nsec: u64| Time {
        sec: sec as u64,
        nsec,
    };
    rs9p::Stat {
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        nlink: stat.st_nlink,
        rdev: stat.st_rdev,
        size: stat.st_size as u64,
        blksize,
        blocks: stat.st_blocks as u64,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
    }
}

/// One of the two times of a Tsetattr: given, the server's present one, or left.
fn time(valid: SetAttrMask, named: SetAttrMask, given: SetAttrMask, time: &Time) -> Timespec {
    match (valid.contains(named), valid.contains(given)) {
        (false, _) => Timespec {
            tv_sec: 0,
            tv_nsec: OMIT,
        },
        (true, false) => Timespec {
            tv_sec: 0,
            tv_nsec: NOW,
        },
        (true, true) => Timespec {
            tv_sec: time.sec as i64,
            tv_nsec: time.nsec as i64,
        },
    }
}
