//! Memory that a client and our server share, so that data need not go through the socket between them.
//!
//! A virtio transport hands the pages of a read to the server, and nothing copies them on the way. Between two processes
//! with a socket every byte is copied in and out of it once more, which is most of what a large read costs. So our FUSE
//! client gives our server a memfd ([`TMEMORY`], with the descriptor as SCM_RIGHTS), and from then on may say of a large
//! read or write where in it the data go ([`TFETCH`]) or are ([`TSTORE`]) instead of sending them along. These messages
//! are Tread and Twrite in all else, and are counted and traced as such. No other client knows them, and no other server
//! is asked.

use std::{
    io,
    ops::Range,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create},
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

/// Takes over memory: the descriptor of a memfd that can neither grow nor shrink goes with it. Answered by [`RMEMORY`].
pub const TMEMORY: u8 = 200;
/// The memory is mapped.
pub const RMEMORY: u8 = 201;
/// Tread whose data go into the memory: fid[4] offset[8] count[4] place[8]. Answered by [`RFETCH`].
pub const TFETCH: u8 = 202;
/// What became of it: count[4].
pub const RFETCH: u8 = 203;
/// Twrite whose data are in the memory: fid[4] offset[8] count[4] place[8]. Answered by [`RSTORE`].
pub const TSTORE: u8 = 204;
/// What became of it: count[4].
pub const RSTORE: u8 = 205;

/// The most memory that one client may share, bytes.
const MOST: u64 = 64 << 20;

/// Memory that two processes have mapped.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: it is memory of this process until it is dropped, whichever thread uses it. Nothing here makes references to
// what another process may write; [`SharedMemory::bytes`] leaves that to who calls it.
unsafe impl Send for SharedMemory {}
// SAFETY: the same.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// New memory of so many bytes, which take room when they are first used.
    ///
    /// # Errors
    /// Where none can be had.
    pub fn new(size: usize) -> io::Result<SharedMemory> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create(c"probe9p-data", flags)?;
        ftruncate(&fd, size as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        SharedMemory::of(fd)
    }

    /// The memory behind a descriptor from another process.
    ///
    /// # Errors
    /// InvalidInput where that is no sealed memory, or too much of it.
    pub fn of(fd: OwnedFd) -> io::Result<SharedMemory> {
        let sealed = fcntl_get_seals(&fd)?.contains(SealFlags::SHRINK);
        let size = fstat(&fd)?.st_size as u64;
        if !sealed || size == 0 || size > MOST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let size = size as usize;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice, of a file that keeps its size.
        let start = unsafe { mmap(std::ptr::null_mut(), size, access, MapFlags::SHARED, &fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(SharedMemory { fd, start, size })
    }

    /// The descriptor by which another process finds it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Its bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    fn at(&self, place: &Range<usize>) -> Result<*mut libc::c_void, Errno> {
        if place.start > place.end || place.end > self.size {
            return Err(Errno::INVAL);
        }
        // SAFETY: within the mapping, as just seen.
        Ok(unsafe { self.start.as_ptr().add(place.start) }.cast())
    }

    /// Reads once from a file into a place.
    ///
    /// # Errors
    /// EINVAL for a place that is not in the memory; pread's.
    pub fn pread(
        &self,
        file: BorrowedFd<'_>,
        place: Range<usize>,
        offset: u64,
    ) -> Result<usize, Errno> {
        let start = self.at(&place)?;
        // SAFETY: the kernel writes to mapped memory of this length alone, which no reference here refers to.
        let got =
            unsafe { libc::pread64(file.as_raw_fd(), start, place.len(), offset.cast_signed()) };
        moved(got)
    }

    /// Writes once to a file from a place.
    ///
    /// # Errors
    /// EINVAL for a place that is not in the memory; pwrite's.
    pub fn pwrite(
        &self,
        file: BorrowedFd<'_>,
        place: Range<usize>,
        offset: u64,
    ) -> Result<usize, Errno> {
        let start = self.at(&place)?;
        // SAFETY: the kernel reads from mapped memory of this length alone.
        let put =
            unsafe { libc::pwrite64(file.as_raw_fd(), start, place.len(), offset.cast_signed()) };
        moved(put)
    }

    /// The bytes of a place; `None` where it is not in the memory.
    ///
    /// # Safety
    /// Neither this process nor the other changes them while they are borrowed.
    pub unsafe fn bytes(&self, place: Range<usize>) -> Option<&[u8]> {
        let start = self.at(&place).ok()?;
        // SAFETY: mapped for as long as `self` lives, and unchanged by the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), place.len()) })
    }

    /// Copies bytes to a place.
    ///
    /// # Panics
    /// Where they do not fit there.
    pub fn put(&self, at: usize, data: &[u8]) {
        let start = self
            .at(&(at..at + data.len()))
            .expect("a place in the memory");
        // SAFETY: `data` is memory of this process alone, and what is written to is mapped and no reference refers to it.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), start.cast::<u8>(), data.len()) };
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: mapped by `SharedMemory::of`, of that size, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.size) };
    }
}

/// What a call that moves bytes has returned.
fn moved(count: isize) -> Result<usize, Errno> {
    usize::try_from(count)
        .map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_puts_the_other_writes_to_a_file() {
        let ours = SharedMemory::new(8192).unwrap();
        let theirs = SharedMemory::of(ours.fd().try_clone_to_owned().unwrap()).unwrap();
        ours.put(4000, b"data");
        let file = memfd_create(c"file", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(theirs.pwrite(file.as_fd(), 4000..4004, 3), Ok(4));
        assert_eq!(theirs.pread(file.as_fd(), 8190..8192, 3), Ok(2));
        // SAFETY: nobody else has it.
        assert_eq!(unsafe { ours.bytes(8190..8192) }, Some(&b"da"[..]));
    }

    #[test]
    fn what_is_not_in_the_memory_is_refused() {
        let memory = SharedMemory::new(4096).unwrap();
        let file = memfd_create(c"file", MemfdFlags::CLOEXEC).unwrap();
        for place in [0..4097, 5000..5001, usize::MAX - 1..usize::MAX] {
            assert_eq!(memory.pread(file.as_fd(), place, 0), Err(Errno::INVAL));
        }
        let unsealed = memfd_create(c"unsealed", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&unsealed, 4096).unwrap();
        assert!(SharedMemory::of(unsealed).is_err());
    }
}
