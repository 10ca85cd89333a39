//! A run in parts, its parts joined, and runs compared with earlier ones.

mod common;

use std::fs;

use common::{Place, entries, fuse};
use results::Report;

/// Runs some operation cases in a plain directory, with further arguments, and keeps the report as `name`.
fn run_of_a_directory(place: &Place, name: &str, more: &[&str]) {
    let dir = place.path().join("volume");
    fs::create_dir_all(&dir).unwrap();
    let out = place.path().join(name);
    let mut args = vec!["run", "--ops", "link,name,special.mkfifo", "--path"];
    args.extend([dir.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    args.extend(more);
    let ran = place.run(&args);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

fn path(place: &Place, name: &str) -> String {
    place.path().join(name).to_str().unwrap().to_owned()
}

#[test]
fn two_parts_of_a_run_joined_are_what_one_run_gives() {
    let place = Place::new();
    run_of_a_directory(&place, "whole.json", &[]);
    run_of_a_directory(&place, "1.json", &["--partition", "hash:1/2"]);
    run_of_a_directory(&place, "2.json", &["--partition", "hash:2/2"]);
    let [whole, first, second] = ["whole.json", "1.json", "2.json"].map(|name| path(&place, name));
    let read = |path: &str| Report::read(path).unwrap();
    let counts = [&whole, &first, &second].map(|path| read(path).cases.len());
    assert_eq!(counts[0], counts[1] + counts[2]);
    assert!(counts[1] > 0 && counts[2] > 0, "{counts:?}");

    let joined = path(&place, "joined.json");
    let ran = place.run(&["merge", &second, &first, "--out", &joined]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ids = |path: &str| {
        read(path)
            .cases
            .into_iter()
            .map(|case| case.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&joined), ids(&whole));
    let ran = place.run(&["diff", &whole, &joined, "--fail-on", "change"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");

    // Equal byte for byte, once times are left out.
    let without = |path: &str| place.run(&["merge", path, "--without-times"]).stdout;
    assert_eq!(without(&joined), without(&whole));

    let ran = place.run(&["merge", &first]);
    ran.says(2, "planned cases are in no part");
    let ran = place.run(&["merge", &first, &first]);
    ran.says(2, "has a result in");
    assert_eq!(place.left(), [""; 0]);
    assert_eq!(entries(&place.path().join("volume")), [""; 0]);
}

#[test]
fn a_verdict_worse_than_the_baseline_s_ends_with_1() {
    if !fuse("a_verdict_worse_than_the_baseline_s_ends_with_1") {
        return;
    }
    let place = Place::new();
    run_of_a_directory(&place, "good.json", &[]);
    let [good, bad] = ["good.json", "bad.json"].map(|name| path(&place, name));
    let on_fuse = |more: &[&str]| {
        let cases = [
            "run",
            "--ops",
            "link.nlink,special.mkfifo",
            "--client",
            "fuse",
            "--no-explain",
        ];
        place.run(&[&cases, more].concat())
    };
    let ran = on_fuse(&[
        "--fail-on",
        "regression",
        "--baseline",
        &good,
        "--out",
        &bad,
    ]);
    ran.says(
        1,
        "worse than in the baseline: special.mkfifo (works → fails)",
    );
    // What was bad before is no regression.
    let ran = on_fuse(&["--fail-on", "regression", "--baseline", &bad]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = place.run(&["diff", &good, &bad, "--fail-on", "regression"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout
            .contains("special.mkfifo ✓ works → ✗ fails (mkfifo: ENXIO)"),
        "{ran:?}"
    );
}

#[test]
fn a_regression_needs_a_baseline_and_a_partition_needs_numbers() {
    let place = Place::new();
    let ran = place.run(&["run", "--ops", "link", "--fail-on", "regression"]);
    ran.says(2, "--fail-on regression needs an earlier result");
    let ran = place.run(&["run", "--ops", "link", "--baseline", "/nonexistent.json"]);
    ran.says(2, "/nonexistent.json cannot be read");
    let ran = place.run(&["run", "--ops", "link", "--partition", "hash:3/2"]);
    ran.says(2, "is no partition; write hash:PART/PARTS");
    let ran = place.run(&["run", "--case", "link.nlink", "--partition", "hash:2/4"]);
    ran.says(4, "this part of the plan has no case");
    let ran = place.run(&["exec", "--fail-on", "regression", "true"]);
    ran.says(2, "there is no earlier run to compare with");
}
