//! What went over the wire, counted where another process can read it while the server serves.
//!
//! The counters lie in memory that the server shares with who started it, so that reading them costs the server
//! nothing and needs no message of its own.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use crate::{
    shared_memory::{RFETCH, RSTORE},
    wire::Reply,
};

/// Bytes that are shared: one page.
const SIZE: usize = 4096;

/// Counters of whole frames, their size fields included.
#[derive(Debug, Clone)]
pub struct Counters(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fd: OwnedFd,
    memory: NonNull<[AtomicU64; 5]>,
}

// SAFETY: what is pointed at are atomics, which any thread may use, and which stay mapped until this is dropped.
unsafe impl Send for Shared {}
// SAFETY: the same.
unsafe impl Sync for Shared {}

/// What was counted until some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wire {
    /// Frames that the server received.
    pub requests: u64,
    /// Bytes of them.
    pub request_bytes: u64,
    /// Frames that it sent.
    pub replies: u64,
    /// Bytes of them.
    pub reply_bytes: u64,
    /// For how long requests were carried out, all threads together.
    pub busy: Duration,
}

impl Counters {
    /// Counters at zero.
    ///
    /// # Errors
    /// Where no shared memory can be had.
    pub fn new() -> io::Result<Counters> {
        let fd = memfd_create(c"probe9p-counters", MemfdFlags::CLOEXEC)?;
        ftruncate(&fd, SIZE as u64)?;
        Counters::of(fd)
    }

    /// The counters behind a descriptor that [`Counters::fd`] gave, in another process.
    ///
    /// # Errors
    /// Where it cannot be mapped, or is no memory of that size.
    pub fn of(fd: OwnedFd) -> io::Result<Counters> {
        if rustix::fs::fstat(&fd)?.st_size < SIZE as i64 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice; the file has that size, and nobody who has it
        // makes it smaller.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                SIZE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &fd,
                0,
            )
        }?;
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Counters(Arc::new(Shared { fd, memory })))
    }

    /// The descriptor by which another process finds these counters.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }

    fn cells(&self) -> &[AtomicU64; 5] {
        // SAFETY: mapped, aligned to a page, and shared through atomics alone.
        unsafe { self.0.memory.as_ref() }
    }

    /// One more frame of so many bytes came in.
    pub(super) fn request(&self, bytes: usize) {
        let [requests, size, ..] = self.cells();
        requests.fetch_add(1, Ordering::Relaxed);
        size.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// One more frame of so many bytes goes out.
    pub(super) fn reply(&self, bytes: usize) {
        let [_, _, replies, size, _] = self.cells();
        replies.fetch_add(1, Ordering::Relaxed);
        size.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Data that went around the socket count as if they had been part of their message.
    pub(super) fn shared(&self, reply: &Reply) {
        let [_, requests, _, replies, _] = self.cells();
        match reply {
            Reply::Shared {
                kind: RFETCH,
                count,
            } => {
                replies.fetch_add(u64::from(*count), Ordering::Relaxed);
            }
            Reply::Shared {
                kind: RSTORE,
                count,
            } => {
                requests.fetch_add(u64::from(*count), Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// A request took so long to carry out.
    pub(super) fn busy(&self, time: Duration) {
        let [.., busy] = self.cells();
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        busy.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn read(&self) -> Wire {
        let [requests, request_bytes, replies, reply_bytes, busy] = self
            .cells()
            .each_ref()
            .map(|cell| cell.load(Ordering::Relaxed));
        Wire {
            requests,
            request_bytes,
            replies,
            reply_bytes,
            busy: Duration::from_nanos(busy),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `Counters::of`, of that size, and nothing refers to it any more.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), SIZE) };
    }
}

impl Wire {
    /// Both together.
    pub fn plus(self, other: Wire) -> Wire {
        Wire {
            requests: self.requests + other.requests,
            request_bytes: self.request_bytes + other.request_bytes,
            replies: self.replies + other.replies,
            reply_bytes: self.reply_bytes + other.reply_bytes,
            busy: self.busy + other.busy,
        }
    }

    /// What was counted since an earlier moment.
    pub fn since(self, before: Wire) -> Wire {
        Wire {
            requests: self.requests.saturating_sub(before.requests),
            request_bytes: self.request_bytes.saturating_sub(before.request_bytes),
            replies: self.replies.saturating_sub(before.replies),
            reply_bytes: self.reply_bytes.saturating_sub(before.reply_bytes),
            busy: self.busy.saturating_sub(before.busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_process_counts_the_other_reads() {
        let ours = Counters::new().unwrap();
        let theirs = Counters::of(ours.fd().try_clone_to_owned().unwrap()).unwrap();
        theirs.request(19);
        let before = ours.read();
        theirs.request(23);
        theirs.reply(11);
        theirs.busy(Duration::from_micros(7));
        let seen = ours.read().since(before);
        let expected = Wire {
            requests: 1,
            request_bytes: 23,
            replies: 1,
            reply_bytes: 11,
            busy: Duration::from_micros(7),
        };
        assert_eq!(seen, expected);
        assert!(Counters::of(memfd_create(c"empty", MemfdFlags::CLOEXEC).unwrap()).is_err());
    }
}
