//! Every format of a run, as snapshots, and what must hold for each whatever the snapshot says.

mod common;

use common::*;
use results::{Event, Format, Look, Observation};

fn written(format: Format, look: Look, events: &[Event]) -> String {
    let mut out = Vec::new();
    let mut reporter = format.reporter(&mut out, look);
    for event in events {
        reporter.event(event).expect("a Vec takes everything");
    }
    drop(reporter);
    String::from_utf8(out).expect("every format is UTF-8")
}

fn plain(format: Format, events: &[Event]) -> String {
    written(format, Look::default(), events)
}

#[test]
fn the_sample_has_every_verdict() {
    assert!(has_every_verdict(&cases()));
}

#[test]
fn table() {
    insta::assert_snapshot!(plain(Format::Table, &run(cases(), vec![])));
}

#[test]
fn what_a_case_that_works_could_not_judge_stands_under_it() {
    let volume = Observation {
        detail: "its speed was not judged: it is emulated".into(),
        ..ok(2.0)
    };
    let table = plain(
        Format::Table,
        &run(
            vec![case("cp.tree", "copies a tree", ok(1.0), volume)],
            vec![],
        ),
    );
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    let case = lines.iter().position(|line| line.contains("cp.tree"));
    let under = lines[case.expect("the case has its line") + 1];
    assert_eq!(under, "its speed was not judged: it is emulated");
}

#[test]
fn table_in_a_narrow_terminal() {
    let narrow = Look {
        colour: false,
        width: 60,
        ..Look::default()
    };
    let table = written(Format::Table, narrow, &run(cases(), vec![]));
    insta::assert_snapshot!(table);
}

#[test]
fn table_of_a_bench() {
    insta::assert_snapshot!(plain(Format::Table, &run(vec![], benches())));
}

#[test]
fn table_of_an_interrupted_run() {
    insta::assert_snapshot!(plain(Format::Table, &interrupted(run(cases(), vec![]), 5)));
}

#[test]
fn colours_only_when_told_and_never_from_a_result() {
    let events = run(cases(), benches());
    let plain = plain(Format::Table, &events);
    assert!(
        !plain.contains('\x1b'),
        "an uncoloured table holds an escape"
    );
    let coloured = written(
        Format::Table,
        Look {
            colour: true,
            ..Look::default()
        },
        &events,
    );
    let mut bare = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        bare += before;
        let (code, after) = after.split_once('m').expect("a colour ends in m");
        assert!(
            ["0", "1", "2", "31", "32", "33"].contains(&code),
            "escape {code:?} came through"
        );
        rest = after;
    }
    bare += rest;
    assert_eq!(bare, plain, "colour changes nothing else");
}

#[test]
fn json() {
    insta::assert_snapshot!(plain(Format::Json, &run(cases(), benches())));
}

#[test]
fn json_lines() {
    let lines = plain(Format::JsonLines, &run(cases(), benches()));
    insta::assert_snapshot!(lines);
    for line in lines.lines() {
        serde_json::from_str::<Event>(line).expect("every line is an event");
    }
}

#[test]
fn junit() {
    insta::assert_snapshot!(plain(Format::Junit, &run(cases(), benches())));
}

#[test]
fn junit_can_be_parsed_and_counts_what_it_holds() {
    let xml = plain(Format::Junit, &interrupted(run(cases(), vec![]), 12));
    let mut reader = quick_xml::Reader::from_str(&xml);
    let (mut cases, mut marks) = (0, 0);
    loop {
        match reader.read_event().expect("well-formed XML") {
            quick_xml::events::Event::Eof => break,
            quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag) => {
                match tag.name().as_ref() {
                    "testcase" => cases += 1,
                    "failure" | "error" | "skipped" => marks += 1,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    assert_eq!((cases, marks), (5, 3));
    assert!(
        xml.contains("The run was interrupted: SIGINT was received."),
        "{xml}"
    );
}

#[test]
fn tap() {
    insta::assert_snapshot!(plain(Format::Tap, &run(cases(), benches())));
}

#[test]
fn tap_of_an_interrupted_run_bails_out() {
    let tap = plain(Format::Tap, &interrupted(run(cases(), vec![]), 3));
    assert!(tap.ends_with("Bail out! SIGINT was received.\n"), "{tap}");
}

#[test]
fn a_directive_in_a_name_is_not_obeyed() {
    let hostile = case(
        "x # SKIP it\nok 2",
        "",
        ok(1.0),
        error("open", "EIO", "... # TODO"),
    );
    let tap = plain(Format::Tap, &run(vec![hostile], vec![]));
    let points: Vec<_> = tap
        .lines()
        .filter(|l| l.starts_with("ok") || l.starts_with("not ok"))
        .collect();
    assert_eq!(points, ["not ok 1 - x \\# SKIP it ok 2"]);
}

#[test]
fn events_out_of_order_are_refused() {
    let events = run(cases(), vec![]);
    for format in [Format::Table, Format::Json, Format::Junit] {
        let mut out = Vec::new();
        let mut reporter = format.reporter(&mut out, Look::default());
        let error = reporter.event(&events[1]).unwrap_err().to_string();
        assert!(error.contains("before run_started"), "{error}");
    }
}
