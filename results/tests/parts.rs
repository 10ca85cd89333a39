//! Parts of a run joined again, and what does not belong together refused.

mod common;

use common::*;
use results::{MergeError, Part, Report, merge};

/// The sample run cut into parts, dealt out in turn.
fn parts(of: usize) -> Vec<Report> {
    let plan: Vec<String> = cases().into_iter().map(|case| case.id).collect();
    (0..of)
        .map(|part| {
            let mine = cases().into_iter().skip(part).step_by(of);
            let mut report = report(&run(mine.collect(), vec![]));
            report.run_id = format!("run-{part}");
            report.started = format!("2026-11-23T06:01:0{part}Z");
            report.part = Some(Part {
                partition: format!("hash:{}/{of}", part + 1),
                plan: plan.clone(),
            });
            report
        })
        .collect()
}

#[test]
fn parts_joined_are_what_one_run_gives() {
    let whole = report(&run(cases(), vec![]));
    for of in 1..=4 {
        let mut parts = parts(of);
        parts.reverse();
        let joined = merge(&parts).unwrap();
        assert_eq!(joined.without_times(), whole.without_times());
        assert_eq!(joined.run_id, "run-0");
        assert_eq!(joined.started, "2026-11-23T06:01:00Z");
        // And it can be read again, digests included.
        let read = Report::parse(joined.to_json().as_bytes(), "joined".as_ref()).unwrap();
        assert_eq!(read.cases, whole.cases);
    }
}

#[test]
fn runs_of_different_cases_on_one_stack_complete_each_other() {
    let ops = report(&run(cases(), vec![]));
    let mut bench = report(&run(vec![], benches()));
    bench.started = "2026-11-23T07:00:00Z".into();
    let joined = merge(&[bench, ops]).unwrap();
    assert_eq!((joined.cases, joined.bench), (cases(), benches()));
}

#[test]
fn what_does_not_belong_together_is_refused_with_the_reason() {
    let change = |change: &dyn Fn(&mut Report)| {
        let mut parts = parts(3);
        change(&mut parts[1]);
        merge(&parts).unwrap_err().to_string()
    };
    let said = [
        merge(&[]).unwrap_err().to_string(),
        merge(&parts(3)[..2]).unwrap_err().to_string(),
        change(&|part| part.stack = stack("uml", "6.1.0")),
        change(&|part| part.stack.kernel = "5.11".into()),
        change(&|part| part.stack.cache = "mmap".into()),
        change(&|part| part.host.filesystem = "tmpfs".into()),
        change(&|part| part.host.probe9p = "0.2.0".into()),
        change(&|part| part.part = None),
        change(&|part| part.part.as_mut().unwrap().plan.truncate(2)),
        change(&|part| part.cases.push(cases()[0].clone())),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn an_interrupted_part_makes_the_whole_interrupted() {
    let mut parts = parts(2);
    parts[1].finished = None;
    parts[1].cases.pop();
    let joined = merge(&parts).unwrap();
    assert_eq!(
        (joined.finished, joined.cases.len()),
        (None, cases().len() - 1)
    );
    parts[0].cases.pop();
    parts[1].finished = parts[0].finished.clone();
    assert!(
        matches!(merge(&parts), Err(MergeError::Incomplete { missing, .. }) if missing.len() == 2)
    );
}

#[test]
fn equal_observations_give_equal_files_when_times_are_left_out() {
    let first = report(&run(cases(), benches()));
    let mut events = run(cases(), benches());
    // Cases end in any order, at other times, on the same plan.
    let end = events.len() - 1 - benches().len();
    events[1..end].reverse();
    for event in &mut events {
        if let results::Event::CaseFinished(case) = event {
            case.native.duration_ms *= 3.0;
            case.volume.duration_ms += 1.0;
        }
    }
    let mut second = report(&events);
    second.run_id = "another".into();
    second.started = "2027-01-01T00:00:00Z".into();
    second.finished = Some("2027-01-01T00:00:09Z".into());
    assert_ne!(first.to_json(), second.to_json());
    assert_eq!(
        first.without_times().to_json(),
        second.without_times().to_json()
    );
}
