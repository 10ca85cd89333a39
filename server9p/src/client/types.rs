//! What 9P2000.L messages carry, as the client hands it out.

use super::{ClientError, wire::Decoder};

bitflags::bitflags! {
    /// Which attributes Tgetattr asks for and Rgetattr holds (diod's protocol.md, `getattr`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct GetattrMask: u64 {
        /// Mode to blocks: what `stat` needs.
        const BASIC = 0x7ff;
        /// Birth time.
        const BTIME = 0x800;
        /// Inode generation.
        const GEN = 0x1000;
        /// Data version.
        const DATA_VERSION = 0x2000;
        /// All of the above.
        const ALL = 0x3fff;
    }
}

bitflags::bitflags! {
    /// Which attributes Tsetattr sets (diod's protocol.md, `setattr`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct SetattrMask: u32 {
        /// Permission bits.
        const MODE = 0x1;
        /// Owner.
        const UID = 0x2;
        /// Group.
        const GID = 0x4;
        /// Length in bytes.
        const SIZE = 0x8;
        /// Access time; the server's now unless `ATIME_SET`.
        const ATIME = 0x10;
        /// Modification time; the server's now unless `MTIME_SET`.
        const MTIME = 0x20;
        /// Change time, always the server's now.
        const CTIME = 0x40;
        /// The access time is the one given.
        const ATIME_SET = 0x80;
        /// The modification time is the one given.
        const MTIME_SET = 0x100;
    }
}

/// A server's identity for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Qid {
    /// 0x80 directory, 0x02 symbolic link, 0 anything else.
    pub kind: u8,
    /// Changes when the file does.
    pub version: u32,
    /// Unique among the server's files.
    pub path: u64,
}

impl Qid {
    /// Bytes of a qid on the wire.
    pub const WIRE_SIZE: usize = 13;

    pub(super) fn decode(from: &mut Decoder<'_>) -> Result<Qid, ClientError> {
        Ok(Qid {
            kind: from.u8()?,
            version: from.u32()?,
            path: from.u64()?,
        })
    }
}

/// A time since the epoch; seconds before it are negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Whole seconds.
    pub sec: i64,
    /// And nanoseconds, 0 to 999 999 999.
    pub nsec: u32,
}

impl Time {
    fn decode(from: &mut Decoder<'_>) -> Result<Time, ClientError> {
        Ok(Time {
            // The wire says u64; Linux servers put a signed time_t there.
            sec: from.u64()? as i64,
            nsec: u32::try_from(from.u64()?).unwrap_or(0).min(999_999_999),
        })
    }
}

/// What Rgetattr holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attr {
    /// Which of the fields the server filled.
    pub valid: GetattrMask,
    /// Identity.
    pub qid: Qid,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub nlink: u64,
    /// Device number of a special file, in Linux's `new_encode_dev` form.
    pub rdev: u64,
    /// Length in bytes.
    pub size: u64,
    /// Preferred size of a read or write in bytes.
    pub blksize: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last modification.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
}

impl Attr {
    pub(super) fn decode(from: &mut Decoder<'_>) -> Result<Attr, ClientError> {
        Ok(Attr {
            valid: GetattrMask::from_bits_retain(from.u64()?),
            qid: Qid::decode(from)?,
            mode: from.u32()?,
            uid: from.u32()?,
            gid: from.u32()?,
            nlink: from.u64()?,
            rdev: from.u64()?,
            size: from.u64()?,
            blksize: from.u64()?,
            blocks: from.u64()?,
            atime: Time::decode(from)?,
            mtime: Time::decode(from)?,
            ctime: Time::decode(from)?,
        })
    }
}

/// What Tsetattr sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetAttr {
    /// Which of the fields below count.
    pub valid: SetattrMask,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Access time.
    pub atime: Time,
    /// Modification time.
    pub mtime: Time,
}

/// What Rstatfs holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// Magic number of the server's filesystem.
    pub kind: u32,
    /// Preferred transfer size, the unit of the block counts.
    pub bsize: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free.
    pub bfree: u64,
    /// Blocks free to ordinary users.
    pub bavail: u64,
    /// Inodes in all.
    pub files: u64,
    /// Inodes free.
    pub ffree: u64,
    /// Filesystem id.
    pub fsid: u64,
    /// Longest name in bytes.
    pub namelen: u32,
}

/// One entry of Rreaddir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Identity of what the name leads to.
    pub qid: Qid,
    /// Where Treaddir goes on after this entry.
    pub offset: u64,
    /// `d_type` as of getdents(2).
    pub kind: u8,
    /// The name.
    pub name: &'a [u8],
}

/// What Rreaddir holds, entry by entry.
#[derive(Debug, Clone)]
pub struct DirEntries<'a>(Decoder<'a>);

impl<'a> DirEntries<'a> {
    /// Reads `data`, the part of an Rreaddir after its count.
    pub fn new(data: &'a [u8]) -> DirEntries<'a> {
        DirEntries(Decoder::new(data))
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.0.remaining()
    }
}

impl<'a> Iterator for DirEntries<'a> {
    type Item = Result<DirEntry<'a>, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.remaining() == 0 {
            return None;
        }
        let mut read = || {
            Ok(DirEntry {
                qid: Qid::decode(&mut self.0)?,
                offset: self.0.u64()?,
                kind: self.0.u8()?,
                name: self.0.bytes16()?,
            })
        };
        let entry = read();
        if entry.is_err() {
            self.0 = Decoder::new(&[]);
        }
        Some(entry)
    }
}

/// What kind of lock is asked for or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LockType {
    /// Shared.
    Read = 0,
    /// Exclusive.
    Write = 1,
    /// None: releases.
    Unlock = 2,
}

/// What Rlock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockStatus {
    /// The lock is held.
    Success,
    /// Another holds a conflicting lock.
    Blocked,
    /// The server failed.
    Error,
    /// The server recovers locks; ask again.
    Grace,
}

/// A byte range to lock or to ask about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockRequest<'a> {
    /// Kind of lock.
    pub kind: LockType,
    /// First byte.
    pub start: u64,
    /// Bytes; 0 means to the end of the file.
    pub length: u64,
    /// Process that holds the lock.
    pub proc_id: u32,
    /// Host that the process runs on.
    pub client_id: &'a [u8],
}
