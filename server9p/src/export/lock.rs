//! Byte-range locks.
//!
//! Where the profile grants everything, so do we. Real locks are the host's own: every owner (a process of a
//! client) has an open file description of its own for each file, and open-file-description locks on it, which
//! the kernel merges and splits for one owner as POSIX wants it, and by which it keeps owners, clients and
//! processes of the host apart.

use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Mutex,
};

use rs9p::{FCall, Flock, Getlock, LockFlag, LockStatus, LockType};
use rustix::{
    fs::{Mode, OFlags, fcntl_getfl, fstat, open},
    io::Errno,
};
use tokio::sync::Notify;

use super::{Export, Fid, Locks, Result, target::proc_path};

/// What came of an attempt to lock.
#[derive(Debug)]
pub enum LockAnswer {
    /// To be answered at once.
    Done(FCall),
    /// Another owner holds the range; the client asked to wait for it.
    Wait,
}

/// A file, whatever fid it was opened through.
type File = (u64, u64);

/// Who holds locks: a process of a client, on one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    session: u64,
    client: String,
    process: u32,
}

/// What one owner holds on one file.
#[derive(Debug)]
struct Held {
    description: OwnedFd,
    /// The fids through which it was locked; with the last of them the locks end.
    fids: HashSet<usize>,
}

/// All real locks of an export.
#[derive(Debug, Default)]
pub(super) struct Table {
    held: Mutex<HashMap<File, HashMap<Owner, Held>>>,
    released: Notify,
}

impl Export {
    /// Tlock.
    ///
    /// # Errors
    /// EINVAL for unknown flags and types; EBADF where no file is open, under profiles with real locks.
    pub fn lock(&self, session: u64, fid: &Fid, lock: &Flock) -> Result<LockAnswer> {
        if lock.flags.intersects(!LockFlag::BLOCK) {
            return Err(Errno::INVAL);
        }
        let success = LockAnswer::Done(FCall::RLock {
            status: LockStatus::SUCCESS,
        });
        if self.behaviour.locks == Locks::Granted {
            return Ok(success);
        }
        let file = fid.file().ok_or(Errno::BADF)?;
        let owner = Owner {
            session,
            client: lock.client_id.clone(),
            process: lock.proc_id,
        };
        let range = range(lock.typ, lock.start, lock.length)?;
        match self
            .locks
            .set(owner, std::ptr::from_ref(fid) as usize, file.as_fd(), range)?
        {
            true => Ok(success),
            false if lock.flags.contains(LockFlag::BLOCK) => Ok(LockAnswer::Wait),
            false => Ok(LockAnswer::Done(FCall::RLock {
                status: LockStatus::BLOCKED,
            })),
        }
    }

    /// Tells when a lock may have become free. Processes of the host do not tell: look again now and then.
    pub fn lock_released(&self) -> tokio::sync::futures::Notified<'_> {
        self.locks.released.notified()
    }

    /// Tgetlock: the lock that would be in the way of this one, or an unlocked one.
    pub fn getlock(&self, session: u64, fid: &Fid, lock: &Getlock) -> Result<FCall> {
        let free = Getlock {
            typ: LockType::UNLOCK,
            ..lock.clone()
        };
        if self.behaviour.locks == Locks::Granted {
            return Ok(FCall::RGetLock { flock: free });
        }
        let file = fid.file().ok_or(Errno::BADF)?;
        let owner = Owner {
            session,
            client: lock.client_id.clone(),
            process: lock.proc_id,
        };
        let range = range(lock.typ, lock.start, lock.length)?;
        let found = self.locks.test(&owner, file.as_fd(), range)?;
        Ok(FCall::RGetLock {
            flock: found.unwrap_or(free),
        })
    }

    /// The end of a session: its locks end with it.
    pub fn end_session(&self, session: u64) {
        let mut held = self
            .locks
            .held
            .lock()
            .expect("no holder of this lock panics");
        held.retain(|_, owners| {
            owners.retain(|owner, _| owner.session != session);
            !owners.is_empty()
        });
        drop(held);
        self.locks.released.notify_waiters();
    }
}

fn range(typ: LockType, start: u64, length: u64) -> Result<libc::flock> {
    let typ = match typ {
        LockType::RDLOCK => libc::F_RDLCK,
        LockType::WRLOCK => libc::F_WRLCK,
        LockType::UNLOCK => libc::F_UNLCK,
        _ => return Err(Errno::INVAL),
    };
    Ok(libc::flock {
        l_type: typ as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: i64::try_from(start).map_err(|_| Errno::INVAL)?,
        // The largest length is v9fs's way to say "to the end", which the host says with 0.
        l_len: i64::try_from(length).unwrap_or(0),
        l_pid: 0,
    })
}

fn fcntl(fd: BorrowedFd<'_>, command: libc::c_int, lock: &mut libc::flock) -> Result<()> {
    // SAFETY: the OFD commands read, and F_OFD_GETLK writes, one `flock` at the address.
    match unsafe { libc::fcntl(fd.as_raw_fd(), command, std::ptr::from_mut(lock)) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

fn identity(file: BorrowedFd<'_>) -> Result<File> {
    let stat = fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// A new open file description of an open file, for reading and writing where that is permitted.
fn describe(file: BorrowedFd<'_>) -> Result<OwnedFd> {
    let path = proc_path(file);
    let reopen = |flags: OFlags| {
        open(
            path.as_str(),
            flags | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
        )
    };
    reopen(OFlags::RDWR).or_else(|_| reopen(fcntl_getfl(file)? & OFlags::RWMODE))
}

impl Table {
    /// Sets or removes a lock; `false` where another owner's is in the way.
    fn set(
        &self,
        owner: Owner,
        fid: usize,
        file: BorrowedFd<'_>,
        mut range: libc::flock,
    ) -> Result<bool> {
        let identity = identity(file)?;
        let mut held = self.held.lock().expect("no holder of this lock panics");
        let owners = held.entry(identity).or_default();
        if !owners.contains_key(&owner) {
            owners.insert(
                owner.clone(),
                Held {
                    description: describe(file)?,
                    fids: HashSet::new(),
                },
            );
        }
        let mine = owners.get_mut(&owner).expect("the owner was just put in");
        mine.fids.insert(fid);
        match fcntl(mine.description.as_fd(), libc::F_OFD_SETLK, &mut range) {
            Ok(()) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => return Ok(false),
            Err(errno) => return Err(errno),
        }
        drop(held);
        // Unlocking and downgrading both make room.
        if range.l_type != libc::F_WRLCK as i16 {
            self.released.notify_waiters();
        }
        Ok(true)
    }

    fn test(
        &self,
        owner: &Owner,
        file: BorrowedFd<'_>,
        range: libc::flock,
    ) -> Result<Option<Getlock>> {
        let held = self.held.lock().expect("no holder of this lock panics");
        let owners = held.get(&identity(file)?);
        let described;
        let asks = match owners.and_then(|owners| owners.get(owner)) {
            Some(mine) => mine.description.as_fd(),
            None => {
                described = describe(file)?;
                described.as_fd()
            }
        };
        let mut found = range;
        fcntl(asks, libc::F_OFD_GETLK, &mut found)?;
        if found.l_type == libc::F_UNLCK as i16 {
            return Ok(None);
        }
        // The kernel names no owner of such locks: it is the one whose own description finds nothing in the way.
        let holder = owners.into_iter().flatten().find(|(other, theirs)| {
            let mut probe = libc::flock {
                l_type: libc::F_WRLCK as i16,
                ..found
            };
            *other != owner
                && fcntl(theirs.description.as_fd(), libc::F_OFD_GETLK, &mut probe).is_ok()
                && probe.l_type == libc::F_UNLCK as i16
        });
        let (process, client) = match holder {
            Some((other, _)) => (other.process, other.client.clone()),
            None => (found.l_pid.max(0) as u32, String::new()),
        };
        Ok(Some(Getlock {
            typ: if found.l_type == libc::F_RDLCK as i16 {
                LockType::RDLOCK
            } else {
                LockType::WRLOCK
            },
            start: found.l_start as u64,
            length: found.l_len as u64,
            proc_id: process,
            client_id: client,
        }))
    }

    /// A fid of a file is at its end: owners that locked through it alone lose their locks.
    pub fn clunked(&self, fid: &Fid, file: BorrowedFd<'_>) {
        let mut held = self.held.lock().expect("no holder of this lock panics");
        if held.is_empty() {
            return;
        }
        let Ok(identity) = identity(file) else { return };
        let fid = std::ptr::from_ref(fid) as usize;
        let Some(owners) = held.get_mut(&identity) else {
            return;
        };
        owners.retain(|_, theirs| !(theirs.fids.remove(&fid) && theirs.fids.is_empty()));
        if owners.is_empty() {
            held.remove(&identity);
        }
        drop(held);
        self.released.notify_waiters();
    }
}
