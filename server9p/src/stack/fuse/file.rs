//! Open files: open, read, write, fsync, release.

use std::sync::{Arc, Mutex};

use fuser::{Errno, FopenFlags};

use super::{
    convert::{Outcome, dotl_flags, errno},
    dir::Listing,
    node::Node,
    volume::Volume,
};
use crate::{
    client::{Client, ClientError, Fid, Lane},
    stack::Cache,
};

/// An open file or directory: `file->private_data` is its fid.
#[derive(Debug)]
pub(super) struct Handle {
    pub fid: Arc<Fid>,
    pub node: Arc<Node>,
    /// Who opened it.
    pub uid: u32,
    /// The kernel's number for it.
    number: u64,
    /// Most bytes in one Tread or Twrite.
    pub io_size: u32,
    /// It was opened for writing.
    writable: bool,
    /// The server puts what is written at the end, wherever it is sent to.
    appends: bool,
    pub fopen: FopenFlags,
    /// Entries read and not yet asked for.
    pub listing: Mutex<Listing>,
}

/// Where data that are read go on their way to the kernel.
#[derive(Debug)]
pub(super) enum Room {
    /// Memory that the server shares.
    Shared(Lane),
    /// Memory of our own.
    Own(Vec<u8>),
}

impl Room {
    /// The first bytes of it, once they are read.
    pub fn data(&self, length: usize) -> &[u8] {
        match self {
            Room::Shared(lane) => lane.data(length),
            Room::Own(buffer) => &buffer[..length],
        }
    }

    fn fill(
        &mut self,
        client: &Client,
        handle: &Handle,
        offset: u64,
        count: u32,
        at: usize,
    ) -> Result<usize, ClientError> {
        let (fid, part) = (&handle.fid, handle.io_size);
        match self {
            Room::Shared(lane) => client.fetch(fid, offset, count, part, lane, at),
            Room::Own(buffer) if at == 0 => client.read_ahead(fid, offset, count, part, buffer),
            Room::Own(buffer) => client.read(fid, offset, count.min(part), buffer, at),
        }
    }
}

impl Handle {
    /// With the number that the kernel gets.
    pub fn numbered(self, number: u64) -> Handle {
        Handle { number, ..self }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether read(2) finds what the kernel has cached.
    pub fn reads_cache(&self) -> bool {
        self.node.kind == fuser::FileType::RegularFile
            && !self.fopen.contains(FopenFlags::FOPEN_DIRECT_IO)
    }

    /// Whether the kernel caches what is read through it, by read(2), shared mappings, or sendfile(2).
    pub fn fills_cache(&self) -> bool {
        self.reads_cache() || self.node.kind == fuser::FileType::RegularFile && !self.writable
    }
}

impl Volume {
    /// The flags to open with. Write-back caching reads the rest of a page that is written in part, so v9fs
    /// opens its `writeback_fid` for both, and does not append through it.
    pub(super) fn flags_to_open_with(&self, flags: i32) -> i32 {
        if self.is_loose() && flags & libc::O_ACCMODE == libc::O_WRONLY {
            return flags & !(libc::O_ACCMODE | libc::O_APPEND) | libc::O_RDWR;
        }
        flags
    }

    /// How the kernel is to treat an open file. With cache=none v9fs reads and writes directly, and maps shared only what
    /// is opened read-only (`generic_file_readonly_mmap`). FUSE maps either all that is direct, and then those that must not
    /// be are refused by [`calls`](super::calls) or [`mappings`](super::mappings); or nothing of it, and then exactly the
    /// writable files are direct.
    fn fopen_flags(&self, node: &Node, flags: i32) -> FopenFlags {
        if node.kind != fuser::FileType::RegularFile {
            return FopenFlags::empty();
        }
        let direct = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        match self.cache {
            Cache::Loose | Cache::Fscache => FopenFlags::FOPEN_KEEP_CACHE,
            Cache::None | Cache::Mmap if self.maps_directly() => direct,
            // With O_NONBLOCK a read is one Tread, and comes back short of what was asked for.
            Cache::None | Cache::Readahead
                if is_writable(flags) || flags & libc::O_NONBLOCK != 0 =>
            {
                direct
            }
            Cache::None | Cache::Mmap | Cache::Readahead => FopenFlags::empty(),
        }
    }

    /// An open file of a fid that was opened.
    pub(super) fn handle_for(
        &self,
        node: &Arc<Node>,
        uid: u32,
        fid: Fid,
        flags: i32,
        iounit: u32,
    ) -> Handle {
        Handle {
            fid: Arc::new(fid),
            node: Arc::clone(node),
            uid,
            number: 0,
            io_size: self.client.io_size(iounit),
            writable: is_writable(flags),
            appends: flags & libc::O_APPEND != 0,
            fopen: self.fopen_flags(node, flags),
            listing: Mutex::default(),
        }
    }

    /// `v9fs_file_open`: Tlopen on a clone of the dentry's fid.
    pub(super) fn open(&self, node: &Arc<Node>, flags: i32, uid: u32) -> Outcome<Handle> {
        let fid = self.clone_fid(node, uid)?;
        let flags = self.flags_to_open_with(flags);
        let (_, iounit) = self.client.lopen(&fid, dotl_flags(flags)).map_err(errno)?;
        Ok(self.handle_for(node, uid, fid, flags, iounit))
    }

    /// `p9_client_read`: Treads until the request is filled or the file ends; with O_NONBLOCK a single one.
    /// Where v9fs sends one after the other, those of one request go out together. The data is in `room`.
    pub(super) fn read(
        &self,
        handle: &Handle,
        offset: u64,
        size: u32,
        flags: i32,
        room: &mut Room,
    ) -> Outcome<usize> {
        let one = flags & libc::O_NONBLOCK != 0;
        let first = if one { size.min(handle.io_size) } else { size };
        let mut total = room
            .fill(&self.client, handle, offset, first, 0)
            .map_err(errno)?;
        while !one && total > 0 && total < size as usize {
            let count = (size - total as u32).min(handle.io_size);
            let offset = offset + total as u64;
            match room.fill(&self.client, handle, offset, count, total) {
                Ok(got) if got > 0 => total += got,
                // The end; or an error, and what was read before counts.
                _ => break,
            }
        }
        Ok(total)
    }

    /// `p9_client_write`: Twrites until all is written or one fails; what was written before counts. Where v9fs sends
    /// one after the other, those of one request go out together, unless where each goes depends on the one before.
    pub(super) fn write(&self, handle: &Handle, offset: u64, data: &[u8]) -> Outcome<usize> {
        let mut total = 0;
        while total < data.len() {
            let rest = &data[total..];
            let rest = match handle.appends {
                true => &rest[..rest.len().min(handle.io_size as usize)],
                false => rest,
            };
            let offset = offset + total as u64;
            let (fid, part) = (&handle.fid, handle.io_size);
            let written = match self.client.lane(rest.len()) {
                Some(mut lane) => self.client.store(fid, offset, rest, part, &mut lane),
                None => self.client.write_ahead(fid, offset, rest, part),
            };
            match written {
                Ok(0) => break,
                Ok(count) => total += count,
                Err(error) if total == 0 => return Err(errno(error)),
                Err(_) => break,
            }
        }
        if total == 0 && !data.is_empty() {
            return Err(Errno::EIO);
        }
        handle.node.grown_to(offset + total as u64);
        Ok(total)
    }

    /// `v9fs_file_fsync_dotl`.
    pub(super) fn fsync(&self, handle: &Handle, datasync: bool) -> Outcome<()> {
        self.client.fsync(&handle.fid, datasync).map_err(errno)
    }
}

/// Whether a file opened with these flags can be written to.
fn is_writable(flags: i32) -> bool {
    flags & libc::O_ACCMODE != libc::O_RDONLY
}
