//! What a session and all of them together may take.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds on what clients can make the server hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Fids of one connection; more are refused with EMFILE.
    pub fids: usize,
    /// Requests in progress, of all connections together; more wait to be read.
    pub requests: usize,
    /// Bytes of large requests and replies in progress, of all connections together; more wait to be read.
    pub bytes: usize,
    /// Connections at once; more are closed as soon as they are made.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fids: 1 << 20,
            requests: 256,
            bytes: 64 << 20,
            connections: 256,
        }
    }
}

/// Bytes that one permit stands for.
const UNIT: usize = 1024;

/// Bytes of large replies that one connection may have in progress or unread. A client that does not read what
/// it asked for so keeps no other waiting.
const SHARE: usize = 8 << 20;

/// What is left of one connection's share.
#[derive(Debug, Clone)]
pub(super) struct Share(Arc<Semaphore>);

impl Default for Share {
    fn default() -> Share {
        Share(Arc::new(Semaphore::new(SHARE / UNIT)))
    }
}

/// Room for a large reply, given back when it has left.
#[derive(Debug)]
pub(super) struct Room {
    _share: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// What is left of the shared limits.
#[derive(Debug)]
pub(super) struct Budget {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_total: usize,
}

impl Budget {
    pub fn new(limits: &Limits) -> Budget {
        // One message of the largest size must always fit.
        let bytes_total = (limits.bytes / UNIT).max(2 * crate::wire::MSIZE_MAX as usize / UNIT);
        Budget {
            requests: Arc::new(Semaphore::new(limits.requests.max(1))),
            bytes: Arc::new(Semaphore::new(bytes_total)),
            bytes_total,
        }
    }

    /// Waits for a request's turn.
    pub async fn request(&self) -> OwnedSemaphorePermit {
        acquire(&self.requests, 1).await
    }

    /// Waits for room for a request of so many bytes.
    pub async fn bytes(&self, count: u32) -> OwnedSemaphorePermit {
        let units = (count as usize).div_ceil(UNIT).min(self.bytes_total / 2);
        acquire(&self.bytes, units).await
    }

    /// Waits for room for a reply of so many bytes, in the connection's share first.
    pub async fn reply(&self, share: &Share, count: u32) -> Room {
        let units = (count as usize).div_ceil(UNIT).min(SHARE / UNIT);
        let share = acquire(&share.0, units).await;
        Room {
            _share: share,
            _bytes: self.bytes(count).await,
        }
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, units: usize) -> OwnedSemaphorePermit {
    let permit = semaphore.clone().acquire_many_owned(units as u32).await;
    permit.expect("the semaphore is never closed")
}
