//! For each case that does not simply work on some stack: what was seen, why, and what helps, once for all stacks that agree.

use serde::Serialize;

use super::matrix::{anchor, families, needs_words, stacks_with_cases};
use crate::{CaseResult, Report};

/// A case and its findings.
#[derive(Serialize)]
pub(super) struct Detail {
    pub id: String,
    pub anchor: String,
    pub title: String,
    pub findings: Vec<Finding>,
}

/// What was found on one or several stacks.
#[derive(Serialize, PartialEq)]
pub(super) struct Finding {
    pub verdict: &'static str,
    pub symbol: char,
    pub note: String,
    pub cause: Option<Why>,
    pub remedies: Vec<Tried>,
    /// The stacks that agree in all the above.
    pub stacks: Vec<String>,
}

/// The cause, with what shows it.
#[derive(Serialize, PartialEq)]
pub(super) struct Why {
    pub id: String,
    pub summary: String,
    pub evidence: Vec<String>,
}

/// A remedy that was considered.
#[derive(Serialize, PartialEq)]
pub(super) struct Tried {
    pub title: String,
    pub verified: bool,
    pub detail: String,
}

/// The cases that need words, in the order of the matrix.
pub(super) fn of(reports: &[Report]) -> Vec<Detail> {
    let stacks = stacks_with_cases(reports);
    let cases = families(&stacks)
        .into_iter()
        .flat_map(|family| family.cases);
    cases
        .filter_map(|case| {
            let mut findings: Vec<Finding> = Vec::new();
            for stack in &stacks {
                let Some(result) = stack.get(&case.id).filter(|result| needs_words(result)) else {
                    continue;
                };
                let report = stack.report;
                let stack = format!("{} ({})", report.stack.name(), super::matrix::about(report));
                let found = finding(result);
                match findings.iter_mut().find(|f| same(f, &found)) {
                    Some(known) => known.stacks.push(stack),
                    None => findings.push(Finding {
                        stacks: vec![stack],
                        ..found
                    }),
                }
            }
            (!findings.is_empty()).then(|| Detail {
                id: case.id.clone(),
                anchor: anchor(&case.id),
                title: case.title.clone(),
                findings,
            })
        })
        .collect()
}

fn same(a: &Finding, b: &Finding) -> bool {
    (a.verdict, &a.note, &a.cause, &a.remedies) == (b.verdict, &b.note, &b.cause, &b.remedies)
}

fn finding(case: &CaseResult) -> Finding {
    let mut remedies: Vec<Tried> = case
        .remedies
        .iter()
        .map(|r| Tried {
            title: r.title.clone(),
            verified: r.verified,
            detail: r.detail.clone(),
        })
        .collect();
    remedies.sort_by_key(|r| !r.verified);
    let cause = case.cause.as_ref().map(|c| Why {
        id: c.id.clone(),
        summary: c.summary.clone(),
        evidence: c.evidence.clone(),
    });
    // Without a cause, the failing calls are all the evidence there is.
    let cause = cause.or_else(|| {
        let calls = &case.volume.failed_calls;
        let unexplained = case.verdict.is_bad() && !calls.is_empty();
        unexplained.then(|| Why {
            id: "not known".into(),
            summary: "No entry of the catalogue fits; these calls failed on the volume.".into(),
            evidence: calls.clone(),
        })
    });
    Finding {
        verdict: case.verdict.name(),
        symbol: case.verdict.symbol(),
        note: case.note.clone(),
        cause,
        remedies,
        stacks: Vec::new(),
    }
}
