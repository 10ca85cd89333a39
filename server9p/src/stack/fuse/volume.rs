//! v9fs's session: the 9P client, the dentries and the open files.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use fuser::{Errno, FopenFlags, INodeNo, Notifier};

use super::{
    FuseError, FuseOptions,
    convert::{Ids, Outcome},
    file::{Handle, Room},
    invalidate::Invalidator,
    lock::Locks,
    mappings::Guard,
    node::{Node, Nodes, ROOT},
    readahead,
};
use crate::{
    client::{Client, Fid, GetattrMask, wire},
    stack::{Cache, Series},
};

/// The user name that v9fs attaches with (`V9FS_DEFUSER`).
pub(super) const UNAME: &[u8] = b"nobody";

/// The largest read or write that the kernel should send, in bytes, whatever the msize: its Treads or Twrites go out
/// together. Larger than any one of them, so that the single Tread of an O_NONBLOCK read comes back short of what the
/// kernel asked for, and the kernel asks no further. The most that FUSE allows without privileges
/// (`fs.fuse.max_pages_limit`).
pub(super) const LARGEST_REQUEST: u32 = 1 << 20;

/// A mounted volume's state.
#[derive(Debug)]
pub(super) struct Volume {
    pub client: Client,
    pub series: Series,
    pub cache: Cache,
    pub aname: String,
    mountpoint: PathBuf,
    pub nodes: Nodes,
    /// How often a watch was asked for.
    pub watches: AtomicUsize,
    pub invalidator: Invalidator,
    pub locks: Locks,
    pub ids: Ids,
    /// v9fs's name for this client in Tlock: the machine's (`utsname()->nodename`).
    pub host_name: Vec<u8>,
    /// The first attach, for no user in particular, as v9fs keeps it for the superblock.
    superblock: Mutex<Option<Fid>>,
    handles: RwLock<HashMap<u64, Arc<Handle>>>,
    next_handle: AtomicU64,
    /// v9fs's `rename_sem`: walks by path do not meet a rename.
    rename: RwLock<()>,
    buffers: Mutex<Vec<Vec<u8>>>,
    /// Whether somebody answers for the shared mappings that v9fs refuses.
    pub supervised: bool,
    /// Whether the kernel maps files that it reads and writes directly, or why not, once that is agreed on.
    pub direct_mmap: OnceLock<Result<(), String>>,
    /// What refuses shared mappings where nobody answers for them.
    pub guard: OnceLock<Guard>,
    /// The first file that was opened has set the kernel's window for reading ahead.
    window: std::sync::Once,
}

impl Volume {
    /// Attaches, as `v9fs_session_init` and `v9fs_mount` do.
    pub fn attach(
        client: Client,
        mountpoint: &Path,
        options: &FuseOptions,
    ) -> Result<Volume, FuseError> {
        let (fid, _) = client.attach(UNAME, options.aname.as_bytes(), wire::NONUNAME)?;
        let attr = client.getattr(&fid, GetattrMask::BASIC)?;
        Ok(Volume {
            client,
            series: options.series,
            cache: options.cache,
            supervised: options.supervised,
            aname: options.aname.clone(),
            mountpoint: mountpoint.to_owned(),
            nodes: Nodes::new(attr),
            watches: AtomicUsize::new(0),
            invalidator: Invalidator::default(),
            locks: Locks::default(),
            ids: Ids::of_this_process(),
            host_name: rustix::system::uname().nodename().to_bytes().to_vec(),
            superblock: Mutex::new(Some(fid)),
            handles: RwLock::default(),
            next_handle: AtomicU64::new(1),
            rename: RwLock::default(),
            buffers: Mutex::default(),
            direct_mmap: OnceLock::new(),
            guard: OnceLock::new(),
            window: std::sync::Once::new(),
        })
    }

    /// Where it is mounted, as this process sees it.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The 9P session.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Starts what tells the kernel to drop cached pages.
    pub fn start_invalidator(&self, notifier: Notifier) {
        self.invalidator.start(notifier);
    }

    /// The kernel's node.
    pub fn node(&self, ino: INodeNo) -> Outcome<Arc<Node>> {
        self.nodes.get(ino.0).ok_or(Errno::ESTALE)
    }

    pub fn root(&self) -> Arc<Node> {
        self.nodes.get(ROOT).expect("the root is never forgotten")
    }

    /// Whether the kernel maps files that it reads and writes directly.
    pub fn maps_directly(&self) -> bool {
        matches!(self.direct_mmap.get(), Some(Ok(())))
    }

    /// Whether attributes, names and data are kept without asking the server again.
    pub fn is_loose(&self) -> bool {
        matches!(self.cache, Cache::Loose | Cache::Fscache)
    }

    pub fn renaming(&self) -> std::sync::RwLockWriteGuard<'_, ()> {
        self.rename.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn walking(&self) -> std::sync::RwLockReadGuard<'_, ()> {
        self.rename.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an open file and gives its number for the kernel.
    pub fn keep(&self, handle: Handle) -> (u64, FopenFlags) {
        let flags = handle.fopen;
        self.window
            .call_once(|| readahead::set(&self.mountpoint, handle.io_size));
        let number = self.next_handle.fetch_add(1, Ordering::Relaxed);
        let handle = Arc::new(handle.numbered(number));
        handle
            .node
            .state()
            .open
            .insert(0, (handle.uid, Arc::downgrade(&handle)));
        if handle.fills_cache() {
            self.invalidator.cached(&handle.node);
        }
        self.handles
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, handle);
        (number, flags)
    }

    /// The open file that the kernel means.
    pub fn handle(&self, number: u64) -> Outcome<Arc<Handle>> {
        self.handles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&number)
            .cloned()
            .ok_or(Errno::EBADF)
    }

    /// The kernel closed the file for good: its fid is clunked.
    pub fn release(&self, number: u64) {
        let handle = self
            .handles
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        let Some(handle) = handle else { return };
        self.release_locks(&handle);
        if handle.fills_cache() {
            self.invalidator.uncached(&handle.node);
        }
        handle
            .node
            .state()
            .open
            .retain(|(_, open)| !std::ptr::eq(open.as_ptr(), Arc::as_ptr(&handle)));
    }

    /// Gives all fids back, as v9fs does when it unmounts, and reads what the server has still to say, so that
    /// it sees an orderly end.
    pub fn close(&self) {
        let handles =
            std::mem::take(&mut *self.handles.write().unwrap_or_else(PoisonError::into_inner));
        drop(handles);
        self.nodes.clear();
        let superblock = self
            .superblock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(fid) = superblock {
            // A server that is gone has freed it.
            let _ = self.client.clunk(fid);
        }
    }

    fn buffer_pool(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a read of so many bytes: in the memory that the server shares, or a buffer that was used before, if
    /// possible, since filling a new one with zeros costs as much as a small read.
    pub fn take_room(&self, size: u32) -> Room {
        match self.client.lane(size as usize) {
            Some(lane) => Room::Shared(lane),
            None => Room::Own(self.buffer_pool().pop().unwrap_or_default()),
        }
    }

    /// It is needed no more.
    pub fn give_room(&self, room: Room) {
        const KEPT: usize = 16;
        let Room::Own(buffer) = room else { return };
        let mut pool = self.buffer_pool();
        if pool.len() < KEPT {
            pool.push(buffer);
        }
    }
}
