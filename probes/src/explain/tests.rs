//! The catalogue against what was really seen: `recorded.jsonl` has what cases did on the reference and on other
//! stacks, beside what they did in a plain directory, each with the cause that it must be given.

use super::{
    seen::{Recorded, recorded, seen},
    *,
};
use results::{CaseKind, CaseResult, Observation, Outcome};

/// Causes known from reports and sources, which the recorded results do not show yet.
const UNSEEN: &[&str] = &[
    "link-of-descriptor",
    "setid-bits-kept",
    "noatime-owner",
    "no-clone",
    "disk-full",
    "too-many-open-files",
    "round-trip-each",
];

fn result(id: &str, native: Observation, volume: Observation) -> CaseResult {
    let (verdict, note) =
        results::verdict::judge(std::slice::from_ref(&native), std::slice::from_ref(&volume));
    CaseResult {
        id: id.to_owned(),
        kind: CaseKind::Op,
        title: String::new(),
        native,
        volume,
        verdict,
        note,
        cause: None,
        remedies: Vec::new(),
        runs: 1,
    }
}

#[test]
fn what_was_seen_is_given_its_cause() {
    for seen in recorded() {
        let result = result(&seen.id, seen.native, seen.volume);
        let cause = diagnose(&result)
            .unwrap_or_else(|| panic!("{} {} {}", seen.id, result.verdict, result.note));
        assert_eq!(cause.id, seen.cause, "{}: {}", seen.id, result.note);
        assert!(!cause.evidence.is_empty(), "{}", seen.id);
    }
}

fn failing(call: &str, errno: &str, detail: &str) -> Observation {
    Observation {
        outcome: Outcome::Error,
        call: Some(call.to_owned()),
        errno: Some(errno.to_owned()),
        detail: detail.to_owned(),
        ..Observation::default()
    }
}

fn fine() -> Observation {
    Observation {
        outcome: Outcome::Ok,
        ..Observation::default()
    }
}

#[test]
fn what_no_entry_fits_is_given_whole() {
    let mut volume = failing("frobnicate", "EXFULL", "frobnicate(a) failed: EXFULL");
    volume.failed_calls = vec![
        "frobnicate(a) = EXFULL".to_owned(),
        "stat(b) = ENOENT".to_owned(),
    ];
    let mut native = fine();
    native.failed_calls = vec!["stat(b) = ENOENT".to_owned()];
    let cause = diagnose(&result("x.y", native, volume)).unwrap();
    assert_eq!(cause.id, UNMATCHED);
    // What fails natively too is no evidence.
    assert_eq!(
        cause.evidence,
        ["frobnicate(a) = EXFULL", "frobnicate(a) failed: EXFULL"]
    );
}

#[test]
fn what_works_or_was_not_run_has_no_cause() {
    assert_eq!(diagnose(&result("x.y", fine(), fine())), None);
    assert_eq!(
        diagnose(&result("x.y", fine(), Observation::default())),
        None
    );
    assert_eq!(
        diagnose(&result("x.y", failing("mmap", "EINVAL", ""), fine())),
        None
    );
}

/// An errno alone must not be taken for a cause.
#[test]
fn likeness_is_not_enough() {
    for (call, errno, detail) in [
        (
            "mmap",
            "EINVAL",
            "mmap(data, PROT_READ, MAP_PRIVATE) failed",
        ),
        (
            "mmap",
            "ENOMEM",
            "mmap(data, PROT_READ|PROT_WRITE, MAP_SHARED) failed",
        ),
        ("open", "EOPNOTSUPP", "open(data, O_RDWR) failed"),
        ("unlink", "ENOENT", "unlink(data) failed"),
        ("rename", "EINVAL", "rename(a, a/b) failed"),
        (
            "setxattr",
            "EOPNOTSUPP",
            "setxattr(data, user.k, 3 bytes) failed",
        ),
        ("read", "EIO", "read(data) failed"),
    ] {
        let cause = diagnose(&result("x.y", fine(), failing(call, errno, detail))).unwrap();
        assert_eq!(cause.id, UNMATCHED, "{call} {errno} {detail}");
    }
}

/// Every entry is there because of something that was seen, or is named in `UNSEEN`.
#[test]
fn every_cause_fits_something_and_not_everything() {
    let recorded = recorded();
    for entry in catalogue() {
        let fits = |seen: &&Recorded| {
            let result = result(&seen.id, seen.native.clone(), seen.volume.clone());
            let evidence = Evidence::of(&result);
            entry
                .evidence
                .iter()
                .any(|rule| rule::shown_by(rule, &seen.id, &evidence).is_some())
        };
        let count = recorded.iter().filter(fits).count();
        assert!(count < recorded.len(), "{} fits every result", entry.id);
        let unseen = UNSEEN.contains(&entry.id.as_str());
        assert!(count > 0 || unseen, "{} fits nothing recorded", entry.id);
        let given = recorded.iter().any(|seen| seen.cause == entry.id);
        assert_eq!(given, !unseen, "UNSEEN is wrong about {}", entry.id);
    }
}

/// "Seen" is what the kept runs show, which `what_was_seen_is_given_its_cause` diagnoses anew.
#[test]
fn thirty_causes_and_more_were_seen_in_real_runs() {
    let shown: Vec<&str> = catalogue()
        .iter()
        .map(|entry| &*entry.id)
        .filter(|id| !seen(id).is_empty())
        .collect();
    assert!(shown.len() >= 30, "{}: {shown:?}", shown.len());
    for run in recorded() {
        assert!(
            run.stack.split('/').count() == 3,
            "{}: {}",
            run.id,
            run.stack
        );
        assert!(catalogue::find(&run.cause).is_some(), "{}", run.cause);
    }
}
