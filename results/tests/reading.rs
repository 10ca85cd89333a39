//! A report can be read again, whole or not at all; a file of events wherever it ends.

mod common;

use std::path::Path;

use common::*;
use proptest::prelude::*;
use results::{Event, Report};

fn parse(bytes: &[u8]) -> Result<Report, String> {
    Report::parse(bytes, Path::new("r.json")).map_err(|e| e.to_string())
}

fn sample() -> Report {
    let report = report(&run(cases(), benches()));
    // With its digests, as it is written.
    serde_json::from_str(&report.to_json()).unwrap()
}

fn lines(events: &[Event]) -> String {
    events
        .iter()
        .map(|e| serde_json::to_string(e).unwrap() + "\n")
        .collect()
}

/// The report's JSON, changed as a person would by hand.
fn edited(change: impl Fn(&mut serde_json::Value)) -> String {
    let mut value: serde_json::Value = serde_json::from_str(&sample().to_json()).unwrap();
    change(&mut value);
    serde_json::to_string_pretty(&value).unwrap()
}

#[test]
fn a_report_and_the_events_of_the_same_run_read_alike() {
    assert_eq!(parse(sample().to_json().as_bytes()), Ok(sample()));
    assert_eq!(
        parse(lines(&run(cases(), benches())).as_bytes()).map(unsealed),
        Ok(unsealed(sample()))
    );
}

#[test]
fn a_report_on_one_line_is_a_report() {
    let compact = serde_json::to_string(&sample()).unwrap();
    assert_eq!(parse(compact.as_bytes()), Ok(sample()));
}

#[test]
fn a_report_with_a_line_a_case_is_the_same_report() {
    let compact = sample().to_compact_json();
    assert_eq!(parse(compact.as_bytes()), Ok(sample()));
    assert_eq!(
        compact
            .lines()
            .filter(|line| line.contains("\"duration_ms\""))
            .count(),
        sample().cases.len()
    );
}

#[test]
fn fields_of_a_later_probe9p_of_the_same_version_are_ignored() {
    let more = edited(|r| {
        r["colour"] = "green".into();
        r["cases"][2]["colour"] = "green".into();
        // As the later probe9p would have taken them: of all that stands there.
        r["integrity"] = serde_json::Value::Null;
    });
    assert_eq!(parse(more.as_bytes()).map(unsealed), Ok(unsealed(sample())));
}

fn unsealed(report: Report) -> Report {
    Report {
        integrity: None,
        ..report
    }
}

/// A report and a file of events as each schema version's first probe9p wrote them. They stay as they are.
#[test]
fn files_of_every_schema_version_are_read() {
    for version in 1..=results::SCHEMA_VERSION {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let report = Report::read(fixtures.join(format!("report-{version}.json"))).unwrap();
        let events = Report::read(fixtures.join(format!("events-{version}.jsonl"))).unwrap();
        let told: Vec<String> = (report.cases.iter())
            .map(|case| format!("{} {}", case.id, case.verdict))
            .collect();
        assert_eq!(
            told,
            [
                "inode.birth_time degraded",
                "link.nlink works",
                "mmap.shared_write workaround",
                "special.mkfifo fails",
                "sqlite.wal workaround",
            ],
            "version {version}"
        );
        assert_eq!(unsealed(events), unsealed(report), "version {version}");
    }
}

#[test]
fn what_is_wrong_is_said_with_the_place_and_the_remedy() {
    let cut = &sample().to_json()[..400];
    let stray_event = lines(&run(cases(), vec![]))
        .lines()
        .rev()
        .collect::<Vec<_>>()
        .join("\n");
    let two_runs = lines(&run(cases(), vec![])).repeat(2);
    let broken_line = lines(&run(cases(), vec![])).replacen("\"works\"", "\"worx\"", 1);
    let refusals = [
        ("empty", parse(b"")),
        ("no JSON", parse(b"hello")),
        ("not a report", parse(b"{}")),
        ("truncated", parse(cut.as_bytes())),
        (
            "newer",
            parse(edited(|r| r["schema_version"] = 2.into()).as_bytes()),
        ),
        (
            "newer and otherwise unknown",
            parse(b"{\"schema_version\": 7, \"results\": []}"),
        ),
        (
            "newer events",
            parse(
                lines(&run(cases(), vec![]))
                    .replacen("n\":1", "n\":9", 1)
                    .as_bytes(),
            ),
        ),
        (
            "unknown verdict",
            parse(edited(|r| r["cases"][3]["verdict"] = "good".into()).as_bytes()),
        ),
        (
            "prettier verdict",
            parse(edited(|r| r["cases"][1]["verdict"] = "works".into()).as_bytes()),
        ),
        (
            "remedy not verified",
            parse(edited(|r| r["cases"][1]["remedies"][0]["verified"] = false.into()).as_bytes()),
        ),
        (
            "a case twice",
            parse(edited(|r| r["cases"][2] = r["cases"][1].clone()).as_bytes()),
        ),
        (
            "a median moved",
            parse(edited(|r| r["bench"][0]["volume"]["median"] = 9e9.into()).as_bytes()),
        ),
        (
            "another errno",
            parse(edited(|r| r["cases"][1]["volume"]["errno"] = "EPERM".into()).as_bytes()),
        ),
        (
            "a better verdict that the observations do not give",
            parse(edited(|r| r["cases"][5]["verdict"] = "works".into()).as_bytes()),
        ),
        (
            "another kernel",
            parse(edited(|r| r["stack"]["kernel"] = "6.1".into()).as_bytes()),
        ),
        (
            "a case taken out",
            parse(edited(|r| drop(r["cases"].as_array_mut().unwrap().pop())).as_bytes()),
        ),
        (
            "a case of another run put in",
            parse(
                edited(|r| {
                    let mut other = r["cases"][0].clone();
                    other["id"] = "other.case".into();
                    r["cases"].as_array_mut().unwrap().push(other);
                })
                .as_bytes(),
            ),
        ),
        (
            "a faster workload",
            parse(edited(|r| r["bench"][1]["ratio"] = 1.0.into()).as_bytes()),
        ),
        ("events in a wrong order", parse(stray_event.as_bytes())),
        ("two runs", parse(two_runs.as_bytes())),
        ("a broken event", parse(broken_line.as_bytes())),
    ];
    let said: String = refusals
        .into_iter()
        .map(|(name, result)| format!("{name}:\n  {}\n", result.expect_err(name)))
        .collect();
    insta::assert_snapshot!(said);
}

#[test]
fn a_missing_file_is_named() {
    let error = Report::read("/nonexistent/r.json").unwrap_err().to_string();
    assert!(
        error.starts_with("/nonexistent/r.json cannot be read: "),
        "{error}"
    );
}

#[test]
fn a_binary_file_is_refused() {
    assert!(parse(&[0xff, 0xfe, 0, 1]).is_err());
}

proptest! {
    #[test]
    fn events_can_end_anywhere_and_keep_every_whole_result(cut in any::<prop::sample::Index>()) {
        let events = run(cases(), benches());
        let text = lines(&events);
        let first = text.find('\n').unwrap();
        let at = first + 1 + cut.index(text.len() - first - 1);
        let read = parse(&text.as_bytes()[..at]).unwrap();
        let whole = text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count();
        let expected = report(&events[..whole]);
        // A last line that lacks nothing but its line break counts too.
        let with_next = report(&events[..(whole + 1).min(events.len())]);
        prop_assert!(read == expected || read == with_next);
    }

    #[test]
    fn a_truncated_report_is_never_half_read(cut in any::<prop::sample::Index>()) {
        let text = sample().to_json();
        let error = parse(&text.as_bytes()[..cut.index(text.len() - 2)]).unwrap_err();
        prop_assert!(error.contains("is truncated") || error.contains("is empty"), "{error}");
    }

    #[test]
    fn no_change_of_a_byte_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = sample().to_json().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let _ = parse(&text);
    }
}
