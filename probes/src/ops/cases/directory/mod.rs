//! Listing, walking and removing directories, also while they change.

mod change;
mod depth;
mod list;

use super::prelude::*;
use rustix::fs::FileType;
use rustix::fs::RawDir;

/// The entries of an open directory from its offset on, as the kernel gives them, `.` and `..` included.
fn entries(fd: &OwnedFd, buffer: usize) -> CaseOutcome<Vec<(String, FileType, u64)>> {
    let mut found = Vec::new();
    let mut space = Vec::with_capacity(buffer);
    let mut raw = RawDir::new(fd, space.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let entry = entry.call("getdents64", "")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, entry.file_type(), entry.next_entry_cookie()));
    }
    Ok(found)
}

/// Makes a directory with entries. They are links of one file where the volume has links, which takes
/// a third of the requests that files take.
fn fill(dir: &str, count: usize) -> CaseOutcome {
    mkdir(dir)?;
    let entry = |i: usize| format!("{dir}/entry-{i:05}");
    (0..count).try_for_each(|i| match i {
        0 => write(&entry(0), b""),
        _ => link(&entry(0), &entry(i)).or_else(|_| write(&entry(i), b"")),
    })
}
