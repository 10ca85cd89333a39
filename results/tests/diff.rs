//! What changed between two runs, for people and for programs.

mod common;

use common::*;
use results::{Diff, DiffFormat, Report, diff::Kind, diff::compare};

/// A later run: one case worse, one better, one otherwise, one new, one gone; two workloads moved.
fn runs() -> (Report, Report) {
    let before = report(&run(cases(), benches()));
    let mut after = before.clone();
    after.run_id = "20261124T070000Z-11aa".into();
    after.started = "2026-11-24T07:00:00Z".into();
    after.cases.retain(|case| case.id != "perm.chown");
    for case in &mut after.cases {
        let again = |native, volume| common::case(&case.id, &case.title, native, volume);
        *case = match case.id.as_str() {
            "sqlite.rollback" => again(ok(1.0), error("mmap", "EINVAL", "disk I/O error")),
            "special.mkfifo" => again(ok(1.0), ok(2.0)),
            "mmap.after_truncate" => again(ok(1.0), signal()),
            "inode.tmpfile" => again(ok(1.0), error("open", "EOPNOTSUPP", "")),
            _ => case.clone(),
        };
    }
    after
        .cases
        .push(case("new.case", "A case that is new", ok(1.0), ok(1.0)));
    after.bench[0] = bench(
        "seq_read_1m",
        "Sequential reads of 1 MiB",
        "MiB/s",
        6210.0,
        700.0,
    );
    after.bench[1] = bench(
        "seq_write_1m",
        "Sequential writes of 1 MiB",
        "MiB/s",
        2100.0,
        880.0,
    );
    (before, after)
}

fn signal() -> results::Observation {
    results::Observation {
        outcome: results::Outcome::Signal,
        signal: Some("SIGBUS".into()),
        ..ok(1.0)
    }
}

fn written(format: DiffFormat) -> String {
    let (before, after) = runs();
    format.write(&Diff::of(&before, &after), 100)
}

#[test]
fn table() {
    insta::assert_snapshot!(written(DiffFormat::Table));
}

#[test]
fn markdown() {
    insta::assert_snapshot!(written(DiffFormat::Markdown));
}

#[test]
fn json() {
    insta::assert_snapshot!(written(DiffFormat::Json));
}

#[test]
fn a_run_is_no_different_from_itself_whatever_the_times() {
    let (before, _) = runs();
    let mut again = before.clone();
    for case in &mut again.cases {
        case.volume.duration_ms *= 7.0;
        case.note += " of etilqs_1234";
    }
    let diff = Diff::of(&before, &again);
    assert!(diff.is_empty(), "{diff:?}");
    assert_eq!(diff.unchanged, before.cases.len());
}

#[test]
fn a_case_that_was_not_run_is_neither_better_nor_worse() {
    let works = case("a.b", "", ok(1.0), ok(1.0));
    let fails = case("a.b", "", ok(1.0), error("open", "EIO", ""));
    let other = case("a.b", "", ok(1.0), error("open", "EPERM", ""));
    let skipped = case("a.b", "", Default::default(), Default::default());
    assert_eq!(compare(&works, &fails), Kind::Regression);
    assert_eq!(compare(&fails, &works), Kind::Improvement);
    assert_eq!(compare(&fails, &other), Kind::Other);
    assert_eq!(compare(&skipped, &fails), Kind::Other);
    assert_eq!(compare(&fails, &skipped), Kind::Other);
    assert_eq!(compare(&fails, &fails), Kind::Unchanged);
}
