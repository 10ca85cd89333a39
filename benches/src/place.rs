//! Where the benchmarks' directories lie.

use std::io;

use rustix::fs::statvfs;
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
    match statvfs(MEMORY) {
        Ok(stat) if stat.f_bavail * stat.f_frsize >= ROOM => {
            tempfile::tempdir_in(MEMORY).or_else(|_| tempfile::tempdir())
        }
        _ => tempfile::tempdir(),
    }
}
