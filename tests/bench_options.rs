//! What `probe9p bench` measures beside its own workloads on one volume: several stacks, a swept option, fio's jobs, and
//! the picture of them. Little is measured here; what is looked at is counts, names and shapes.

mod common;

use std::fs;

use common::{Place, Ran, entries, fuse, has, skipped};
use quick_xml::{Reader, events::Event};
use results::{BenchResult, Report};

const MIB: f64 = (1 << 20) as f64;

/// A bench that is over soon.
fn bench(place: &Place, more: &[&str]) -> Ran {
    let args = ["bench", "--seconds", "0.1", "--file-size", "1"];
    place.run(&[&args, more].concat())
}

/// The reports that standard output has, in a list.
fn reports(ran: &Ran) -> Vec<Report> {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The only result of a report; what every result has.
fn only(report: &Report) -> &BenchResult {
    let [result] = &report.bench[..] else {
        panic!("{} results", report.bench.len());
    };
    assert!(result.volume.rates.len() >= 10, "{result:?}");
    assert!(result.ratio > 0.0 && result.volume.low <= result.volume.high);
    assert!(report.finished.is_some());
    result
}

/// The labels and texts of a picture that is whole.
fn texts(svg: &str) -> Vec<String> {
    let mut reader = Reader::from_str(svg);
    let mut found = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => return found,
            Event::Start(tag) => {
                let label = tag
                    .attributes()
                    .flatten()
                    .find(|one| one.key.as_ref() == "aria-label");
                found.extend(label.map(|one| one.value.into_owned()));
            }
            Event::Text(text) => found.push(text.trim().to_owned()),
            _ => {}
        }
    }
}

#[test]
fn a_sweep_shows_what_larger_messages_buy_and_draws_it() {
    if !fuse("a_sweep_shows_what_larger_messages_buy_and_draws_it") {
        return;
    }
    let place = Place::new();
    let svg = place.path().join("sweep.svg");
    let args = [
        "--client",
        "fuse",
        "--workload",
        "seq_write_1m",
        "--format",
        "json",
    ];
    let sweep = ["--sweep", "msize=16k..64k", "--plot", svg.to_str().unwrap()];
    let ran = bench(&place, &[&args[..], &sweep].concat());
    let reports = reports(&ran);
    let sizes = [16384, 32768, 65536];
    assert_eq!(reports.len(), sizes.len());
    for (report, msize) in reports.iter().zip(sizes) {
        let options = &report.stack.mount_options;
        assert!(options.contains(&format!("msize={msize},")), "{options}");
        let result = only(report);
        let wire = result.wire.expect("our server counts");
        // Whole pages of 4 KiB in a message beside its header, and few messages that carry no data.
        let needed = MIB / f64::from((msize - 24) / 4096 * 4096);
        let turns = result.volume.rates.len() as f64;
        assert!(
            wire.messages as f64 >= turns * needed,
            "{msize}: {needed} Twrites, {wire:?}"
        );
        assert!(
            wire.bytes_to_server as f64 >= turns * MIB,
            "{msize}: {wire:?}"
        );
        // Where a turn is one operation, what opening and closing take counts as its own.
        assert!(
            wire.messages_per_operation <= 1.1 * needed + 30.0,
            "{msize}: {needed} Twrites, {wire:?}"
        );
    }
    let drawn = texts(&fs::read_to_string(&svg).unwrap());
    for part in ["native", "msize=16384", "msize=32768", "msize=65536"] {
        assert!(
            drawn.iter().any(|text| text.contains(part)),
            "{part} is not in {drawn:?}"
        );
    }
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn several_stacks_stand_in_one_table_and_have_a_report_each() {
    if !fuse("several_stacks_stand_in_one_table_and_have_a_report_each") {
        return;
    }
    let place = Place::new();
    let out = place.path().join("out");
    fs::create_dir(&out).unwrap();
    let out_file = out.join("bench.json");
    let stacks = ["fuse/server9p/golem", "fuse/server9p/posix"];
    let ran = bench(
        &place,
        &[
            "--stack",
            &stacks.join(","),
            "--workload",
            "stat",
            "--out",
            out_file.to_str().unwrap(),
        ],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let rows = ["native", stacks[0], stacks[1]];
    for row in rows {
        let line = ran.stdout.lines().find(|line| line.trim().starts_with(row));
        assert!(
            line.is_some_and(|line| line.contains('[')),
            "{row}: {}",
            ran.stdout
        );
    }
    assert!(ran.stdout.contains("messages/op"), "{}", ran.stdout);
    assert_eq!(
        entries(&out),
        [
            "bench-fuse-server9p-golem.json",
            "bench-fuse-server9p-posix.json"
        ]
    );
    let mut natives = Vec::new();
    for (file, stack) in entries(&out).iter().zip(stacks) {
        let path = out.join(file);
        let report = Report::parse(&fs::read(&path).unwrap(), &path).unwrap();
        assert_eq!(report.stack.name(), stack);
        let result = only(&report);
        // At least Twalk and Tgetattr in each turn.
        let wire = result.wire.expect("our server counts");
        let turns = result.volume.rates.len() as u64;
        assert!(wire.messages >= 2 * turns, "{wire:?}");
        assert!(wire.bytes_from_server > wire.bytes_to_server, "{wire:?}");
        natives.push(result.native.rates.clone());
    }
    assert_eq!(natives[0], natives[1], "one native side, measured once");
}

#[test]
fn fio_s_jobs_are_measured_with_what_they_put_on_the_wire() {
    const TEST: &str = "fio_s_jobs_are_measured_with_what_they_put_on_the_wire";
    if !fuse(TEST) {
        return;
    }
    if !has("fio") {
        return skipped(TEST, "fio is not installed");
    }
    let place = Place::new();
    let jobs = place.path().join("jobs.fio");
    // The job's own runtime, so that every turn is as many operations as the file has blocks.
    let text = "[global]\nsize=256k\nruntime=60\n[writes]\nrw=write\nbs=16k\n";
    fs::write(&jobs, text).unwrap();
    let args = ["--client", "fuse", "--format", "json", "--fio"];
    let ran = bench(&place, &[&args[..], &[jobs.to_str().unwrap()]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = Report::parse(ran.stdout.as_bytes(), "stdout".as_ref()).unwrap();
    let result = only(&report);
    assert_eq!(
        (result.workload.as_str(), result.unit.as_str()),
        ("fio:writes", "ops/s")
    );
    let wire = result.wire.expect("our server counts");
    // 16 Twrites a turn, and what opening, stating and closing the file take.
    let turns = result.volume.rates.len() as u64;
    assert!(wire.messages >= 16 * turns, "{turns} turns: {wire:?}");
    assert!(
        (1.0..6.0).contains(&wire.messages_per_operation),
        "{wire:?}"
    );
    let block = 16.0 * 1024.0;
    assert!(
        (block..1.2 * block).contains(&wire.bytes_per_operation),
        "{wire:?}"
    );
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn a_fio_file_without_jobs_or_with_places_of_its_own_is_refused() {
    let place = Place::new();
    let jobs = place.path().join("jobs.fio");
    for (text, said) in [
        ("[global]\nbs=4k\n", "has no job"),
        (
            "[a]\nrw=read\ndirectory=/tmp\n",
            "say where their files are",
        ),
    ] {
        fs::write(&jobs, text).unwrap();
        place
            .run(&["bench", "--fio", jobs.to_str().unwrap()])
            .says(2, said);
    }
}
