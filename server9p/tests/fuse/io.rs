//! Reading and writing as such.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    sync::Arc,
    thread,
};

use crate::mounted::Volume;

/// Bytes that tell where they belong.
fn pattern(offset: usize, length: usize) -> Vec<u8> {
    (offset..offset + length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect()
}

#[test]
fn a_large_file_survives_reads_and_writes_of_any_size() {
    let Some(volume) = Volume::new() else { return };
    const SIZE: usize = 20_000_003;
    let path = volume.mnt().join("big");
    let data = pattern(0, SIZE);
    let mut file = File::create(&path).unwrap();
    let mut at = 0;
    for size in [1, 4095, 4097, 507_904, 507_905, 1_015_809, 3_000_000]
        .iter()
        .cycle()
    {
        let end = SIZE.min(at + size);
        file.write_all(&data[at..end]).unwrap();
        at = end;
        if at == SIZE {
            break;
        }
    }
    file.sync_all().unwrap();
    drop(file);
    assert!(fs::read(volume.export().join("big")).unwrap() == data);
    for flags in [0, libc::O_DIRECT, libc::O_NONBLOCK] {
        let mut file = File::options()
            .read(true)
            .custom_flags(flags)
            .open(&path)
            .unwrap();
        let mut back = Vec::new();
        file.read_to_end(&mut back).unwrap();
        assert!(back == data, "read with flags {flags:#o}");
    }
}

#[test]
fn a_nonblocking_read_is_one_message() {
    let Some(volume) = Volume::new() else { return };
    let path = volume.mnt().join("f");
    fs::write(&path, pattern(0, 3_000_000)).unwrap();
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    let mut buffer = vec![0; 3_000_000];
    let got = file.read_at(&mut buffer, 0).unwrap();
    assert!((400_000..512_000).contains(&got), "{got} bytes came");
    assert!(buffer[..got] == pattern(0, got));
}

#[test]
fn parallel_readers_and_writers_do_not_mix() {
    let Some(volume) = Volume::new() else { return };
    let path = Arc::new(volume.mnt().join("f"));
    const PART: usize = 300_000;
    File::create(&*path)
        .unwrap()
        .set_len(8 * PART as u64)
        .unwrap();
    let threads: Vec<_> = (0..8usize)
        .map(|part| {
            let path = Arc::clone(&path);
            thread::spawn(move || {
                let file = File::options().read(true).write(true).open(&*path).unwrap();
                let data = pattern(part * PART, PART);
                for (index, piece) in data.chunks(70_001).enumerate() {
                    let at = part * PART + index * 70_001;
                    file.write_all_at(piece, at as u64).unwrap();
                }
                let mut back = vec![0; PART];
                let reader = File::open(&*path).unwrap();
                reader
                    .read_exact_at(&mut back, (part * PART) as u64)
                    .unwrap();
                assert!(back == data, "part {part}");
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(fs::read(volume.export().join("f")).unwrap() == pattern(0, 8 * PART));
}

#[test]
fn appenders_lose_nothing() {
    let Some(volume) = Volume::new() else { return };
    let path = Arc::new(volume.mnt().join("log"));
    let threads: Vec<_> = (0..4)
        .map(|who| {
            let path = Arc::clone(&path);
            thread::spawn(move || {
                let mut file = File::options()
                    .append(true)
                    .create(true)
                    .open(&*path)
                    .unwrap();
                for line in 0..100 {
                    file.write_all(format!("{who}:{line:03}\n").as_bytes())
                        .unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let text = fs::read_to_string(&*path).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 400);
}
