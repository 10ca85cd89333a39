//! Every operation case holds in a plain local directory, on a disk and on a tmpfs: what fails natively
//! can say nothing of a volume.

use std::{fs, os::fd::OwnedFd, path::Path, process::Command};

use probes::{ops::host, runner::hand::Hand};
use results::{Observation, Outcome};

/// Runs every case as the runner would, in fresh directories below `parent`.
fn all_cases_hold_in(parent: &Path) {
    server9p::stack::process::use_program(env!("CARGO_BIN_EXE_probe9p"));
    // What an image would hold is beside the cases' directories, as the runner has it.
    let place = tempfile::tempdir_in(parent).expect("a fresh directory");
    server9p::stack::root::put_image_content(place.path()).expect("room for a file");
    let mut failures = Vec::new();
    let mut ran = 0;
    for case in probes::ops::planned() {
        let dir = tempfile::tempdir_in(place.path()).expect("a fresh directory");
        // Natively the host's hand is in the same directory.
        let hand = Hand::start(dir.path(), None).expect("a process of the host");
        let line = hand.line.try_clone().expect("a descriptor");
        let output = Command::new(env!("CARGO_BIN_EXE_probe9p"))
            .args(&case.child_args)
            .args(["--side", "native", "--dir"])
            .arg(dir.path())
            .env(host::HAND, host::HERE)
            .stdin(OwnedFd::from(line))
            .output()
            .expect("the case's child starts");
        let last = output
            .stdout
            .rsplit(|&b| b == b'\n')
            .find(|line| !line.is_empty());
        let seen: Option<Observation> = last.and_then(|line| serde_json::from_slice(line).ok());
        match seen {
            Some(seen) if seen.outcome == Outcome::Ok => ran += 1,
            Some(seen) if seen.outcome == Outcome::NotRun => {
                println!("skipped {}: {}", case.id, seen.detail);
            }
            Some(seen) => failures.push(format!("{}: {}", case.id, seen.detail)),
            None => failures.push(format!(
                "{}: no observation, {}: {}",
                case.id,
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }
    assert!(
        failures.is_empty(),
        "in {}:\n{}",
        parent.display(),
        failures.join("\n")
    );
    assert!(ran > 0, "no case ran at all");
}

#[test]
fn every_case_holds_on_this_machines_disk() {
    all_cases_hold_in(Path::new(env!("CARGO_TARGET_TMPDIR")));
}

#[test]
fn every_case_holds_on_tmpfs() {
    let shm = Path::new("/dev/shm");
    if !fs::metadata(shm).is_ok_and(|at| at.is_dir()) {
        println!("skipped: /dev/shm is missing");
        return;
    }
    all_cases_hold_in(shm);
}
