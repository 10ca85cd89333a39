use std::{fs, os::unix::fs::FileExt};

use super::{blocks::Places, *};
use crate::bench::workload::load;

fn named(name: &str) -> Workload {
    let all = load(None).unwrap();
    all.into_iter()
        .find(|one| one.name == name)
        .expect("a workload's name")
}

fn job(workload: Workload, dir: &Path) -> Job {
    Job {
        workload,
        dir: dir.to_owned(),
        time: Duration::ZERO,
        file_bytes: 4 << 20,
        seed: 1,
        once: false,
    }
}

#[test]
fn every_workload_does_at_least_one_operation_and_leaves_only_what_turns_share() {
    let dir = tempfile::tempdir().unwrap();
    for workload in load(None).unwrap() {
        let job = job(workload, dir.path());
        prepare(&job).unwrap();
        let turn = turn(&job).unwrap();
        let name = &job.workload.name;
        assert!(
            turn.operations >= u64::from(job.workload.threads) && turn.seconds > 0.0,
            "{name}: {turn:?}"
        );
        assert!(turn.rate(job.workload.unit) > 0.0, "{name}: {turn:?}");
        assert!(
            turn.latency.p50 > 0.0 && turn.latency.p99 >= turn.latency.p50,
            "{name}: {turn:?}"
        );
    }
    let mut left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, [FILE, "crowd", "rename-to-0"]);
}

#[test]
fn what_writing_leaves_is_what_reading_expects() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "rand_write_4k",
        "seq_write_1m",
        "fsync_4k",
        "rand_read_4k_x8",
        "seq_read_1m",
        "mmap_read",
    ] {
        let job = Job {
            time: Duration::from_millis(5),
            ..job(named(name), dir.path())
        };
        prepare(&job).unwrap();
        turn(&job).unwrap();
    }
}

#[test]
fn wrong_data_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(named("seq_read_1m"), dir.path());
    prepare(&job).unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join(FILE))
        .unwrap();
    file.write_all_at(b"garbage!", 8192).unwrap();
    let error = turn(&job).unwrap_err().to_string();
    assert!(
        error.ends_with("does not hold at byte 0 what was written there"),
        "{error}"
    );
}

#[test]
fn a_turn_of_once_ends_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job {
        once: true,
        time: Duration::MAX,
        ..job(named("seq_read_1m"), dir.path())
    };
    prepare(&job).unwrap();
    assert_eq!(turn(&job).unwrap().operations, 4);
}

#[test]
fn places_cover_the_file() {
    let places = |next, state, count, random| Places {
        next,
        state,
        count,
        random,
    };
    for random in [false, true] {
        let mut places = places(0, 7, 8, random);
        let seen: std::collections::BTreeSet<u64> = (0..200).map(|_| places.next()).collect();
        assert_eq!(seen.len(), 8);
    }
    let mut places = places(0, 0, 3, false);
    assert_eq!([0; 4].map(|_| places.next()), [0, 1, 2, 0]);
}
