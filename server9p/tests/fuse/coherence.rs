//! What one descriptor, or the host, writes, every other reads.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use server9p::stack::{Cache, Series};

use crate::mounted::{Volume, Wish};

#[test]
fn an_open_reader_sees_what_other_descriptors_write() {
    let Some(volume) = Volume::new() else { return };
    let path = volume.mnt().join("f");
    fs::write(&path, vec![b'a'; 100_000]).unwrap();
    let reader = File::open(&path).unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    let mut byte = [0];
    for round in 0..200u8 {
        let at = u64::from(round) * 499;
        reader.read_exact_at(&mut byte, at).unwrap();
        writer.write_all_at(&[round], at).unwrap();
        reader.read_exact_at(&mut byte, at).unwrap();
        assert_eq!(byte, [round], "a read from {at} after the write there");
    }
    writer.set_len(10).unwrap();
    assert_eq!(reader.read_at(&mut byte, 50_000).unwrap(), 0);
    writer.write_all_at(b"end", 60_000).unwrap();
    let mut all = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 60_003);
    assert!(all[10..60_000].iter().all(|byte| *byte == 0));
}

#[test]
fn another_name_of_the_file_is_the_same_file() {
    let Some(volume) = Volume::new() else { return };
    let (a, b) = (volume.mnt().join("a"), volume.mnt().join("b"));
    fs::write(&a, vec![b'a'; 8192]).unwrap();
    fs::hard_link(&a, &b).unwrap();
    let reader = File::open(&a).unwrap();
    let writer = File::options().write(true).open(&b).unwrap();
    let mut byte = [0];
    reader.read_exact_at(&mut byte, 0).unwrap();
    for round in 0..100u8 {
        writer.write_all_at(&[round], 4100).unwrap();
        reader.read_exact_at(&mut byte, 4100).unwrap();
        assert_eq!(byte, [round]);
    }
}

#[test]
fn a_shared_read_only_mapping_follows_writes() {
    let Some(volume) = Volume::new() else { return };
    let path = volume.mnt().join("f");
    fs::write(&path, vec![b'a'; 8192]).unwrap();
    let reader = File::open(&path).unwrap();
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let map = unsafe {
        mmap(
            std::ptr::null_mut(),
            8192,
            ProtFlags::READ,
            MapFlags::SHARED,
            &reader,
            0,
        )
    }
    .expect("what is opened read-only can be mapped shared")
    .cast::<u8>();
    // SAFETY: inside the mapping, which lives to the end of the test; the file keeps its length.
    let at = |offset: usize| unsafe { map.add(offset).read_volatile() };
    assert_eq!(at(5000), b'a');
    let writer = File::options().write(true).open(&path).unwrap();
    for round in 0..50 {
        writer.write_all_at(&[round], 5000).unwrap();
        assert_eq!(at(5000), round);
    }
    // SAFETY: the mapping made above, used no more.
    unsafe { munmap(map.cast(), 8192) }.unwrap();
}

#[test]
fn a_shared_writable_mapping_is_refused_with_cache_none_and_works_with_cache_mmap() {
    for (cache, works) in [(Cache::None, false), (Cache::Mmap, true)] {
        let wish = Wish {
            cache,
            ..Wish::default()
        };
        let Some(volume) = Volume::mount(&wish) else {
            return;
        };
        let path = volume.mnt().join("f");
        fs::write(&path, [b'a'; 4096]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let map = unsafe {
            mmap(
                std::ptr::null_mut(),
                4096,
                protection,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        assert_eq!(map.is_ok(), works, "with cache={cache}");
        let Ok(map) = map else { continue };
        // SAFETY: inside the mapping just made.
        unsafe { map.cast::<u8>().add(7).write_volatile(b'z') };
        // SAFETY: the mapping just made, used no more.
        unsafe { munmap(map, 4096) }.unwrap();
        file.sync_all().unwrap();
        drop(file);
        let host = fs::read(volume.export().join("f")).unwrap();
        assert_eq!(&host[..9], b"aaaaaaaza");
    }
}

#[test]
fn the_guest_sees_what_the_host_does_at_once() {
    let Some(volume) = Volume::new() else { return };
    let (guest, host) = (volume.mnt().join("f"), volume.export().join("f"));
    assert!(!guest.exists());
    for round in 0..100usize {
        fs::write(&host, vec![b'x'; round]).unwrap();
        assert_eq!(guest.metadata().unwrap().len(), round as u64);
        assert_eq!(fs::read(&guest).unwrap().len(), round);
        fs::remove_file(&host).unwrap();
        assert!(!guest.exists(), "a removed name stays for nobody");
    }
    fs::write(&host, "one").unwrap();
    let mut open = File::open(&guest).unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    let mut appended = File::options().append(true).open(&host).unwrap();
    appended.write_all(b"two").unwrap();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "onetwo", "a file that grows is read on");
    open.seek(SeekFrom::Start(0)).unwrap();
    fs::write(&host, "three").unwrap();
    text.clear();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "three");
}

#[test]
fn an_open_file_is_read_whole_after_another_took_its_name() {
    for series in [Series::Linux5_10, Series::Linux6_1] {
        let wish = Wish {
            profile: "golem",
            series,
            ..Wish::default()
        };
        let Some(volume) = Volume::mount(&wish) else {
            return;
        };
        let (old, new) = (volume.mnt().join("old"), volume.mnt().join("new"));
        fs::write(&old, vec![b'o'; 10_000]).unwrap();
        fs::write(&new, "new").unwrap();
        let mut reader = File::open(&old).unwrap();
        fs::rename(&new, &old).unwrap();
        // v9fs goes by the name here, and so does its inode's size.
        assert_eq!(reader.metadata().unwrap().len(), 3, "Linux {series}");
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, vec![b'o'; 10_000], "Linux {series}");
    }
}

#[test]
fn readers_beside_a_writer_see_whole_states_only() {
    let Some(volume) = Volume::new() else { return };
    let path = Arc::new(volume.mnt().join("f"));
    fs::write(&*path, [0; 4096]).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (path, done) = (Arc::clone(&path), Arc::clone(&done));
            thread::spawn(move || {
                let mut last = 0;
                let mut rounds = 0;
                while !done.load(Ordering::Relaxed) || rounds == 0 {
                    let mut page = [0; 4096];
                    File::open(&*path)
                        .unwrap()
                        .read_exact_at(&mut page, 0)
                        .unwrap();
                    assert!(page.iter().all(|byte| *byte == page[0]));
                    assert!(page[0] >= last, "time does not run backwards");
                    last = page[0];
                    rounds += 1;
                }
            })
        })
        .collect();
    let writer = File::options().write(true).open(&*path).unwrap();
    for round in 1..=200u8 {
        writer.write_all_at(&[round; 4096], 0).unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
}
