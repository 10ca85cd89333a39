//! The VM runtime's conditions around a volume, and its ram and storage volumes, on client fuse: end to end.

mod common;

use common::{Place, fuse, skipped};
use serde_json::Value;

fn results(report: &Value) -> impl Iterator<Item = &Value> {
    report["cases"].as_array().unwrap().iter()
}

fn remedies(case: &Value) -> Vec<(&str, bool)> {
    let tried = case["remedies"].as_array().unwrap().iter();
    tried
        .map(|remedy| {
            (
                remedy["id"].as_str().unwrap(),
                remedy["verified"].as_bool().unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_runtime_s_conditions_break_what_they_break_and_their_remedies_mend_it() {
    if !fuse("the_runtime_s_conditions_break_what_they_break_and_their_remedies_mend_it") {
        return;
    }
    let place = Place::new();
    let ran = place.run(&[
        "run", "--client", "fuse", "--ops", "runtime", "--format", "json",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = ran.json();
    let mut seen = 0;
    for case in results(&report) {
        let id = case["id"].as_str().unwrap();
        if case["verdict"] == "skipped" {
            // A container without overlays, an ordinary user without a second one, a host whose name has no address.
            skipped(id, &case["note"].to_string());
            continue;
        }
        seen += 1;
        assert_eq!(case["verdict"], "workaround", "{case:#}");
        let own = remedies(case)[0];
        assert!(own.1, "its first remedy works: {case:#}");
        assert_ne!(case["cause"]["id"], "unmatched", "{case:#}");
    }
    assert!(seen > 0, "{report:#}");
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn another_profile_has_an_ordinary_root_and_says_why_nothing_was_run() {
    if !fuse("another_profile_has_an_ordinary_root_and_says_why_nothing_was_run") {
        return;
    }
    let place = Place::new();
    let ran = place.run(&[
        "run",
        "--client",
        "fuse",
        "--profile",
        "qemu",
        "--ops",
        "runtime.small_root",
        "--format",
        "json",
    ]);
    let report = ran.json();
    let case = results(&report).next().unwrap();
    assert_eq!(case["verdict"], "skipped", "{case:#}");
    let note = case["note"].as_str().unwrap();
    assert!(note.contains("--profile golem"), "{note}");
}

#[test]
fn what_9p_refuses_works_on_a_ram_volume_and_is_listed_as_a_remedy() {
    if !fuse("what_9p_refuses_works_on_a_ram_volume_and_is_listed_as_a_remedy") {
        return;
    }
    let place = Place::new();
    let on_ram = place.run(&[
        "run",
        "--client",
        "fuse",
        "--server",
        "ram",
        "--ops",
        "special.mkfifo,mmap.shared_write",
        "--format",
        "json",
    ]);
    let report = on_ram.json();
    assert_eq!(
        (&report["stack"]["client"], &report["stack"]["server"]),
        (&"fuse".into(), &"ram".into())
    );
    for case in results(&report) {
        assert_eq!(case["verdict"], "works", "{case:#}");
    }
    let on_9p = place.run(&[
        "run",
        "--client",
        "fuse",
        "--ops",
        "special.mkfifo",
        "--format",
        "json",
    ]);
    let report = on_9p.json();
    let case = results(&report).next().unwrap();
    assert_eq!(case["verdict"], "workaround", "{case:#}");
    assert_eq!(remedies(case)[0], ("ram", true), "{case:#}");
    let (id, verified) = remedies(case)[1];
    assert_eq!(id, "storage");
    if !verified {
        let why = case["remedies"][1]["detail"].as_str().unwrap();
        assert!(why.starts_with("was not run: "), "{why}");
        skipped("the storage volume", why);
    }
    assert_eq!(place.left(), [""; 0]);
}
