//! `probe9p bench` and `probe9p report`, through the built program.

mod common;

use std::fs;

use common::{Place, Running, entries, fuse};
use results::Report;
use rustix::process::Signal;

/// What there is to measure, as the program lists it.
fn workloads(place: &Place) -> Vec<String> {
    let listed = place.run(&["list", "workloads", "--format", "json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).unwrap();
    let name = |one: &serde_json::Value| one["name"].as_str().unwrap().to_owned();
    listed.iter().map(name).collect()
}

/// A short bench of a plain directory; its report.
fn bench(place: &Place, more: &[&str]) -> common::Ran {
    let args = ["bench", "--seconds", "0.1", "--file-size", "1"];
    place.run(&[&args, more].concat())
}

#[test]
fn a_bench_of_a_directory_measures_every_workload_and_leaves_nothing() {
    let place = Place::new();
    let dir = place.path().join("volume");
    fs::create_dir(&dir).unwrap();
    let ran = bench(
        &place,
        &["--path", dir.to_str().unwrap(), "--format", "json"],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = Report::parse(ran.stdout.as_bytes(), "stdout".as_ref()).unwrap();
    let measured: Vec<_> = report.bench.iter().map(|b| b.workload.as_str()).collect();
    assert_eq!(measured, workloads(&place));
    assert!(measured.len() >= 10, "{measured:?}");
    for result in &report.bench {
        assert!(
            result.native.rates.len() >= 10 && result.volume.rates.len() >= 10,
            "{result:?}"
        );
        assert!(
            result.ratio > 0.0 && result.native.median > 0.0,
            "{result:?}"
        );
    }
    assert!(report.finished.is_some());
    assert_eq!(place.left(), [""; 0]);
    assert_eq!(entries(&dir), [""; 0]);
}

#[test]
fn a_bench_of_a_fuse_volume_measures_it() {
    if !fuse("a_bench_of_a_fuse_volume_measures_it") {
        return;
    }
    let place = Place::new();
    let ran = bench(&place, &["--client", "fuse", "--format", "json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = Report::parse(ran.stdout.as_bytes(), "stdout".as_ref()).unwrap();
    assert_eq!(report.stack.client, "fuse");
    for result in &report.bench {
        assert!(result.volume.median > 0.0, "{result:?}");
    }
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn a_bench_is_held_against_an_earlier_one() {
    let place = Place::new();
    let dir = place.path().join("volume");
    let file = place.path().join("earlier.json");
    fs::create_dir(&dir).unwrap();
    let [dir, file] = [&dir, &file].map(|path| path.to_str().unwrap().to_owned());
    let only = ["--path", &dir, "--workload", "rand_read_4k,stat"];
    let ran = bench(&place, &[&only[..], &["--out", &file]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = bench(
        &place,
        &[
            &only[..2],
            &["--workload", "stat,rename", "--compare", &file],
        ]
        .concat(),
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let line = ran
        .stderr
        .lines()
        .find(|line| line.starts_with("probe9p: stat: "))
        .expect("a line on stat");
    assert!(
        ["regression", "improvement", "inconclusive"]
            .iter()
            .any(|word| line.contains(word)),
        "{line}"
    );
    assert!(
        ran.stderr.contains("probe9p: rename: not in the baseline"),
        "{ran:?}"
    );
    let ran = bench(
        &place,
        &[&only[..], &["--compare", "there-is-none.json"]].concat(),
    );
    ran.says(2, "there-is-none.json");
}

#[test]
fn an_unknown_workload_is_refused_with_the_known_ones() {
    let ran = Place::new().run(&["bench", "--workload", "seq_raed"]);
    ran.says(
        2,
        "there is no workload \"seq_raed\"; take one of seq_read_1m,",
    );
}

#[test]
fn a_bench_s_result_becomes_pages() {
    let place = Place::new();
    let dir = place.path().join("volume");
    let out = place.path().join("r.json");
    fs::create_dir(&dir).unwrap();
    let ran = bench(
        &place,
        &[
            "--path",
            dir.to_str().unwrap(),
            "--workload",
            "small_files",
            "--out",
            out.to_str().unwrap(),
        ],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("small_files"), "{ran:?}");

    let site = place.path().join("a/site");
    let ran = place.run(&[
        "report",
        out.to_str().unwrap(),
        "--out",
        site.to_str().unwrap(),
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let there = entries(&site);
    for name in [
        "index.html",
        "throughput.html",
        "stacks.html",
        "style.css",
        "site.js",
        "run",
    ] {
        assert!(
            there.iter().any(|entry| entry == name),
            "{name} is not in {there:?}"
        );
    }
    let html = fs::read_to_string(site.join("throughput.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("path/unknown/unknown"));
    let ran = place.run(&["report", out.to_str().unwrap(), "--format", "markdown"]);
    assert!(ran.stdout.contains("small_files"), "{ran:?}");
    assert!(
        fs::read_to_string(site.join("report.md"))
            .unwrap()
            .contains("small_files")
    );
}

#[test]
fn a_result_that_cannot_be_read_leaves_the_pages_as_they_were() {
    let place = Place::new();
    let bad = place.path().join("bad.json");
    let site = place.path().join("site");
    fs::create_dir(&site).unwrap();
    fs::write(site.join("index.html"), "as it was").unwrap();
    for (text, sentence) in [
        ("", "bad.json is empty."),
        ("{\"schema_version\": 1,", "bad.json is truncated"),
        ("{\"schema_version\": 99}", "bad.json has schema version 99"),
        ("[]", "bad.json is not a report of probe9p"),
    ] {
        fs::write(&bad, text).unwrap();
        let ran = place.run(&[
            "report",
            bad.to_str().unwrap(),
            "--out",
            site.to_str().unwrap(),
        ]);
        ran.says(2, sentence);
    }
    let ran = place.run(&[
        "report",
        "/nonexistent.json",
        "--out",
        site.to_str().unwrap(),
    ]);
    ran.says(2, "/nonexistent.json cannot be read");
    assert_eq!(entries(&site), ["index.html"]);
    assert_eq!(
        fs::read_to_string(site.join("index.html")).unwrap(),
        "as it was"
    );
}

#[test]
fn a_place_for_pages_that_is_a_file_is_named() {
    let place = Place::new();
    let report = place.path().join("r.jsonl");
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let dir = place.path().join("volume");
    fs::create_dir(&dir).unwrap();
    let ran = bench(
        &place,
        &[
            "--path",
            dir.to_str().unwrap(),
            "--workload",
            "small_files",
            "--format",
            "jsonl",
        ],
    );
    fs::write(&report, &ran.stdout).unwrap();
    let ran = place.run(&[
        "report",
        report.to_str().unwrap(),
        "--out",
        file.to_str().unwrap(),
    ]);
    ran.says(3, "file cannot be written");
}

#[test]
fn an_interrupted_bench_keeps_what_it_measured() {
    let place = Place::new();
    let dir = place.path().join("volume");
    fs::create_dir(&dir).unwrap();
    let args = [
        "bench",
        "--seconds",
        "0.1",
        "--file-size",
        "1",
        "--format",
        "jsonl",
        "--path",
        dir.to_str().unwrap(),
    ];
    let mut running = Running::start(place.command(&args));
    let first = running.until("bench_finished");
    running.signal(Signal::INT);
    let ran = running.end();
    assert_eq!(first["workload"], "seq_read_1m");
    // The signal may come when all is done already.
    let last = ran.stdout.lines().last().unwrap();
    match ran.code {
        Some(130) => assert!(
            last.contains("\"event\":\"run_interrupted\"") && last.contains("SIGINT"),
            "{last}"
        ),
        Some(0) => assert!(last.contains("\"event\":\"run_finished\""), "{last}"),
        _ => panic!("{ran:?}"),
    }
    assert_eq!(place.left(), [""; 0]);
    assert_eq!(entries(&dir), [""; 0]);
}
