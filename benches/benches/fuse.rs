//! File operations on a FUSE mount: the kernel, our client and our server together, each a process of its own.
//!
//! Before criterion's figures come those of large reads and writes beside what a raw client gets from the same
//! server on the same directory, with the share of it that the mount reaches: medians of rounds in which both have
//! their turns.
//!
//! Skipped, with the reason, where nothing can be mounted.

use std::{
    error::Error,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    hint::black_box,
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use benches::{
    load::{self, Connection, Kind, Workload},
    server,
    turn::{self, LARGE, Turn},
};
use criterion::{Criterion, Throughput};
use server9p::{
    profile::Profile,
    stack::{
        VolumeOptions, fuse_world::FuseClient, processor::Together, server::Server,
        visible::VisibleMount, volume::VolumeWorld,
    },
};

/// Bytes of the file that is read and written.
const FILE: u64 = 64 << 20;

/// Bytes of a small one.
const SMALL: usize = 4096;

/// Entries of the directory that is listed.
const ENTRIES: u64 = 1000;

fn main() -> ExitCode {
    // Server, client and what takes turns on the mount are this program again.
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    server9p::helper::own_commands(turn::command);
    if let Some(code) = server9p::helper::dispatch(&args).or_else(|| turn::command(&args)) {
        return code;
    }
    if let Some(code) = server::dispatch() {
        return code;
    }
    let brief = !args.iter().any(|arg| arg == "--bench");
    let mut criterion = Criterion::default().configure_from_args();
    for profile in [Profile::Golem, Profile::Posix] {
        for processors in [Processors::One, Processors::All] {
            if let Err(why) = beside_raw(profile, processors, brief) {
                println!("skipped: fuse/{profile} beside a raw client: {why}");
            }
        }
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

/// Where the program on the mount, our client and our server run. The raw client and its server have all processors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Processors {
    /// All three on one, as `probe9p run` has its operations.
    One,
    /// Wherever the kernel puts them.
    All,
}

impl Processors {
    /// For the calling thread and what it starts, until what comes back is dropped.
    fn enter(self) -> Option<Together> {
        (self == Processors::One).then(|| Together::enter_as(0))?
    }
}

/// What the mount is to reach of the raw client's rate.
const WANTED: f64 = 0.6;

/// What the raw client has in flight.
const DEPTH: u16 = 4;

/// One side's turn: bytes per second.
type OneTurn<'a> = Box<dyn Fn(Duration) -> Result<f64, Box<dyn Error>> + 'a>;

/// Sequential reads and writes of a raw client, four in flight, and of a program on a volume, in turns: of one thread, which
/// has one in flight, and of as many threads as the raw client has requests. Then those of a program on a mount that
/// everybody sees.
fn beside_raw(profile: Profile, processors: Processors, brief: bool) -> Result<(), Box<dyn Error>> {
    let options = VolumeOptions::new(profile);
    let world = {
        let _together = processors.enter();
        VolumeWorld::new(&options, Server::Own, Box::new(FuseClient))?
    };
    let scratch = tempfile::tempdir()?;
    let seen = scratch.path().join("mount");
    fs::create_dir(&seen)?;
    let export = world.export();
    // As many bytes as the load generator expects, for a server, too, that drops to another user.
    let whole = export.join(load::FILE);
    fs::write(&whole, vec![7; load::FILE_SIZE as usize])?;
    for (path, mode) in [(scratch.path(), 0o755), (&*whole, 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let server = server::Kind::Own(profile).start(export, scratch.path())?;
    let raw = |writes: bool| -> OneTurn<'_> {
        let kind = match writes {
            true => Kind::SequentialWrite,
            false => Kind::SequentialRead,
        };
        let (server, msize) = (&server, options.msize);
        Box::new(move |time| {
            let mut connection = Connection::attach(server.connect()?, &server.aname, msize)?;
            let workload = Workload {
                name: "sequential",
                kind,
                depth: DEPTH,
            };
            let mut lanes = workload.lanes(&mut connection)?;
            Ok(connection.run(&mut lanes, time)?.rate())
        })
    };
    let on_volume = |writes: bool, threads: usize| -> OneTurn<'_> {
        let (world, turn) = (&world, Turn { writes, threads });
        Box::new(move |time| Ok(turn.within(world, load::FILE, time)?))
    };
    let seen_by_all = |writes: bool| -> OneTurn<'_> {
        let (file, turn) = (seen.join(load::FILE), Turn { writes, threads: 1 });
        Box::new(move |time| Ok(turn.here(&file, time)?))
    };
    let several = usize::from(DEPTH);
    let mut rows = vec![
        ("read", raw(false), on_volume(false, 1)),
        ("write", raw(true), on_volume(true, 1)),
    ];
    let mut place = ", on one processor";
    let mounted;
    if processors == Processors::All {
        place = "";
        mounted = VisibleMount::new(export, &seen, &options)?;
        let seen_read = match mounted.why_page_cache() {
            None => "read, seen by everybody",
            Some(why) => {
                println!(
                    "fuse/{profile}: a mount that everybody sees is read through the page cache here: {why}"
                );
                "read, seen by everybody, through the page cache"
            }
        };
        rows.extend([
            (
                "read, four in flight",
                raw(false),
                on_volume(false, several),
            ),
            ("write, four in flight", raw(true), on_volume(true, several)),
            (seen_read, raw(false), seen_by_all(false)),
            ("write, seen by everybody", raw(true), seen_by_all(true)),
        ]);
    }
    let (rounds, time) = match brief {
        true => (1, Duration::from_millis(20)),
        false => (7, Duration::from_millis(300)),
    };
    for (name, raw, mount) in rows {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..=rounds {
            for (rates, turn) in rates.iter_mut().zip([&raw, &mount]) {
                let rate = turn(time)?;
                // The first round warms up.
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        let [raw, mount] = rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        });
        let mib = f64::from(1 << 20);
        println!(
            "fuse/{profile}, sequential {name}, 1 MiB{place}: {:.0} MiB/s on the mount, {:.0} MiB/s by the raw client: \
             {:.0} % (wanted {:.0} %)",
            mount / mib,
            raw / mib,
            100.0 * mount / raw,
            100.0 * WANTED
        );
    }
    Ok(())
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
