//! Dropping the kernel's cached pages of a file that was written through another descriptor.
//!
//! The kernel is told before the writer gets its answer, so that whoever learns of the write reads what was
//! written. It is told by a thread of its own: dropping a page may wait for a read of it, which one of the
//! serving threads must be free to answer.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{Sender, channel},
    },
};

use fuser::{INodeNo, Notifier};

use super::node::Node;

type Job = (Vec<u64>, u64, u64, Box<dyn FnOnce() + Send>);

/// Knows which nodes have pages in the kernel's cache.
#[derive(Default)]
pub(super) struct Invalidator {
    /// By the server's file: the nodes with cached open files, and how many.
    cached: Mutex<HashMap<u64, HashMap<u64, usize>>>,
    jobs: OnceLock<Sender<Job>>,
}

impl std::fmt::Debug for Invalidator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invalidator")
            .field("cached", &self.cached)
            .finish_non_exhaustive()
    }
}

impl Invalidator {
    pub fn start(&self, notifier: Notifier) {
        let (sender, jobs) = channel::<Job>();
        if self.jobs.set(sender).is_err() {
            return;
        }
        // It ends when the sender is dropped with the volume.
        let thread = std::thread::Builder::new()
            .name("fuse-invalidate".into())
            .spawn(move || {
                for (nodes, start, length, then) in jobs {
                    for node in nodes {
                        // A node that the kernel has dropped has no pages either.
                        let _ = notifier.inval_inode(INodeNo(node), start as i64, length as i64);
                    }
                    then();
                }
            });
        if let Err(error) = thread {
            tracing::warn!(%error, "no thread for dropping cached pages; readers may see old data");
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<u64, HashMap<u64, usize>>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file was opened whose reads the kernel caches.
    pub fn cached(&self, node: &Node) {
        *self
            .map()
            .entry(node.qid_path)
            .or_default()
            .entry(node.id)
            .or_default() += 1;
    }

    /// And closed.
    pub fn uncached(&self, node: &Node) {
        let mut map = self.map();
        let Some(nodes) = map.get_mut(&node.qid_path) else {
            return;
        };
        if let Some(count) = nodes.get_mut(&node.id) {
            *count -= 1;
            if *count == 0 {
                nodes.remove(&node.id);
            }
        }
        if nodes.is_empty() {
            map.remove(&node.qid_path);
        }
    }

    /// `length` bytes from `start` (0: all that follow) of `node`'s file have changed: drops what the kernel
    /// caches of them, then runs `then`. Returns at once.
    pub fn changed(
        &self,
        node: &Node,
        start: u64,
        length: u64,
        then: impl FnOnce() + Send + 'static,
    ) {
        let nodes: Vec<u64> = match self.map().get(&node.qid_path) {
            None => Vec::new(),
            Some(nodes) => nodes.keys().copied().collect(),
        };
        if nodes.is_empty() {
            return then();
        }
        match self.jobs.get() {
            None => then(),
            Some(jobs) => {
                if let Err(unsent) = jobs.send((nodes, start, length, Box::new(then))) {
                    unsent.0.3();
                }
            }
        }
    }
}
