use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn seen(outcome: Outcome) -> Observation {
    Observation {
        outcome,
        ..Observation::default()
    }
}

fn ok(facts: &[(&str, &str)]) -> Observation {
    let facts = facts
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    Observation {
        facts,
        ..seen(Outcome::Ok)
    }
}

fn error(call: &str, errno: &str) -> Observation {
    Observation {
        call: Some(call.into()),
        errno: Some(errno.into()),
        ..seen(Outcome::Error)
    }
}

fn not_run(why: &str) -> Observation {
    Observation {
        detail: why.into(),
        ..seen(Outcome::NotRun)
    }
}

fn signal(name: &str) -> Observation {
    Observation {
        signal: Some(name.into()),
        ..seen(Outcome::Signal)
    }
}

/// Name, native repeats, volume repeats, and what must be said of them.
type Row = (
    &'static str,
    Vec<Observation>,
    Vec<Observation>,
    Verdict,
    &'static str,
);

#[test]
fn each_rule_gives_its_verdict_and_says_why() {
    let exit = |code| Observation {
        exit_code: Some(code),
        ..seen(Outcome::Ok)
    };
    #[rustfmt::skip]
    let table: &[Row] = &[
        ("equal", vec![ok(&[("size", "1")])], vec![ok(&[("size", "1")])], Verdict::Works, ""),
        ("native error", vec![error("open", "EACCES")], vec![ok(&[])], Verdict::Invalid, "fails natively too: open: EACCES"),
        ("native error, volume not run", vec![error("open", "EACCES")], vec![not_run("no runtime")], Verdict::Skipped, "no runtime"),
        ("native timeout", vec![seen(Outcome::Timeout)], vec![seen(Outcome::Timeout)], Verdict::Invalid, "fails natively too: did not end within its limit"),
        ("native signal", vec![signal("SIGBUS")], vec![ok(&[])], Verdict::Invalid, "fails natively too: was ended by SIGBUS"),
        ("native not run", vec![not_run("there is no sqlite3")], vec![error("open", "EIO")], Verdict::Skipped, "there is no sqlite3"),
        ("volume not run", vec![ok(&[])], vec![not_run("the guest has no bash")], Verdict::Skipped, "the guest has no bash"),
        ("nothing at all", vec![], vec![], Verdict::Skipped, "it was not run natively"),
        ("volume missing", vec![ok(&[])], vec![], Verdict::Skipped, "it was not run on the volume"),
        ("volume error", vec![ok(&[])], vec![error("mmap", "EINVAL")], Verdict::Fails, "mmap: EINVAL"),
        ("volume timeout", vec![ok(&[])], vec![seen(Outcome::Timeout)], Verdict::Hangs, "did not end within its limit"),
        ("volume signal", vec![ok(&[])], vec![signal("SIGBUS")], Verdict::Crashes, "was ended by SIGBUS"),
        ("fact differs", vec![ok(&[("nlink", "2")])], vec![ok(&[("nlink", "1")])], Verdict::Fails, "nlink is 1 on the volume, 2 natively"),
        ("fact missing", vec![ok(&[("nlink", "2")])], vec![ok(&[])], Verdict::Fails, "nlink is absent on the volume, 2 natively"),
        ("fact too many", vec![ok(&[])], vec![ok(&[("left", "a~")])], Verdict::Fails, "left is a~ on the volume, absent natively"),
        ("guarantee differs", vec![ok(&[("guarantee.lock", "held")])], vec![ok(&[("guarantee.lock", "ignored")])], Verdict::Degraded, "guarantee.lock is ignored on the volume, held natively"),
        ("guarantee and fact", vec![ok(&[("guarantee.a", "1"), ("z", "1")])], vec![ok(&[("guarantee.a", "2"), ("z", "")])], Verdict::Fails, "z is empty on the volume, 1 natively"),
        ("exit codes", vec![exit(0)], vec![exit(1)], Verdict::Fails, "exit code is 1 on the volume, 0 natively"),
        ("volume repeats end differently", vec![ok(&[])], vec![ok(&[]), error("open", "EIO")], Verdict::Unstable, "repeats on the volume disagree: 1 of 2 ended well, 1 of 2 open: EIO"),
        ("volume repeats see different facts", vec![ok(&[("n", "1")])], vec![ok(&[("n", "1")]), ok(&[("n", "2")])], Verdict::Unstable, "repeats on the volume disagree: n is 2 in one, 1 in another"),
        ("speed that one of two repeats kept", vec![ok(&[(SPEED, "kept")])], vec![ok(&[(SPEED, "lost")]), ok(&[(SPEED, "kept")])], Verdict::Works, ""),
        ("speed that every repeat lost", vec![ok(&[(SPEED, "kept")])], vec![ok(&[(SPEED, "lost")]), ok(&[(SPEED, "lost")])], Verdict::Degraded, "guarantee.speed is lost on the volume, kept natively"),
        ("speed that could not be judged on the volume", vec![ok(&[(SPEED, "kept")])], vec![ok(&[])], Verdict::Works, ""),
        ("native repeats disagree", vec![ok(&[]), error("open", "EIO")], vec![ok(&[])], Verdict::Unstable, "native repeats disagree: 1 of 2 ended well, 1 of 2 open: EIO"),
        ("failures with different errnos", vec![ok(&[])], vec![error("mmap", "EINVAL"), error("mmap", "ENODEV")], Verdict::Fails, "mmap: EINVAL"),
        ("a repeat that was not run", vec![ok(&[]), not_run("interrupted")], vec![error("mmap", "EINVAL"), not_run("interrupted")], Verdict::Fails, "mmap: EINVAL"),
    ];
    for (name, native, volume, verdict, note) in table {
        assert_eq!(
            judge(native, volume),
            (*verdict, note.to_string()),
            "{name}"
        );
    }
}

#[test]
fn the_note_of_an_error_names_call_errno_and_detail() {
    let failed = Observation {
        detail: "db-shm\nmore".into(),
        ..error("mmap", "EINVAL")
    };
    assert_eq!(describe(&failed), "mmap: EINVAL (db-shm)");
    let told = Observation {
        detail: "mmap(db-shm) failed: EINVAL".into(),
        ..error("mmap", "EINVAL")
    };
    assert_eq!(describe(&told), "mmap(db-shm) failed: EINVAL");
    let program = Observation {
        exit_code: Some(2),
        detail: "disk I/O error".into(),
        ..seen(Outcome::Error)
    };
    assert_eq!(describe(&program), "exit code 2 (disk I/O error)");
    let told = Observation {
        detail: "exit code 2: disk I/O error".into(),
        ..program
    };
    assert_eq!(describe(&told), "exit code 2: disk I/O error");
    assert_eq!(describe(&seen(Outcome::Error)), "failed without saying why");
}

#[test]
fn a_long_value_is_shortened_around_the_difference() {
    let long = "x".repeat(500);
    let (verdict, note) = judge(
        &[ok(&[("tree", &format!("{long}A"))])],
        &[ok(&[("tree", &format!("{long}B"))])],
    );
    assert_eq!(verdict, Verdict::Fails);
    assert!(
        note.contains("xxB on the volume") && note.contains("xxA natively"),
        "{note}"
    );
    assert!(note.chars().count() < 250, "{note}");
}

#[test]
fn only_a_verified_remedy_makes_a_workaround() {
    let remedy = |verified| Remedy {
        id: "r".into(),
        title: "R".into(),
        verified,
        detail: String::new(),
    };
    for bad in [Verdict::Fails, Verdict::Hangs, Verdict::Crashes] {
        assert_eq!(
            with_remedies(bad, &[remedy(false), remedy(true)]),
            Verdict::Workaround
        );
        assert_eq!(with_remedies(bad, &[remedy(false)]), bad);
        assert_eq!(with_remedies(bad, &[]), bad);
    }
    for other in [
        Verdict::Works,
        Verdict::Degraded,
        Verdict::Unstable,
        Verdict::Skipped,
        Verdict::Invalid,
    ] {
        assert_eq!(with_remedies(other, &[remedy(true)]), other);
    }
}

#[test]
fn the_threshold_counts_what_is_worse_and_never_what_was_not_tried() {
    let crossed = |on: &str| -> Vec<&str> {
        let on: FailOn = on.parse().unwrap();
        Verdict::ALL
            .into_iter()
            .filter(|v| on.is_crossed_by(*v))
            .map(Verdict::name)
            .collect()
    };
    assert_eq!(crossed("never"), [""; 0]);
    assert_eq!(crossed("fails"), ["fails", "hangs", "crashes"]);
    assert_eq!(
        crossed("unstable"),
        ["unstable", "fails", "hangs", "crashes"]
    );
    assert_eq!(
        crossed("degraded"),
        [
            "degraded",
            "workaround",
            "unstable",
            "fails",
            "hangs",
            "crashes"
        ]
    );
    for name in FailOn::NAMES {
        assert_eq!(name.parse::<FailOn>().unwrap().to_string(), name);
    }
    for refused in ["works", "skipped", "invalid", "", "Fails"] {
        let error = refused.parse::<FailOn>().unwrap_err();
        assert!(error.contains("take one of degraded,"), "{error}");
    }
}

#[test]
fn the_repeat_to_show_is_the_one_with_evidence() {
    let repeats = [not_run(""), ok(&[]), error("open", "EIO")];
    assert_eq!(representative(&repeats), Some(&repeats[2]));
    assert_eq!(representative(&repeats[..2]), Some(&repeats[1]));
    assert_eq!(representative(&repeats[..1]), Some(&repeats[0]));
    assert_eq!(representative(&[]), None);
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    use Outcome::*;
    prop::sample::select(vec![Ok, Ok, Ok, Error, Timeout, Signal, NotRun])
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let facts = prop::collection::btree_map("(guarantee\\.)?[ab]", "[xy]?", 0..3);
    let errno = prop::option::of(prop::sample::select(vec![
        "EINVAL".to_owned(),
        "EIO".to_owned(),
    ]));
    (
        any_outcome(),
        facts,
        errno,
        prop::option::of(0..2i32),
        0.0..9.0f64,
    )
        .prop_map(
            |(outcome, facts, errno, exit_code, duration_ms): (_, BTreeMap<_, _>, _, _, _)| {
                Observation {
                    outcome,
                    errno,
                    exit_code,
                    facts,
                    duration_ms,
                    ..Observation::default()
                }
            },
        )
}

fn any_side() -> impl Strategy<Value = Vec<Observation>> {
    prop::collection::vec(any_observation(), 0..4)
}

proptest! {
    #[test]
    fn what_is_seen_on_both_sides_alike_works(seen in any_observation()) {
        let (verdict, _) = judge(std::slice::from_ref(&seen), std::slice::from_ref(&seen));
        let expected = match seen.outcome {
            Outcome::Ok => Verdict::Works,
            Outcome::NotRun => Verdict::Skipped,
            _ => Verdict::Invalid,
        };
        prop_assert_eq!(verdict, expected);
    }

    #[test]
    fn the_volume_is_blamed_only_where_native_did_well(native in any_side(), volume in any_side()) {
        let (verdict, note) = judge(&native, &volume);
        prop_assert_eq!(note.is_empty(), verdict == Verdict::Works);
        if matches!(verdict, Verdict::Works | Verdict::Degraded | Verdict::Fails | Verdict::Hangs | Verdict::Crashes) {
            prop_assert!(native.iter().any(|o| o.outcome == Outcome::Ok));
            prop_assert!(native.iter().all(|o| matches!(o.outcome, Outcome::Ok | Outcome::NotRun)));
        }
    }

    #[test]
    fn neither_order_nor_number_of_repeats_changes_the_verdict(native in any_side(), volume in any_side()) {
        let verdict = judge(&native, &volume).0;
        let turned = |side: &[Observation]| side.iter().rev().cloned().collect::<Vec<_>>();
        let twice = |side: &[Observation]| [side, side].concat();
        prop_assert_eq!(judge(&turned(&native), &turned(&volume)).0, verdict);
        prop_assert_eq!(judge(&twice(&native), &twice(&volume)).0, verdict);
    }

    #[test]
    fn times_and_words_never_change_the_verdict(native in any_side(), volume in any_side()) {
        let other = |side: &[Observation]| side.iter().cloned()
            .map(|o| Observation { duration_ms: o.duration_ms + 1.0, detail: "other".into(), ..o })
            .collect::<Vec<_>>();
        prop_assert_eq!(judge(&native, &volume).0, judge(&other(&native), &other(&volume)).0);
    }
}
