//! The other forms of several runs: terminal, Markdown, data, CSV, JUnit, TAP, badges.

mod common;

use common::*;
use results::{Form, Matrix, MatrixFile, badges};

#[test]
fn matrix_in_a_terminal() {
    insta::assert_snapshot!(Form::Table.write(&reports(), 80));
}

#[test]
fn matrix_as_data() {
    let text = Form::Matrix.write(&reports(), 80);
    insta::assert_snapshot!(text);
    let read: MatrixFile = serde_json::from_str(&text).unwrap();
    assert_eq!(read, MatrixFile::of(&Matrix::of(&reports())));
}

#[test]
fn comma_separated() {
    insta::assert_snapshot!(Form::Csv.write(&reports()[..2], 80));
}

#[test]
fn junit_of_several_runs() {
    let text = Form::Junit.write(&reports(), 80);
    assert_eq!(text.matches("<testsuite ").count(), reports().len());
    assert_eq!(text.matches("<testsuites ").count(), 1);
    let one = Form::Junit.write(&reports()[..1], 80);
    insta::assert_snapshot!(one.lines().take(8).collect::<Vec<_>>().join("\n"));
}

#[test]
fn tap_of_several_runs_has_a_subtest_a_run() {
    let text = Form::Tap.write(&reports()[..2], 80);
    assert_eq!(text.matches("TAP version 14").count(), 1);
    let outline: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    insta::assert_snapshot!(outline.join("\n"));
    assert_eq!(
        Form::Tap.write(&reports()[..1], 80).lines().next(),
        Some("TAP version 14")
    );
}

#[test]
fn every_form_is_the_same_whatever_the_order_of_the_reports() {
    let mut reversed = reports();
    reversed.reverse();
    for form in [Form::Table, Form::Matrix, Form::Csv] {
        assert_eq!(
            form.write(&reports(), 80),
            form.write(&reversed, 80),
            "{form}"
        );
    }
}

#[test]
fn badges_say_what_helps() {
    let reports = reports();
    let all = badges(&Matrix::of(&reports));
    let said: Vec<_> = all
        .iter()
        .map(|b| (b.file.as_str(), b.label.as_str(), b.message.as_str()))
        .collect();
    assert_eq!(
        said,
        [(
            "sqlite-golem.svg",
            "sqlite on Golem volumes",
            "works with DELETE"
        )]
    );
    insta::assert_snapshot!(all[0].svg());
}

#[test]
fn a_badge_of_what_does_not_work_says_how_much_does() {
    let fails = |id: &str| case(id, "", ok(1.0), error("open", "EIO", ""));
    let works = |id: &str| case(id, "", ok(1.0), ok(1.0));
    let message = |cases: Vec<results::CaseResult>| {
        let reports = [report(&run(cases, vec![]))];
        badges(&Matrix::of(&reports))[0].message.clone()
    };
    assert_eq!(
        message(vec![works("sqlite.a"), fails("sqlite.b")]),
        "1 of 2 cases work"
    );
    assert_eq!(message(vec![fails("sqlite.b")]), "fails");
    assert_eq!(message(vec![works("sqlite.a")]), "works");
}

#[test]
fn what_helps_a_tool_is_its_own_remedy_first() {
    let mut needs = case("sqlite.a", "", ok(1.0), error("mmap", "EINVAL", ""));
    needs.verdict = results::Verdict::Workaround;
    needs.remedies = vec![
        remedy("ram", "keep these files on a ram volume", true, ""),
        remedy(
            "delete",
            "PRAGMA journal_mode=DELETE instead of WAL",
            true,
            "",
        ),
    ];
    let reports = [report(&run(vec![needs], vec![]))];
    let says = &badges(&Matrix::of(&reports))[0].message;
    assert_eq!(says, "works with DELETE");
    let site = results::site::site(&reports, &results::Background::default());
    for page in ["index.html", "tool/sqlite.html"] {
        let text = &site.pages[page];
        assert!(
            text.contains("works with: PRAGMA journal_mode=DELETE"),
            "{page}: {text}"
        );
    }
}

#[test]
fn hostile_names_stay_text_in_every_form() {
    let reports = hostile(reports());
    let columns = |line: &str| {
        let mut quoted = false;
        1 + line
            .chars()
            .filter(|c| {
                quoted ^= *c == '"';
                *c == ',' && !quoted
            })
            .count()
    };
    let csv = Form::Csv.write(&reports, 80);
    assert!(csv.lines().all(|line| columns(line) == 19), "{csv}");
    for badge in badges(&Matrix::of(&reports)) {
        assert!(!badge.svg().contains("<script"), "{badge:?}");
    }
    let data: MatrixFile = serde_json::from_str(&Form::Matrix.write(&reports, 80)).unwrap();
    assert_eq!(data.stacks.len(), 3);
}

#[test]
fn a_badge_is_not_of_a_run_of_a_few_cases() {
    let whole = report(&run(cases(), vec![]));
    let mut part = report(&run(cases()[..1].to_vec(), vec![]));
    part.stack = stack("uml", "5.10");
    let reports = [part, whole];
    let all = badges(&Matrix::of(&reports));
    assert_eq!(all[0].message, "works with DELETE");
}
