//! Files mapped into memory: which sharing and protection a volume grants, and whether writes arrive.

use super::prelude::*;

submit!(
    Case::new(
        "mmap.shared_write",
        "a mapping shared for writing is granted, and what is stored in it is read from the file",
        shared_write,
    )
    .source("POSIX mmap(); linux fs/9p/vfs_file.c, generic_file_readonly_mmap with cache=none")
    .needed_by(&[
        "sqlite in WAL mode",
        "LMDB",
        "bbolt, etcd",
        "Kafka",
        "Prometheus",
        "dotnet build"
    ])
    .cache_remedies(&[Cache::Mmap, Cache::Loose])
);

fn shared_write(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'.'; 4096])?;
    let mut map = Map::new(&fd, "data", 4096, READ | WRITE, libc::MAP_SHARED)?;
    map.bytes_mut()[100..105].copy_from_slice(b"shown");
    map.sync(libc::MS_SYNC)?;
    same_bytes("mmap", "data", &read("data")?[98..107], b"..shown..")
}

/// The page may be read.
const READ: i32 = libc::PROT_READ;
/// The page may be written.
const WRITE: i32 = libc::PROT_WRITE;

/// A mapping of the first bytes of a file, gone on drop.
struct Map {
    address: *mut libc::c_void,
    len: usize,
    name: String,
}

impl Map {
    fn new(fd: &OwnedFd, name: &str, len: usize, prot: i32, flags: i32) -> CaseOutcome<Self> {
        let args = format!("{name}, {}, {}", prot_name(prot), flags_name(flags));
        // SAFETY: the kernel chooses the address, so no mapping that exists is replaced.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(Errno::last()).call("mmap", args);
        }
        Ok(Map {
            address,
            len,
            name: name.to_owned(),
        })
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has this length and lives as long as self; it was made writable.
        unsafe { std::slice::from_raw_parts_mut(self.address.cast(), self.len) }
    }

    fn sync(&self, flags: i32) -> CaseOutcome {
        // SAFETY: address and length are those of the mapping.
        check(unsafe { libc::msync(self.address, self.len, flags) })
            .call("msync", &self.name)
            .map(drop)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: address and length are those of the mapping, and no slice of it outlives self.
        unsafe { libc::munmap(self.address, self.len) };
    }
}

fn prot_name(prot: i32) -> &'static str {
    match prot {
        READ => "PROT_READ",
        p if p & libc::PROT_EXEC != 0 => "PROT_READ|PROT_EXEC",
        _ => "PROT_READ|PROT_WRITE",
    }
}

fn flags_name(flags: i32) -> &'static str {
    if flags & libc::MAP_PRIVATE != 0 {
        "MAP_PRIVATE"
    } else {
        "MAP_SHARED"
    }
}
