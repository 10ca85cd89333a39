//! A mapping of a file, which cases of several families make: granted or refused under its name, gone on drop.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::stop::{Call, CaseOutcome, check};

/// The page may be read.
pub const READ: i32 = libc::PROT_READ;
/// The page may be written.
pub const WRITE: i32 = libc::PROT_WRITE;
/// What is stored reaches the file and other processes.
pub const SHARED: i32 = libc::MAP_SHARED;
/// What is stored stays with this process.
pub const PRIVATE: i32 = libc::MAP_PRIVATE;

/// The size of a page, in bytes, of the machines that the VM runtime runs on.
pub const PAGE: usize = 4096;

/// A mapping of the first bytes of a file.
pub struct Map {
    address: *mut libc::c_void,
    len: usize,
    args: String,
}

impl Map {
    /// Maps the first `len` bytes of `fd`; a refusal fails the case under `name`.
    pub fn new(fd: &OwnedFd, name: &str, len: usize, prot: i32, flags: i32) -> CaseOutcome<Self> {
        Map::attempt(fd, name, len, prot, flags).call("mmap", args(name, prot, flags))
    }

    /// As [`Map::new`], from `offset` on, which is a multiple of the page size.
    pub fn at(
        fd: &OwnedFd,
        name: &str,
        len: usize,
        prot: i32,
        flags: i32,
        offset: u64,
    ) -> CaseOutcome<Self> {
        Map::place(fd, name, len, prot, flags, offset).call("mmap", args(name, prot, flags))
    }

    /// As [`Map::new`], for a mapping that may or must be refused.
    pub fn attempt(
        fd: &OwnedFd,
        name: &str,
        len: usize,
        prot: i32,
        flags: i32,
    ) -> Result<Self, Errno> {
        Map::place(fd, name, len, prot, flags, 0)
    }

    fn place(
        fd: &OwnedFd,
        name: &str,
        len: usize,
        prot: i32,
        flags: i32,
        offset: u64,
    ) -> Result<Self, Errno> {
        // SAFETY: the kernel chooses the address, so no mapping that exists is replaced.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                prot,
                flags,
                fd.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Map {
            address,
            len,
            args: args(name, prot, flags),
        })
    }

    /// One byte, read from memory each time: what another mapping or a write did is seen.
    pub fn byte(&self, at: usize) -> u8 {
        assert!(at < self.len, "byte {at} is outside of the mapping");
        // SAFETY: the address lies in the mapping; volatile, because others change the file.
        unsafe { self.address.cast::<u8>().add(at).read_volatile() }
    }

    /// A copy of `len` bytes at `at`.
    pub fn bytes(&self, at: usize, len: usize) -> Vec<u8> {
        (at..at + len).map(|at| self.byte(at)).collect()
    }

    /// Stores bytes. The mapping must have been made with [`WRITE`].
    pub fn store(&self, at: usize, bytes: &[u8]) {
        assert!(
            at + bytes.len() <= self.len,
            "the store is outside of the mapping"
        );
        for (i, &byte) in bytes.iter().enumerate() {
            // SAFETY: the address lies in the mapping; volatile, because it is memory of others too.
            unsafe { self.address.cast::<u8>().add(at + i).write_volatile(byte) };
        }
    }

    /// Hands what was stored to the file.
    pub fn sync(&self) -> CaseOutcome {
        self.msync(libc::MS_SYNC).call("msync", &self.args)
    }

    /// msync of the whole mapping, with these flags.
    pub fn msync(&self, flags: libc::c_int) -> Result<(), Errno> {
        // SAFETY: address and length are those of the mapping.
        check(unsafe { libc::msync(self.address, self.len, flags) }).map(drop)
    }

    /// Makes the mapping `len` bytes long, wherever that leaves it.
    pub fn resize(&mut self, len: usize) -> Result<(), Errno> {
        // SAFETY: the mapping is this value's own, and no reference into it is handed out.
        let address = unsafe { libc::mremap(self.address, self.len, len, libc::MREMAP_MAYMOVE) };
        if address == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        (self.address, self.len) = (address, len);
        Ok(())
    }

    /// Changes the protection.
    pub fn protect(&self, prot: i32) -> Result<(), Errno> {
        // SAFETY: address and length are those of the mapping, of which no reference is handed out.
        check(unsafe { libc::mprotect(self.address, self.len, prot) }).map(drop)
    }

    /// The start, for calls that this module does not know.
    pub fn address(&self) -> *mut libc::c_void {
        self.address
    }

    /// The length in bytes.
    pub fn size(&self) -> usize {
        self.len
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: address and length are those of the mapping, of which no reference is handed out.
        unsafe { libc::munmap(self.address, self.len) };
    }
}

fn args(name: &str, prot: i32, flags: i32) -> String {
    let prot = match prot {
        READ => "PROT_READ",
        p if p & libc::PROT_EXEC != 0 => "PROT_READ|PROT_EXEC",
        _ => "PROT_READ|PROT_WRITE",
    };
    let sharing = if flags & PRIVATE != 0 {
        "MAP_PRIVATE"
    } else {
        "MAP_SHARED"
    };
    format!("{name}, {prot}, {sharing}")
}
