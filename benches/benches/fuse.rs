//! File operations on a FUSE mount: the kernel, our client and our server together, each a process of its own.
//!
//! Skipped, with the reason, where nothing can be mounted.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    hint::black_box,
    os::unix::fs::FileExt,
    path::Path,
    process::ExitCode,
};

use criterion::{Criterion, Throughput};
use server9p::{
    profile::Profile,
    stack::{VolumeOptions, visible::VisibleMount},
};

/// Bytes of the file that is read and written.
const FILE: u64 = 64 << 20;

/// Bytes of a large read or write, which is what the kernel hands to the client at once at most.
const LARGE: usize = 1 << 20;

/// Bytes of a small one.
const SMALL: usize = 4096;

/// Entries of the directory that is listed.
const ENTRIES: u64 = 1000;

fn main() -> ExitCode {
    // Server and client are this program again.
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = server9p::helper::dispatch(&args) {
        return code;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for profile in [Profile::Golem, Profile::Posix] {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let [export, mount] = ["export", "mount"].map(|name| dir.path().join(name));
        for directory in [&export, &mount] {
            fs::create_dir(directory).expect("a directory can be made");
        }
        fill(&export);
        match VisibleMount::new(&export, &mount, &VolumeOptions::new(profile)) {
            Err(why) => println!("skipped: fuse/{profile}: {why}"),
            Ok(_mounted) => operations(&mut criterion, profile, &mount),
        }
    }
    criterion.final_summary();
    ExitCode::SUCCESS
}

fn fill(export: &Path) {
    fs::write(export.join("file"), vec![7; FILE as usize]).expect("there is room for the file");
    let crowd = export.join("crowd");
    fs::create_dir(&crowd).expect("a directory can be made");
    for number in 0..ENTRIES {
        fs::write(crowd.join(format!("entry-{number}")), "").expect("there is room for it");
    }
}

fn operations(criterion: &mut Criterion, profile: Profile, mount: &Path) {
    let mut group = criterion.benchmark_group("fuse");
    let path = mount.join("file");
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("the mount has the file")
    };
    let file = open();
    let mut data = vec![8; LARGE];
    // Blocks one after the other, from the start again at the end.
    let mut places = (0..).map(|block: u64| block * LARGE as u64 % FILE);
    let mut next = move || places.next().expect("there is always a next");

    group.throughput(Throughput::Bytes(LARGE as u64));
    group.bench_function(format!("{profile}/sequential_read_1m"), |bencher| {
        bencher.iter(|| file.read_exact_at(&mut data, next()).expect("reads work"));
    });
    group.bench_function(format!("{profile}/sequential_write_1m"), |bencher| {
        bencher.iter(|| file.write_all_at(&data, next()).expect("writes work"));
    });

    group.throughput(Throughput::Elements(1));
    // A step that meets every block before it meets one again.
    let mut at = 0;
    group.bench_function(format!("{profile}/random_read_4k"), |bencher| {
        let small = &mut data[..SMALL];
        bencher.iter(|| {
            at = (at + 7919 * SMALL as u64) % FILE;
            file.read_exact_at(small, at).expect("reads work");
        });
    });
    group.bench_function(format!("{profile}/stat"), |bencher| {
        bencher.iter(|| black_box(fs::metadata(&path).expect("stat works")));
    });
    group.bench_function(format!("{profile}/open_close"), |bencher| {
        bencher.iter(|| black_box(open()));
    });
    let made = mount.join("made");
    group.bench_function(format!("{profile}/create_write_unlink"), |bencher| {
        bencher.iter(|| {
            let new = File::create(&made).expect("files can be made");
            new.write_all_at(&[1; SMALL], 0).expect("writes work");
            drop(new);
            fs::remove_file(&made).expect("files can be removed");
        });
    });
    group.throughput(Throughput::Elements(ENTRIES));
    group.bench_function(format!("{profile}/readdir_1000"), |bencher| {
        let crowd = mount.join("crowd");
        bencher.iter(|| {
            let entries = fs::read_dir(&crowd).expect("the directory can be listed");
            assert_eq!(entries.count() as u64, ENTRIES);
        });
    });
    group.finish();
}
