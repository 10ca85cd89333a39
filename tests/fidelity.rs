//! `probe9p fidelity`, through the built program.

mod common;

use std::fs;

use common::{Place, fuse, skipped};
use results::{Fidelity, Report};
use server9p::stack::{Series, uml};

/// A report of two cases on a plain directory, in a file of this name; its path.
fn reported(place: &Place, name: &str) -> String {
    let dir = place.path().join("volume");
    fs::create_dir_all(&dir).unwrap();
    let file = place.path().join(name).to_str().unwrap().to_owned();
    let ran = place.run(&[
        "run",
        "--path",
        dir.to_str().unwrap(),
        "--case",
        "link.nlink,special.mkfifo",
        "--out",
        &file,
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    file
}

/// The same report, but `special.mkfifo` failed with ENXIO.
fn with_a_failure(place: &Place, from: &str) -> String {
    let mut report = Report::read(from).unwrap();
    let case = (report.cases.iter_mut()).find(|case| case.id == "special.mkfifo");
    let case = case.unwrap();
    case.verdict = results::Verdict::Fails;
    case.note = "mkfifo(fifo) failed: ENXIO".into();
    case.volume.outcome = results::Outcome::Error;
    case.volume.errno = Some("ENXIO".into());
    case.volume.call = Some("mkfifo".into());
    // What wrote it seals it anew.
    report.integrity = None;
    let file = place.path().join("failed.json");
    fs::write(&file, report.to_json()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn reports_are_compared_without_running_anything() {
    let place = Place::new();
    let reference = reported(&place, "reference.json");
    let failed = with_a_failure(&place, &reference);
    let out = place.path().join("fidelity.json");
    let out = out.to_str().unwrap();

    let args = ["fidelity", "--from", &reference, &reference, &failed];
    let ran = place.run(&[&args[..], &["--format", "json", "--out", out]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(fs::read_to_string(out).unwrap(), ran.stdout);
    let fidelity: Fidelity = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(fidelity.schema_version, results::FIDELITY_SCHEMA_VERSION);
    let [same, other] = &fidelity.candidates[..] else {
        panic!("{fidelity:?}");
    };
    assert_eq!((same.agreed, same.compared, same.share), (2, 2, Some(1.0)));
    assert_eq!((other.agreed, other.compared), (1, 2));
    let [case] = &other.disagreements[..] else {
        panic!("{other:?}");
    };
    assert_eq!(case.id, "special.mkfifo");
    assert!(case.verdict_differs && case.errno_differs);
    assert_eq!(case.candidate.volume.call.as_deref(), Some("mkfifo"));

    let ran = place.run(&args);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in [
        "  100.0 % agree: 2 of 2 cases; 0 counted apart",
        "  50.0 % agree: 1 of 2 cases; 0 counted apart",
        "mkfifo(fifo) failed: ENXIO",
    ] {
        assert!(ran.stdout.contains(line), "{line:?} is not in {ran:?}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let place = Place::new();
    let reference = reported(&place, "reference.json");
    let run = |args: &[&str]| place.run(&[&["fidelity"], args].concat());
    run(&["--from", &reference, "/nowhere.json"]).says(2, "/nowhere.json cannot be read");
    run(&["--from", &reference]).says(2, "--from");
    run(&["--from", &reference, &reference, "--ops", "link"]).says(2, "cannot be used with");
    run(&["--candidate", "fuse/server9p"]).says(2, "write client/server/profile");
    run(&["--ops", "no-such-*"]).says(4, "no case is selected");
    run(&["--ops", "link", "--out", "/"]).says(3, "it is a directory");
    // QEMU's own server serves nobody else.
    run(&["--ops", "link", "--reference", "fuse/qemu/golem"]).says(3, "serves no client fuse");
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn a_stack_agrees_with_itself() {
    if !fuse("a_stack_agrees_with_itself") {
        return;
    }
    let place = Place::new();
    let stack = "fuse/server9p/golem";
    let ran = place.run(&[
        "fidelity",
        "--reference",
        stack,
        "--candidate",
        stack,
        "--case",
        "link.nlink,special.mkfifo",
        "--format",
        "json",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let fidelity: Fidelity = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(fidelity.reference.stack.name(), stack);
    let agreement = &fidelity.candidates[0];
    assert_eq!((agreement.agreed, agreement.compared), (2, 2), "{ran:?}");
    assert_eq!(place.left(), [""; 0]);
}

/// What the host does, small file systems in what is served, and what cannot be done: on the reference as on ours.
#[test]
fn our_server_agrees_with_the_reference() {
    let test = "our_server_agrees_with_the_reference";
    let stacks = probes::runner::volume::stacks();
    let reference = stacks.iter().find(|stack| stack.name == "qemu/qemu/golem");
    if let Some(why) = &reference.expect("it is listed").missing {
        return skipped(test, why);
    }
    if let Err(why) = uml::kernels::find(Series::Linux5_10) {
        return skipped(test, &why.to_string());
    }
    let place = Place::new();
    let cases = "coherence.host_writes,coherence.host_restores_time,coherence.posix_lock,space.full_write,special.mkfifo,inode.unlinked_fstat";
    let ran = place.run(&[
        "fidelity",
        "--candidate",
        "uml/server9p/golem",
        "--case",
        cases,
        "--format",
        "json",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let fidelity: Fidelity = serde_json::from_str(&ran.stdout).unwrap();
    let agreement = &fidelity.candidates[0];
    let all = cases.split(',').count();
    assert_eq!(
        (agreement.agreed, agreement.compared),
        (all, all),
        "{ran:?}"
    );
    assert_eq!(place.left(), [""; 0]);
}
