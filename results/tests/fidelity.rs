//! The comparison of two reports: what agrees, what does not, what is counted apart, and how it is shown.

mod common;

use common::{case, error, ok, stack, started};
use results::{CaseResult, Fidelity, Observation, Outcome, Report};

fn report(client: &str, server: &str, kernel: &str, cases: Vec<CaseResult>) -> Report {
    let mut stack = stack(client, kernel);
    stack.server = server.into();
    Report {
        finished: Some("2026-11-23T06:02:00Z".into()),
        cases,
        ..Report::begin(&started(stack, &[]))
    }
}

fn skipped(why: &str) -> Observation {
    Observation {
        outcome: Outcome::NotRun,
        detail: why.into(),
        ..Observation::default()
    }
}

fn hang() -> Observation {
    Observation {
        outcome: Outcome::Timeout,
        ..Observation::default()
    }
}

/// How one case compares: `agrees`, `differs`, or why it is apart.
fn compare(reference: Option<CaseResult>, candidate: Option<CaseResult>) -> String {
    let reference = report("qemu", "qemu", "5.10", reference.into_iter().collect());
    let candidate = report("fuse", "server9p", "5.10", candidate.into_iter().collect());
    let fidelity = Fidelity::of(&reference, &[candidate]);
    let agreement = &fidelity.candidates[0];
    let parts = (agreement.compared, agreement.agreed);
    match (parts, &agreement.disagreements[..], &agreement.apart[..]) {
        ((1, 1), [], []) => {
            assert_eq!(agreement.share, Some(1.0));
            "agrees".into()
        }
        ((1, 0), [one], []) => {
            assert_eq!(agreement.share, Some(0.0));
            match (one.verdict_differs, one.errno_differs) {
                (true, true) => "both differ",
                (true, false) => "verdicts differ",
                (false, true) => "errnos differ",
                (false, false) => unreachable!("this agrees"),
            }
            .into()
        }
        ((0, 0), [], [apart]) => {
            assert_eq!(agreement.share, None);
            apart.reason.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn verdict_and_errno_decide_and_nothing_else() {
    let of = |volume: Observation| Some(case("a.b", "t", ok(1.0), volume));
    let invalid = |errno| {
        Some(case(
            "a.b",
            "t",
            error("x", "EIO", ""),
            error("x", errno, ""),
        ))
    };
    let einval = || error("mmap", "EINVAL", "one");
    let table = [
        (of(ok(1.0)), of(ok(99.0)), "agrees"),
        (of(einval()), of(einval()), "agrees"),
        // What was called and how it is worded is evidence, not the criterion.
        (of(einval()), of(error("open", "EINVAL", "two")), "agrees"),
        (
            of(einval()),
            of(error("mmap", "ENODEV", "")),
            "errnos differ",
        ),
        (of(ok(1.0)), of(hang()), "verdicts differ"),
        (of(ok(1.0)), of(einval()), "both differ"),
        (
            of(skipped("no")),
            of(ok(1.0)),
            "the reference did not run it: no",
        ),
        (
            of(ok(1.0)),
            of(skipped("no")),
            "the candidate did not run it: no",
        ),
        (
            of(skipped("a")),
            of(skipped("b")),
            "the reference did not run it: a",
        ),
        (of(ok(1.0)), None, "the candidate has no result"),
        (None, of(ok(1.0)), "the reference has no result"),
        (invalid("EIO"), invalid("EIO"), "fails natively too on both"),
        (invalid("EIO"), of(error("x", "EIO", "")), "verdicts differ"),
    ];
    for (reference, candidate, expected) in table {
        let what = format!("{reference:?} and {candidate:?}");
        assert_eq!(compare(reference, candidate), expected, "{what}");
    }
}

#[test]
fn percentages_are_rounded_down_so_that_only_full_agreement_is_100() {
    let cases = |bad: usize, all: usize| {
        (0..all)
            .map(|n| {
                let volume = if n < bad { hang() } else { ok(1.0) };
                case(&format!("a.{n}"), "t", ok(1.0), volume)
            })
            .collect()
    };
    let percent = |bad, all| {
        let reference = report("qemu", "qemu", "5.10", cases(0, all));
        let candidate = report("uml", "server9p", "5.10", cases(bad, all));
        Fidelity::of(&reference, &[candidate]).candidates[0].percent()
    };
    assert_eq!(percent(0, 3), "100.0 %");
    assert_eq!(percent(1, 3), "66.6 %");
    assert_eq!(percent(1, 5000), "99.9 %");
    assert_eq!(percent(3, 3), "0.0 %");
    assert_eq!(percent(0, 0), "–");
}

/// One reference with two candidates, hostile text included.
fn sample() -> Fidelity {
    let reference = vec![
        case("link.nlink", "a hard link adds one", ok(1.0), ok(2.0)),
        case(
            "special.mkfifo",
            "a FIFO is made",
            ok(1.0),
            error("mkfifo", "ENXIO", "mkfifo(fifo) failed"),
        ),
        case(
            "mmap.shared",
            "a shared mapping",
            ok(1.0),
            error("mmap", "EINVAL", "mmap(f) failed"),
        ),
        case("runtime.users", "users", ok(1.0), skipped("needs root")),
    ];
    let near = vec![
        reference[0].clone(),
        reference[1].clone(),
        case(
            "mmap.shared",
            "a shared mapping",
            ok(1.0),
            error("mmap", "ENODEV", "bad \x1b[31m text"),
        ),
        reference[3].clone(),
    ];
    let mut far = report(
        "uml",
        "server9p",
        "6.1.176",
        vec![
            case("link.nlink", "a hard link adds one", ok(1.0), hang()),
            case("other.case", "only here", ok(1.0), ok(1.0)),
        ],
    );
    far.finished = None;
    let reference = report("qemu", "qemu", "5.10.0-33-amd64", reference);
    let near = report("fuse", "server9p", "5.10", near);
    Fidelity::of(&reference, &[near, far])
}

#[test]
fn table() {
    insta::assert_snapshot!(sample().table(100));
}

#[test]
fn no_line_is_wider_than_the_terminal_can_show() {
    let table = sample().table(40);
    // Names of stacks and verdicts stand in a column that is not broken.
    let wide = |line: &&str| line.chars().count() > 60;
    assert_eq!(table.lines().find(wide), None);
}

#[test]
fn json() {
    let sample = sample();
    insta::assert_snapshot!(sample.to_json());
    let again: Fidelity = serde_json::from_str(&sample.to_json()).unwrap();
    assert_eq!(again, sample);
}
