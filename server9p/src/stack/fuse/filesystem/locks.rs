//! Locks: asked for, set, and waited for.

use std::sync::Arc;

use fuser::{Errno, FileHandle, LockOwner, ReplyEmpty, ReplyLock};

use super::{V9fs, answer::answer};
use crate::{
    client::LockType,
    stack::fuse::{
        convert::Outcome,
        lock::{Wanted, signalled},
    },
};

/// A lock as the kernel names it.
pub(super) fn wanted(
    owner: LockOwner,
    start: u64,
    end: u64,
    typ: i32,
    pid: u32,
) -> Outcome<Wanted> {
    let kind = match typ {
        libc::F_RDLCK => LockType::Read,
        libc::F_WRLCK => LockType::Write,
        libc::F_UNLCK => LockType::Unlock,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Wanted {
        owner: owner.0,
        start,
        end,
        kind,
        pid,
    })
}

impl V9fs {
    /// The lock that is in the way of the one that is wanted.
    pub(super) fn get_lock(&self, fh: FileHandle, wanted: Outcome<Wanted>, reply: ReplyLock) {
        let outcome = self
            .0
            .handle(fh.0)
            .and_then(|handle| self.0.get_lock(&handle, &wanted?));
        match outcome {
            Ok(lock) => {
                let typ = match lock.kind {
                    LockType::Read => libc::F_RDLCK,
                    LockType::Write => libc::F_WRLCK,
                    LockType::Unlock => libc::F_UNLCK,
                };
                reply.locked(lock.start, lock.end, typ, lock.pid);
            }
            Err(error) => reply.error(error),
        }
    }

    /// Sets or releases a lock; with `sleep` it is waited for, until `thread` is signalled.
    pub(super) fn set_lock(
        &self,
        fh: FileHandle,
        wanted: Outcome<Wanted>,
        sleep: bool,
        thread: u32,
        reply: ReplyEmpty,
    ) {
        let (handle, wanted) = match self.0.handle(fh.0).and_then(|h| Ok((h, wanted?))) {
            Ok(both) => both,
            Err(error) => return reply.error(error),
        };
        if !sleep || wanted.kind == LockType::Unlock {
            return answer(self.0.set_lock(&handle, &wanted, None), reply);
        }
        // It may wait for long, and must not keep a serving thread from answering whoever it waits for.
        let volume = Arc::clone(&self.0);
        let waiter = move || {
            let interrupted = || signalled(thread);
            answer(volume.set_lock(&handle, &wanted, Some(&interrupted)), reply);
        };
        if let Err(error) = std::thread::Builder::new()
            .name("fuse-lock".into())
            .spawn(waiter)
        {
            // The reply went with the closure, and its drop has answered EIO.
            tracing::warn!(%error, "no thread can be started to wait for a lock");
        }
    }
}
