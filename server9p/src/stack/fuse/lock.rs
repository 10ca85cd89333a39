//! `v9fs_file_do_lock` and what the VFS does around it.
//!
//! v9fs takes every lock twice: first among the guest's own programs, as Linux does for a local file, then from
//! the server with Tlock. It turns `flock` into a POSIX lock of the whole file whose owner is the open file, so
//! that `flock` and `fcntl` locks conflict, even within one process. FUSE tells owners apart in just that way, so
//! one table of POSIX locks per inode ([`InodeLocks`]) serves all kinds.
//!
//! fuser does not pass on FUSE_INTERRUPT. A request that waits therefore looks now and then whether its thread
//! has a signal to handle, as /proc tells, and then answers EINTR; without /proc it cannot be interrupted.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use fuser::Errno;

use super::{
    convert::{Outcome, errno},
    file::Handle,
    volume::Volume,
};
use crate::client::{LockRequest, LockStatus, LockType};

/// How often a waiting request looks for signals.
const INTERVAL: Duration = Duration::from_millis(20);
/// `P9_LOCK_TIMEOUT`: how long v9fs waits before it asks a server again that said BLOCKED.
const SERVER_RETRY: Duration = Duration::from_secs(30);
/// How long the kernel may take to tell that a closed file was the last reference to it: it does not wait for
/// that before `close` returns.
const CLOSING: Duration = Duration::from_millis(50);
/// Linux's `OFFSET_MAX`, the end of a lock to the end of the file.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// A lock that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Who asks: a process' files, or an open file.
    pub owner: u64,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
    /// Kind.
    pub kind: LockType,
    /// Process id of whoever asks.
    pub pid: u32,
}

/// A lock that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    owner: u64,
    start: u64,
    end: u64,
    write: bool,
    pid: u32,
    /// The open file that it was taken through.
    file: u64,
    /// A descriptor of that file was closed since.
    closed: bool,
}

/// The locks on one inode, by start.
#[derive(Debug, Default)]
struct InodeLocks(Vec<Held>);

impl InodeLocks {
    /// `posix_test_lock`: a lock of somebody else that conflicts.
    fn conflict(&self, wanted: &Wanted) -> Option<Held> {
        self.0
            .iter()
            .find(|held| {
                held.owner != wanted.owner
                    && held.start <= wanted.end
                    && wanted.start <= held.end
                    && (held.write || wanted.kind == LockType::Write)
            })
            .copied()
    }

    /// `posix_lock_inode`: gives `wanted.owner` the lock, or nothing, on the range, whatever it had there.
    fn set(&mut self, wanted: &Wanted, file: u64) {
        let mut kept = Vec::with_capacity(self.0.len() + 2);
        for held in self.0.drain(..) {
            if held.owner != wanted.owner || held.end < wanted.start || wanted.end < held.start {
                kept.push(held);
                continue;
            }
            if held.start < wanted.start {
                kept.push(Held {
                    end: wanted.start - 1,
                    ..held
                });
            }
            if held.end > wanted.end {
                kept.push(Held {
                    start: wanted.end + 1,
                    ..held
                });
            }
        }
        if wanted.kind != LockType::Unlock {
            kept.push(Held {
                owner: wanted.owner,
                start: wanted.start,
                end: wanted.end,
                write: wanted.kind == LockType::Write,
                pid: wanted.pid,
                file,
                closed: false,
            });
        }
        kept.sort_by_key(|held| (held.start, held.owner));
        // Neighbours that are alike become one, as F_GETLK shows them.
        kept.dedup_by(|next, held| {
            let one = held.owner == next.owner
                && held.write == next.write
                && held.file == next.file
                && next.start == held.end.saturating_add(1);
            if one {
                held.end = next.end;
            }
            one
        });
        self.0 = kept;
    }
}

#[derive(Debug, Default)]
struct Table {
    inodes: HashMap<u64, InodeLocks>,
    /// Whom each waiting owner waits for.
    waits: HashMap<u64, u64>,
}

impl Table {
    /// `posix_locks_deadlock`: whether `owner` would wait for itself.
    fn deadlock(&self, owner: u64, holder: u64) -> bool {
        let mut at = holder;
        // As many steps as Linux takes.
        for _ in 0..10 {
            match self.waits.get(&at) {
                Some(next) if *next == owner => return true,
                Some(next) => at = *next,
                None => return false,
            }
        }
        false
    }
}

/// All locks that programs on this mount hold.
#[derive(Debug, Default)]
pub(super) struct Locks {
    table: Mutex<Table>,
    changed: Condvar,
}

impl Locks {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes or releases a lock, waiting for others while `wait` allows it.
    fn set(
        &self,
        handle: &Handle,
        wanted: &Wanted,
        wait: Option<&dyn Fn() -> bool>,
    ) -> Outcome<()> {
        let inode = handle.node.id;
        let mut table = self.table();
        let started = Instant::now();
        loop {
            let locks = table.inodes.entry(inode).or_default();
            let conflict = match wanted.kind {
                LockType::Unlock => None,
                _ => locks.conflict(wanted),
            };
            let Some(conflict) = conflict else {
                locks.set(wanted, handle.number());
                if locks.0.is_empty() {
                    table.inodes.remove(&inode);
                }
                self.changed.notify_all();
                return Ok(());
            };
            table = match wait {
                Some(interrupted) => {
                    if table.deadlock(wanted.owner, conflict.owner) {
                        return Err(Errno::from_i32(libc::EDEADLK));
                    }
                    table.waits.insert(wanted.owner, conflict.owner);
                    let mut table = self.pause(table, INTERVAL);
                    table.waits.remove(&wanted.owner);
                    if interrupted() {
                        return Err(Errno::EINTR);
                    }
                    table
                }
                None if conflict.closed && started.elapsed() < CLOSING => {
                    self.pause(table, CLOSING)
                }
                None => return Err(Errno::EAGAIN),
            };
        }
    }

    fn pause<'a>(&self, table: MutexGuard<'a, Table>, most: Duration) -> MutexGuard<'a, Table> {
        self.changed
            .wait_timeout(table, most)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// The processes that took the locks on an inode which `which` chooses, each once.
    fn holders(&self, inode: u64, which: impl Fn(&Held) -> bool) -> Vec<u32> {
        let table = self.table();
        let held = table
            .inodes
            .get(&inode)
            .into_iter()
            .flat_map(|locks| &locks.0);
        let mut pids: Vec<u32> = held
            .filter(|held| which(held))
            .map(|held| held.pid)
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Drops the locks on an inode that `which` chooses; says whether the inode had any lock at all.
    fn drop_where(&self, inode: u64, which: impl Fn(&Held) -> bool) -> bool {
        let mut table = self.table();
        let Some(locks) = table.inodes.get_mut(&inode) else {
            return false;
        };
        locks.0.retain(|held| !which(held));
        if locks.0.is_empty() {
            table.inodes.remove(&inode);
        }
        self.changed.notify_all();
        true
    }
}

impl Volume {
    /// `v9fs_file_do_lock`. `wait` is given for F_SETLKW and blocking `flock`, and says when to give up; it may
    /// take as long as the lock is held by others.
    pub(super) fn set_lock(
        &self,
        handle: &Handle,
        wanted: &Wanted,
        wait: Option<&dyn Fn() -> bool>,
    ) -> Outcome<()> {
        let mut wanted = *wanted;
        if wanted.kind == LockType::Unlock && wanted.pid == 0 {
            // FUSE does not say who unlocks (`fuse_setlk`), and to the server a lock is its process's.
            let holders = self
                .locks
                .holders(handle.node.id, |held| held.owner == wanted.owner);
            wanted.pid = holders.first().copied().unwrap_or(0);
        }
        self.locks.set(handle, &wanted, wait)?;
        let outcome = self.server_lock(handle, &wanted, wait);
        if outcome.is_err() && wanted.kind != LockType::Unlock {
            let release = Wanted {
                kind: LockType::Unlock,
                ..wanted
            };
            self.locks.set(handle, &release, None)?;
        }
        outcome
    }

    fn server_lock(
        &self,
        handle: &Handle,
        wanted: &Wanted,
        wait: Option<&dyn Fn() -> bool>,
    ) -> Outcome<()> {
        let request = self.lock_request(wanted, wanted.kind);
        let flags = wait.is_some().into();
        loop {
            let status = self
                .client
                .lock(&handle.fid, &request, flags, wait)
                .map_err(errno)?;
            match (status, wait) {
                (LockStatus::Success, _) => return Ok(()),
                (LockStatus::Blocked, Some(interrupted)) => {
                    let again = Instant::now() + SERVER_RETRY;
                    let mut table = self.locks.table();
                    while Instant::now() < again {
                        table = self.locks.pause(table, INTERVAL);
                        if interrupted() {
                            return Err(Errno::EINTR);
                        }
                    }
                }
                (LockStatus::Blocked, None) => return Err(Errno::EAGAIN),
                (LockStatus::Error | LockStatus::Grace, _) => {
                    return Err(Errno::from_i32(libc::ENOLCK));
                }
            }
        }
    }

    fn lock_request(&self, wanted: &Wanted, kind: LockType) -> LockRequest<'_> {
        LockRequest {
            kind,
            start: wanted.start,
            length: match wanted.end {
                OFFSET_MAX.. => 0,
                end => end - wanted.start + 1,
            },
            proc_id: wanted.pid,
            client_id: &self.host_name,
        }
    }

    /// `v9fs_file_getlock`: the lock in the way (start, end, kind, process), among the guest's own or else by
    /// Tgetlock.
    pub(super) fn get_lock(&self, handle: &Handle, wanted: &Wanted) -> Outcome<Wanted> {
        let conflict = self
            .locks
            .table()
            .inodes
            .get(&handle.node.id)
            .and_then(|locks| locks.conflict(wanted));
        if let Some(held) = conflict {
            return Ok(Wanted {
                owner: held.owner,
                start: held.start,
                end: held.end,
                kind: if held.write {
                    LockType::Write
                } else {
                    LockType::Read
                },
                pid: held.pid,
            });
        }
        // v9fs asks about an unlock, and servers answer about what would conflict with the range.
        let request = self.lock_request(wanted, LockType::Unlock);
        let (kind, start, length, pid) =
            self.client.getlock(&handle.fid, &request).map_err(errno)?;
        if kind == LockType::Unlock {
            return Ok(Wanted { kind, ..*wanted });
        }
        Ok(Wanted {
            owner: 0,
            start,
            end: match length {
                0 => OFFSET_MAX,
                length => start.saturating_add(length - 1),
            },
            kind,
            pid,
        })
    }

    /// A descriptor was closed: a process loses its POSIX locks on the inode (`locks_remove_posix`), of which
    /// the server is told when the inode had any lock.
    pub(super) fn close_locks(&self, handle: &Handle, owner: u64, pid: u32) {
        if !self
            .locks
            .drop_where(handle.node.id, |held| held.owner == owner)
        {
            return;
        }
        let everything = Wanted {
            owner,
            start: 0,
            end: OFFSET_MAX,
            kind: LockType::Unlock,
            pid,
        };
        // As in Linux, closing does not fail for it.
        let _ = self.server_lock(handle, &everything, None);
        let mut table = self.locks.table();
        if let Some(locks) = table.inodes.get_mut(&handle.node.id) {
            for held in locks.0.iter_mut().filter(|h| h.file == handle.number()) {
                held.closed = true;
            }
        }
    }

    /// The last descriptor of an open file was closed: `flock` and OFD locks taken through it go.
    pub(super) fn release_locks(&self, handle: &Arc<Handle>) {
        let file = handle.number();
        let holders = self.locks.holders(handle.node.id, |held| held.file == file);
        if self
            .locks
            .drop_where(handle.node.id, |held| held.file == file)
        {
            let mut everything = Wanted {
                owner: 0,
                start: 0,
                end: OFFSET_MAX,
                kind: LockType::Unlock,
                pid: holders.first().copied().unwrap_or(0),
            };
            let _ = self.server_lock(handle, &everything, None);
            for pid in holders.into_iter().skip(1) {
                everything.pid = pid;
                let _ = self.server_lock(handle, &everything, None);
            }
        }
    }
}

/// Whether the thread `tid` has a signal that it will handle once its system call returns, or is gone.
pub(super) fn signalled(tid: u32) -> bool {
    if !proc_is_ours() {
        return false;
    }
    let Ok(status) = std::fs::read_to_string(format!("/proc/{tid}/status")) else {
        return true;
    };
    let mask = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|value| u64::from_str_radix(value.trim(), 16).ok())
            .unwrap_or(0)
    };
    (mask("SigPnd") | mask("ShdPnd")) & !mask("SigBlk") != 0
}

/// Whether /proc counts processes as FUSE does: in the pid namespace of this process.
fn proc_is_ours() -> bool {
    static OURS: OnceLock<bool> = OnceLock::new();
    *OURS.get_or_init(|| {
        std::fs::read_link("/proc/self")
            .is_ok_and(|link| link.to_str() == Some(&std::process::id().to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(owner: u64, start: u64, end: u64, kind: LockType) -> Wanted {
        Wanted {
            owner,
            start,
            end,
            kind,
            pid: owner as u32,
        }
    }

    #[test]
    fn unlocking_the_middle_splits_a_lock() {
        let mut locks = InodeLocks::default();
        locks.set(&wanted(1, 0, 99, LockType::Write), 7);
        locks.set(&wanted(1, 40, 59, LockType::Unlock), 7);
        let held: Vec<_> = locks.0.iter().map(|held| (held.start, held.end)).collect();
        assert_eq!(held, [(0, 39), (60, 99)]);
        assert!(
            locks
                .conflict(&wanted(2, 40, 59, LockType::Write))
                .is_none()
        );
        assert!(locks.conflict(&wanted(2, 59, 60, LockType::Read)).is_some());
    }

    #[test]
    fn neighbours_of_one_owner_become_one_lock() {
        let mut locks = InodeLocks::default();
        locks.set(&wanted(1, 0, 9, LockType::Read), 7);
        locks.set(&wanted(1, 10, 19, LockType::Read), 7);
        let conflict = locks.conflict(&wanted(2, 5, 5, LockType::Write)).unwrap();
        assert_eq!((conflict.start, conflict.end), (0, 19));
    }

    #[test]
    fn a_cycle_of_waiting_owners_is_a_deadlock() {
        let mut table = Table::default();
        table.waits.insert(2, 3);
        table.waits.insert(3, 1);
        assert!(table.deadlock(1, 2));
        assert!(!table.deadlock(4, 2));
    }
}
