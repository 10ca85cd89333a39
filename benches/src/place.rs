//! Where the benchmarks' directories lie.

use std::{fs, io, path::Path};

use rustix::fs::{StatVfsMountFlags, statvfs};
use tempfile::TempDir;

/// The tmpfs that Linux systems have for everybody.
const MEMORY: &str = "/dev/shm";

/// Bytes that must be free there: the largest file of a benchmark, a few times over.
const ROOM: u64 = 2 << 30;

/// A directory in memory, where there is room for it, else where temporary files go; removed when this is dropped.
///
/// What a disk's file system does by itself would be measured instead: ext4, for one, looks for a free inode past all that
/// were deleted in the last seconds (`recently_deleted` in `fs/ext4/ialloc.c`), so that the more files were made and
/// removed before a server's turn, the slower it is.
///
/// # Errors
/// Where no directory can be made.
pub fn in_memory() -> io::Result<TempDir> {
    let memory = Path::new(MEMORY);
    match has_room(memory) {
        true => tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()),
        false => tempfile::tempdir(),
    }
}

fn has_room(dir: &Path) -> bool {
    let is_dir = fs::metadata(dir).is_ok_and(|metadata| metadata.is_dir());
    is_dir
        && statvfs(dir).is_ok_and(|stat| {
            !stat.f_flag.contains(StatVfsMountFlags::RDONLY)
                && stat.f_bavail * stat.f_frsize >= ROOM
        })
}
