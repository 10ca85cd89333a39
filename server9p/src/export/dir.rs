//! Reading directories.
//!
//! Nothing is kept between two Treaddir but the descriptor: every message seeks to the offset that the client
//! names, one that the host's file system handed out, and reads on from there. So any offset can be resumed
//! from, entries that come and go are met as the host's file system defines, and a directory of any size takes
//! the memory of one message.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::Mutex,
};

use rs9p::{MsgType, QId};
use rustix::{
    fs::{FileType, RawDir, SeekFrom, seek},
    io::Errno,
};

use super::{Export, Fid, Qids, Result, fid::State};
use crate::wire::{READ_HEADER, Reply, push_entry};

/// Bytes of directory that are read from the host at once.
const BATCH: usize = 32 << 10;

/// The least that one entry takes in the host's format, whose name has one byte.
const SMALLEST: usize = 24;

/// An open directory.
#[derive(Debug)]
pub(super) struct OpenDir {
    pub fd: OwnedFd,
    /// The device of its entries' inodes.
    device: u64,
    /// The stream's position; one reader at a time.
    position: Mutex<Option<u64>>,
}

impl OpenDir {
    pub fn new(fd: OwnedFd, device: u64) -> OpenDir {
        OpenDir {
            fd,
            device,
            position: Mutex::new(Some(0)),
        }
    }
}

impl Export {
    /// Treaddir: entries from `offset` on, at most `count` bytes of them. An answer without entries is the end.
    ///
    /// # Errors
    /// ENOTDIR where no directory is open on the fid; EINVAL where `count` cannot hold the next entry.
    pub fn readdir(&self, fid: &Fid, offset: u64, count: u32) -> Result<Reply> {
        let State::Dir(dir) = fid.state() else {
            return Err(Errno::NOTDIR);
        };
        let count = count as usize;
        let mut frame = Vec::with_capacity(READ_HEADER + count.min(4 * BATCH));
        frame.resize(READ_HEADER, 0);
        let mut position = dir.position.lock().expect("no holder of this lock panics");
        if *position != Some(offset) {
            seek(&dir.fd, SeekFrom::Start(offset))?;
        }
        let parent = self.parent_inode(fid);
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); BATCH];
        // Where the kernel's position is no longer known to be the end of what was sent, the next call seeks.
        *position = None;
        loop {
            let room = count + READ_HEADER - frame.len();
            let batch = room.clamp(SMALLEST + 256, BATCH);
            let mut entries = RawDir::new(dir.fd.as_fd(), &mut buffer[..batch]);
            let mut last = None;
            let mut full = false;
            while let Some(entry) = entries.next() {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if frame.len() + 24 + name.len() > READ_HEADER + count {
                    full = true;
                    break;
                }
                let inode = match (name, parent) {
                    (b"..", Some(inode)) => inode,
                    _ => entry.ino(),
                };
                let next = entry.next_entry_cookie();
                let kind = entry.file_type();
                let (typ, path) = self.entry_qid(dir.device, inode, kind);
                let qid = QId {
                    typ,
                    version: 0,
                    path,
                };
                push_entry(&mut frame, qid, next, d_type(kind), name);
                last = Some(next);
                // The batch holds what one system call gave; asking on would make another within this loop.
                if entries.is_buffer_empty() {
                    break;
                }
            }
            match (full, last) {
                (true, _) if frame.len() == READ_HEADER => return Err(Errno::INVAL),
                (true, _) => break,
                (false, None) => break,
                (false, Some(cookie)) if frame.len() + 24 + 255 > READ_HEADER + count => {
                    *position = Some(cookie);
                    break;
                }
                (false, Some(_)) => {}
            }
        }
        Ok(Reply::Payload {
            kind: MsgType::RReadDir,
            frame,
        })
    }

    /// The inode that `..` of the export's root shows instead of one outside, where qids must be unique.
    fn parent_inode(&self, fid: &Fid) -> Option<u64> {
        let hidden = self.behaviour.qids == Qids::Unique && fid.path().is_root();
        hidden.then_some(self.root_stat.st_ino)
    }
}

/// DT_ values are the type bits of a mode; unknown is 0.
fn d_type(kind: FileType) -> u8 {
    match kind {
        FileType::Unknown => 0,
        kind => (kind.as_raw_mode() >> 12) as u8,
    }
}
