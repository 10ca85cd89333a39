//! What of a file is in the host's page cache, and putting it out of there.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    path::Path,
};

use rustix::{
    fs::{Advice, fadvise},
    io::{Errno, ReadWriteFlags, preadv2},
};

/// How many places of a file are looked at.
const PLACES: u64 = 64;

/// The share of a file that is in the page cache, 0 to 1, judged by [`PLACES`] of its pages; `None` where the
/// file system cannot tell (preadv2(2), RWF_NOWAIT), or the file is empty.
pub fn resident(path: &Path) -> io::Result<Option<f64>> {
    let file = File::open(path)?;
    let pages = file.metadata()?.len() / 4096;
    let mut byte = [0; 1];
    let (mut looked, mut held) = (0u32, 0u32);
    for place in 0..PLACES.min(pages) {
        let offset = place * pages / PLACES.min(pages) * 4096;
        match preadv2(
            &file,
            &mut [IoSliceMut::new(&mut byte)],
            offset,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(_) => held += 1,
            Err(Errno::AGAIN) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        looked += 1;
    }
    Ok((looked > 0).then(|| f64::from(held) / f64::from(looked)))
}

/// Writes a file's changes to its disk and asks the kernel to forget its pages. A file system that lives in
/// memory keeps them.
pub fn forget(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(())
}

/// Whether the file system of a directory keeps its files in memory only (statfs(2), `f_type`).
pub fn memory_only(dir: &Path) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    rustix::fs::statfs(dir).is_ok_and(|found| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&found.f_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_just_written_is_in_memory_and_can_leave_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let Some(before) = resident(&path).unwrap() else {
            eprintln!(
                "skipped: the file system of {} does not know RWF_NOWAIT",
                dir.path().display()
            );
            return;
        };
        assert_eq!(before, 1.0);
        forget(&path).unwrap();
        let after = resident(&path).unwrap().unwrap();
        assert_eq!(
            after == 1.0,
            memory_only(dir.path()),
            "{after} of the file is in memory"
        );
    }
}
