//! What may be mapped shared on a mount that everybody uses, and that its files are read directly then.

use std::{fs, fs::File, os::unix::fs::FileExt as _, path::Path, ptr::null_mut};

use rustix::{
    fs::{Timespec, Timestamps, futimens},
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};
use server9p::stack::Cache;

use crate::mounted::{Volume, Wish};

/// Maps a page and unmaps it.
fn map(file: &File, flags: MapFlags) -> Result<(), Errno> {
    // SAFETY: a new mapping, at an address that the kernel chooses, which nothing uses.
    unsafe {
        let place = mmap(null_mut(), 4096, ProtFlags::READ, flags, file, 0)?;
        munmap(place, 4096)
    }
}

fn made(path: &Path) -> File {
    fs::write(path, [b'a'; 4096]).unwrap();
    let both = File::options().read(true).write(true).open(path);
    both.unwrap()
}

#[test]
fn what_is_open_for_writing_is_not_mapped_shared() {
    let Some(volume) = Volume::new() else { return };
    let path = volume.mnt().join("f");
    let both = made(&path);
    let reader = File::open(&path).unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    let refused = match volume.why_page_cache() {
        // Also by a kernel that cannot map what it reads directly.
        None => Errno::INVAL,
        Some(why) if why.contains("Linux 6.6") => Errno::INVAL,
        // FUSE's own.
        Some(_) => Errno::NODEV,
    };
    for shared in [MapFlags::SHARED, MapFlags::SHARED_VALIDATE] {
        assert_eq!(map(&both, shared), Err(refused), "{shared:?}");
        assert_eq!(map(&reader, shared), Ok(()), "{shared:?}");
        assert_eq!(map(&writer, shared), Err(Errno::ACCESS), "{shared:?}");
    }
    let unknown = MapFlags::SHARED_VALIDATE | MapFlags::SYNC;
    assert_eq!(map(&both, unknown), Err(Errno::OPNOTSUPP));
    assert_eq!(map(&both, MapFlags::PRIVATE), Ok(()));
}

#[test]
fn mappings_elsewhere_are_left_alone() {
    let Some(volume) = Volume::new() else { return };
    let wish = Wish {
        cache: Cache::Mmap,
        ..Wish::default()
    };
    let Some(other) = Volume::mount(&wish) else {
        return;
    };
    let native = made(&volume.native().join("f"));
    assert_eq!(map(&native, MapFlags::SHARED), Ok(()));
    let other = made(&other.mnt().join("f"));
    assert_eq!(map(&other, MapFlags::SHARED), Ok(()), "with cache=mmap");
}

#[test]
fn a_reader_sees_what_the_host_writes_behind_old_times() {
    let Some(volume) = Volume::new() else { return };
    if let Some(why) = volume.why_page_cache() {
        eprintln!("skipped: a reader through the page cache sees it late: {why}");
        return;
    }
    let there = made(&volume.export().join("f"));
    let times = Timestamps {
        last_access: Timespec::default(),
        last_modification: Timespec::default(),
    };
    futimens(&there, &times).unwrap();
    let here = File::open(volume.mnt().join("f")).unwrap();
    let mut byte = [0];
    here.read_exact_at(&mut byte, 0).unwrap();
    there.write_all_at(b"b", 0).unwrap();
    futimens(&there, &times).unwrap();
    here.read_exact_at(&mut byte, 0).unwrap();
    assert_eq!(byte, *b"b");
}
