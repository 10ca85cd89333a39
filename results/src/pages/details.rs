//! For each case that does not simply work on some stack: what was seen, why, and what helps, once for all stacks that agree.

use serde::Serialize;

use super::matrix::needs_words;
use crate::{CaseResult, Matrix};

/// A case and its findings.
#[derive(Serialize)]
pub(super) struct Detail {
    pub id: String,
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
pub(super) fn of(matrix: &Matrix<'_>) -> Vec<Detail> {
    let rows = matrix.rows().map(|(_, row)| row);
    rows.filter_map(|row| {
        let mut findings: Vec<Finding> = Vec::new();
        for (stack, placed) in matrix.stacks.iter().zip(&row.cells) {
            let Some(result) = placed.map(|p| p.case).filter(|case| needs_words(case)) else {
                continue;
            };
            let stack = format!("{} ({})", stack.name(), stack.about());
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
            id: row.id.to_owned(),
            title: row.title.to_owned(),
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
