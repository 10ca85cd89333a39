//! `probe9p fuzz`: stacks that are alike do not part, and ones that are not are told apart by the shortest sequence.

mod common;

use std::{fs, process::Command};

use common::Place;
use serde_json::Value;

/// Whether a FUSE volume can be brought up here.
fn has_fuse(test: &str) -> bool {
    let there = fs::File::open("/dev/fuse").is_ok();
    if !there {
        println!("skipped: {test}: /dev/fuse cannot be opened");
    }
    there
}

/// What the child says of one sequence in a plain directory.
fn steps(text: &str) -> Vec<(String, String)> {
    let place = Place::new();
    let ran = Command::new(env!("CARGO_BIN_EXE_probe9p"))
        .args(["@fuzz", "--every-step", "--text", text, "--dir"])
        .arg(place.path())
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
    serde_json::from_value(told["Steps"].clone()).unwrap()
}

#[test]
fn a_sequence_says_what_each_step_returned_and_left() {
    let steps = steps(
        "open 0 a/x rdwr 0; write 0 3; rename a/x b/y; unlink a/x; setxattr b/y user.k 3; utimens b/y 1000",
    );
    let results: Vec<&str> = steps.iter().map(|(result, _)| &**result).collect();
    assert_eq!(
        results,
        [
            "opened", "3 bytes", "done", "ENOENT", "done", "done", "the end"
        ]
    );
    let has = |step: usize, line: &str| assert!(steps[step].1.contains(line), "{}", steps[step].1);
    has(1, "handle 0: file 644 links 1 size 5 at 3");
    has(
        6,
        "b/y: file 644 links 1 size 5 modified 1000 has B*3 l o user.k=E*3",
    );
}

#[test]
fn a_volume_that_does_all_that_a_directory_does_does_not_part_from_it() {
    if !has_fuse("a_volume_that_does_all_that_a_directory_does_does_not_part_from_it") {
        return;
    }
    let place = Place::new();
    // The last enumerated sequences, and the first random ones.
    let args = [
        "fuzz", "--first", "2950", "--steps", "120", "--format", "json",
    ];
    let ran = place.run(&args);
    let told = ran.json();
    assert_eq!(told["divergence"], Value::Null, "{told:#}");
    assert!(told["steps"].as_u64().unwrap() >= 120, "{told:#}");
    assert_eq!(ran.code, Some(0));
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn stacks_that_part_are_told_apart_by_the_shortest_sequence() {
    if !has_fuse("stacks_that_part_are_told_apart_by_the_shortest_sequence") {
        return;
    }
    let place = Place::new();
    // QEMU's server changes the size of an open file by its path.
    let sequence =
        "stat a; open 0 a/x rdwr 0; stat b; write 0 5; unlink a/x; fsync 0; ftruncate 0 1; lstat b";
    let stacks = "fuse/server9p/posix,fuse/server9p/qemu";
    let args = ["fuzz", "--stacks", stacks, "--replay", sequence];
    let ran = place.run(&args);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let replay = "--replay 'open 0 a/x rdwr 0; unlink a/x; ftruncate 0 1'";
    assert!(ran.stdout.contains(replay), "{ran:?}");
    assert!(ran.stdout.contains("fuse/server9p/qemu: ENOENT"), "{ran:?}");
    assert!(ran.stdout.contains("os.ftruncate(h[0], 1)"), "{ran:?}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    let place = Place::new();
    place
        .run(&["fuzz", "--stacks", "native"])
        .says(2, "one stack has nothing to be compared with");
    place
        .run(&["fuzz", "--replay", "unlink /etc/passwd"])
        .says(2, "the sequence cannot be run");
}
