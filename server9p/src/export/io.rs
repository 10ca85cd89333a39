//! Opening, reading, writing, syncing, and the end of a fid.

use std::{
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use rs9p::{FCall, MsgType};
use rustix::{
    fs::{FileType, OFlags, Stat, fdatasync, fstatfs, fsync},
    io::{Errno, pwrite},
};

use super::{Export, Fid, Locks, Result, behaviour::PartWritten, dir::OpenDir, fid::State};
use crate::{
    shared_memory::SharedMemory,
    wire::{READ_HEADER, Reply, buffers},
};

/// Bytes that 9P keeps for headers of I/O messages (P9_IOHDRSZ).
const IO_HEADER: u32 = 24;

/// The flags of Tlopen and Tlcreate as the host knows them.
///
/// The protocol's numbers are those of Linux on x86. As QEMU: O_CREAT is said by the message itself, O_NOCTTY and
/// O_ASYNC have no meaning for the client, and O_DIRECT is a hint that is dropped.
pub(super) fn open_flags(dotl: u32) -> OFlags {
    const MAP: [(u32, OFlags); 10] = [
        (0o200, OFlags::EXCL),
        (0o1000, OFlags::TRUNC),
        (0o2000, OFlags::APPEND),
        (0o4000, OFlags::NONBLOCK),
        (0o10000, OFlags::DSYNC),
        (0o100000, OFlags::LARGEFILE),
        (0o200000, OFlags::DIRECTORY),
        (0o400000, OFlags::NOFOLLOW),
        (0o1000000, OFlags::NOATIME),
        (0o4000000, OFlags::SYNC),
    ];
    let access = OFlags::from_bits_retain(dotl & 0o3);
    MAP.iter()
        .filter(|(bit, _)| dotl & bit != 0)
        .fold(access, |flags, (_, flag)| flags | *flag)
}

impl Export {
    /// Tlopen.
    ///
    /// # Errors
    /// EINVAL where something is open on the fid; ENXIO for special files, which clients open for themselves;
    /// EROFS for writing to a read-only export.
    pub fn lopen(&self, fid: &Fid, flags: u32, msize: u32) -> Result<FCall> {
        fid.idle()?;
        let _names = self.names.read().expect("no holder of this lock panics");
        let target = self.target(fid)?;
        let stat = target.stat()?;
        let qid = self.qid(&stat);
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            // The flags are for the client to judge, which knows that it opens a directory.
            let dir = target.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
            fid.set_state(State::Dir(Arc::new(OpenDir::new(dir, stat.st_dev))));
            return Ok(FCall::RlOpen { qid, iounit: 0 });
        }
        let flags = open_flags(flags);
        if self.read_only
            && flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::APPEND | OFlags::TRUNC)
        {
            return Err(Errno::ROFS);
        }
        let file = target.open(flags)?;
        let iounit = self.iounit(file.as_fd(), &stat, msize);
        fid.set_state(State::File(file.into()));
        Ok(FCall::RlOpen { qid, iounit })
    }

    /// The size of the I/O messages that suits a file, bytes.
    pub(super) fn iounit(&self, file: BorrowedFd<'_>, stat: &Stat, msize: u32) -> u32 {
        let block = match self.root_block {
            Some(block) if stat.st_dev == self.root_stat.st_dev => block,
            _ => fstatfs(file).map_or(0, |stat| stat.f_bsize as u64),
        };
        round_to_blocks(msize, block)
    }

    /// Tread: at most `count` bytes at `offset`, less only at the end of the file.
    ///
    /// # Errors
    /// EINVAL where nothing is open; EOPNOTSUPP for a directory, as QEMU has it.
    pub fn read(&self, fid: &Fid, offset: u64, count: u32) -> Result<Reply> {
        let count = count as usize;
        if let Some(file) = fid.file() {
            let mut frame = buffers::take(READ_HEADER + count);
            frame.resize(READ_HEADER, 0);
            read_into(file.as_fd(), &mut frame, offset, count)?;
            return Ok(Reply::Payload {
                kind: MsgType::RRead,
                frame,
            });
        }
        match fid.state() {
            State::XattrRead(value) => {
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(value.len());
                let part = &value[start..value.len().min(start.saturating_add(count))];
                let mut frame = vec![0; READ_HEADER];
                frame.extend_from_slice(part);
                Ok(Reply::Payload {
                    kind: MsgType::RRead,
                    frame,
                })
            }
            State::Dir(_) => Err(Errno::OPNOTSUPP),
            _ => Err(Errno::INVAL),
        }
    }

    fn counts_parts(&self) -> bool {
        self.behaviour.part_written == PartWritten::Count
    }

    /// Twrite: all of `data` at `offset`, or at the end of a file that was opened with O_APPEND.
    ///
    /// # Errors
    /// EINVAL where nothing is open that can be written; the errno of a write that failed, under [`PartWritten::Error`]
    /// even after others.
    pub fn write(&self, fid: &Fid, offset: u64, data: &[u8]) -> Result<FCall> {
        if let Some(file) = fid.file() {
            let written = self.write_all(data.len(), |done| {
                pwrite(&file, &data[done..], offset.wrapping_add(done as u64))
            })?;
            if data.is_empty() {
                // A write of nothing still says whether the file can be written.
                pwrite(&file, data, offset)?;
            }
            return Ok(FCall::RWrite {
                count: written as u32,
            });
        }
        match fid.state() {
            State::XattrWrite(write) => {
                let mut write = write.lock().expect("no holder of this lock panics");
                let count = write.fill(offset, data)?;
                Ok(FCall::RWrite { count })
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// Writes until all of `length` bytes are written; `write` writes what is behind the first so many.
    fn write_all(&self, length: usize, write: impl Fn(usize) -> Result<usize>) -> Result<usize> {
        let mut written = 0;
        while written < length {
            match write(written) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(_) if written > 0 && self.counts_parts() => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(written)
    }

    /// [`Export::read`] of a file into a place of shared memory; how many bytes came.
    ///
    /// # Errors
    /// EINVAL where no file is open, or the place is not in the memory.
    pub fn fetch(
        &self,
        fid: &Fid,
        offset: u64,
        memory: &SharedMemory,
        place: Range<usize>,
    ) -> Result<usize> {
        let file = fid.file().ok_or(Errno::INVAL)?;
        read_all(place.len(), |done| {
            let rest = place.start + done..place.end;
            memory.pread(file.as_fd(), rest, offset.wrapping_add(done as u64))
        })
    }

    /// [`Export::write`] to a file from a place of shared memory; how many bytes were written.
    ///
    /// # Errors
    /// Those of [`Export::write`]; EINVAL where no file is open, or the place is not in the memory.
    pub fn store(
        &self,
        fid: &Fid,
        offset: u64,
        memory: &SharedMemory,
        place: Range<usize>,
    ) -> Result<usize> {
        let file = fid.file().ok_or(Errno::INVAL)?;
        self.write_all(place.len(), |done| {
            let rest = place.start + done..place.end;
            memory.pwrite(file.as_fd(), rest, offset.wrapping_add(done as u64))
        })
    }

    /// Tfsync of a file or a directory.
    ///
    /// # Errors
    /// EINVAL where nothing is open.
    pub fn fsync(&self, fid: &Fid, datasync: bool) -> Result<FCall> {
        let sync = |fd: BorrowedFd<'_>| if datasync { fdatasync(fd) } else { fsync(fd) };
        match fid.state() {
            State::File(file) => sync(file.as_fd())?,
            State::Dir(dir) => sync(dir.fd.as_fd())?,
            _ => return Err(Errno::INVAL),
        }
        Ok(FCall::RFSync)
    }

    /// The end of a fid, whether by Tclunk or with its session: an attribute that was written is set, locks end.
    ///
    /// # Errors
    /// Those of setting the attribute. The fid is at its end all the same.
    pub fn clunk(&self, fid: &Fid) -> Result<FCall> {
        let state = std::mem::replace(
            &mut *fid.state.lock().expect("no holder of this lock panics"),
            State::Idle,
        );
        match state {
            State::XattrWrite(write) => self.set_xattr(fid, &write)?,
            State::File(file) if self.behaviour.locks == Locks::Real => {
                self.locks.clunked(fid, file.as_fd())
            }
            _ => {}
        }
        Ok(FCall::RClunk)
    }
}

/// The largest multiple of a block size that an I/O message of `msize` bytes can carry, or all that it can
/// where that is less than one block.
pub(super) fn round_to_blocks(msize: u32, block: u64) -> u32 {
    let room = msize - IO_HEADER;
    let rounded = room
        .checked_div(u32::try_from(block).unwrap_or(0))
        .unwrap_or(0)
        * block as u32;
    if rounded == 0 { room } else { rounded }
}

/// Reads until there are `count` bytes or the file ends; `read` reads what is behind the first so many.
fn read_all(count: usize, mut read: impl FnMut(usize) -> Result<usize>) -> Result<usize> {
    let mut done = 0;
    while done < count {
        match read(done) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

fn read_into(file: BorrowedFd<'_>, frame: &mut Vec<u8>, offset: u64, count: usize) -> Result<()> {
    read_all(count, |done| {
        let room = &mut frame.spare_capacity_mut()[..count - done];
        let (read, _) = rustix::io::pread(file, room, offset.wrapping_add(done as u64))?;
        let read = read.len();
        // SAFETY: pread has written so many bytes to the vector's spare room, from its start.
        unsafe { frame.set_len(frame.len() + read) };
        Ok(read)
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_iounit_is_what_qemu_gives_for_the_runtimes_msize() {
        assert_eq!(round_to_blocks(512_000, 4096), 507_904);
        assert_eq!(round_to_blocks(4096, 4096), 4072);
        assert_eq!(round_to_blocks(8192, 0), 8168);
    }

    #[test]
    fn the_flags_that_mean_nothing_to_the_server_are_dropped() {
        let sent = 0o2 | 0o100 | 0o400 | 0o20000 | 0o40000 | 0o2000;
        assert_eq!(open_flags(sent), OFlags::RDWR | OFlags::APPEND);
    }
}
