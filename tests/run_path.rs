//! `run --path` on a plain directory: the whole way from cases to a report, without any mount of ours.

mod common;

use std::fs;

use common::{Place, Running, all_end, descendants, entries, handles};
use rustix::process::Signal;
use serde_json::Value;

fn place_with_volume() -> (Place, String) {
    let place = Place::new();
    let volume = place.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let volume = volume.to_str().unwrap().to_owned();
    (place, volume)
}

#[test]
fn a_plain_directory_works_and_is_left_as_it_was() {
    let (place, volume) = place_with_volume();
    fs::write(format!("{volume}/mine"), "mine").unwrap();
    let ran = place.run(&[
        "run",
        "--ops",
        "link,rename",
        "--path",
        &volume,
        "--format",
        "json",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = ran.json();
    assert_eq!(report["schema_version"], 1);
    assert_eq!(
        (&report["stack"]["client"], &report["stack"]["server"]),
        (&"path".into(), &"unknown".into())
    );
    assert!(report["finished"].is_string());
    let cases = report["cases"].as_array().unwrap();
    assert!(cases.len() > 5, "{cases:?}");
    for case in cases {
        let verdict = case["verdict"].as_str().unwrap();
        assert!(["works", "skipped", "invalid"].contains(&verdict), "{case}");
        if verdict == "works" {
            assert_eq!(
                (&case["native"]["outcome"], &case["volume"]["outcome"]),
                (&"ok".into(), &"ok".into())
            );
            assert!(case["native"]["duration_ms"].is_number());
        }
    }
    let ids: Vec<_> = cases
        .iter()
        .map(|case| case["id"].as_str().unwrap())
        .collect();
    let listed = place.run(&["list", "ops", "--format", "json"]).json();
    let planned: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|op| op["id"].as_str().unwrap())
        .filter(|id| ids.contains(id))
        .collect();
    assert_eq!(ids, planned, "results stand in the order of the plan");
    assert_eq!(entries(volume.as_ref()), ["mine"]);
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn every_format_goes_to_standard_output_and_progress_does_not() {
    let (place, volume) = place_with_volume();
    let run = |format| {
        place.run(&[
            "run", "--ops", "link", "--path", &volume, "--format", format,
        ])
    };
    let starts = [
        ("table", "path/unknown"),
        ("json", "{"),
        ("jsonl", "{\"event\":\"run_started\""),
        ("junit", "<?xml"),
        ("tap", "TAP version 14"),
    ];
    for (format, start) in starts {
        let ran = run(format);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.starts_with(start), "{format}: {}", ran.stdout);
        assert_eq!(
            ran.stderr.contains("link."),
            format != "table",
            "{format}: {}",
            ran.stderr
        );
    }
}

#[test]
fn the_report_and_the_events_are_kept_in_files_too() {
    let (place, volume) = place_with_volume();
    let (out, events) = (
        place.path().join("out.json"),
        place.path().join("events.jsonl"),
    );
    let ran = place.run(&[
        "run",
        "--ops",
        "link",
        "--path",
        &volume,
        "--format",
        "json",
        "--out",
        out.to_str().unwrap(),
        "--jsonl",
        events.to_str().unwrap(),
    ]);
    let kept: Value = serde_json::from_str(&fs::read_to_string(out).unwrap()).unwrap();
    assert_eq!(kept, ran.json());
    let lines = fs::read_to_string(events).unwrap();
    let names: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .collect();
    assert_eq!(names.first().unwrap(), "run_started");
    assert_eq!(names.last().unwrap(), "run_finished");
}

#[test]
fn a_signal_ends_the_run_and_keeps_its_results() {
    for signal in [Signal::INT, Signal::TERM] {
        let (place, volume) = place_with_volume();
        let out = place.path().join("out.json");
        let args = [
            "run",
            "--ops",
            "all",
            "--repeat",
            "50",
            "--path",
            &volume,
            "--format",
            "jsonl",
            "--out",
            out.to_str().unwrap(),
        ];
        let mut run = Running::start(place.command(&args));
        run.until("case_finished");
        let helpers = handles(&descendants(run.pid()));
        run.signal(signal);
        let ran = run.end();
        assert_eq!(ran.code, Some(130), "{ran:?}");
        assert!(ran.stderr.contains("probe9p: stopped by SIG"), "{ran:?}");
        let report: Value = serde_json::from_str(&fs::read_to_string(out).unwrap()).unwrap();
        assert!(report.get("finished").is_none());
        assert!(!report["cases"].as_array().unwrap().is_empty());
        assert!(
            ran.stdout
                .lines()
                .last()
                .unwrap()
                .contains("run_interrupted"),
            "{ran:?}"
        );
        assert!(all_end(&helpers, std::time::Duration::from_secs(30)));
        assert_eq!(entries(volume.as_ref()), [""; 0]);
        assert_eq!(place.left(), [""; 0]);
    }
}

#[test]
fn after_a_kill_the_next_run_removes_what_was_left() {
    let (place, volume) = place_with_volume();
    let args = [
        "run", "--ops", "all", "--repeat", "50", "--path", &volume, "--format", "jsonl",
    ];
    let mut run = Running::start(place.command(&args));
    run.until("case_finished");
    let helpers = handles(&descendants(run.pid()));
    run.signal(Signal::KILL);
    assert_eq!(run.end().code, None);
    assert!(
        all_end(&helpers, std::time::Duration::from_secs(30)),
        "every process ends with the run"
    );
    assert_eq!((entries(volume.as_ref()).len(), place.left().len()), (1, 1));
    let ran = place.run(&["run", "--ops", "link", "--path", &volume]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(entries(volume.as_ref()), [""; 0]);
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn kept_directories_stay_and_are_named() {
    let (place, volume) = place_with_volume();
    let ran = place.run(&["run", "--ops", "link", "--path", &volume, "--keep"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let left = place.left();
    assert_eq!(left.len(), 1);
    assert!(ran.stderr.contains(&left[0]), "{ran:?}");
    assert_eq!(entries(volume.as_ref()).len(), 1);
    // A later run takes them for nobody's remains.
    place.run(&["run", "--ops", "link", "--path", &volume]);
    assert_eq!(place.left(), left);
}
