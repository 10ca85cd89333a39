//! What is known of a case: findings, each with the stacks that agree in it. On a page of its own, and in short on
//! the page of its tool.

use serde::Serialize;

use super::{Context, class, kind, links};
use crate::{
    CaseResult, Outcome, Verdict,
    matrix::{Group, Placed, Row},
    text::duration,
};

#[derive(Serialize)]
pub(super) struct CasePage {
    id: String,
    about: String,
    kind: &'static str,
    group: String,
    group_href: String,
    findings: Vec<Finding>,
    absent: usize,
}

/// What was found on one or several stacks.
#[derive(Serialize)]
pub(super) struct Finding {
    pub number: usize,
    pub class: char,
    pub verdict: &'static str,
    pub note: String,
    /// What the program or the case said, where the note does not say it.
    pub detail: String,
    pub calls: Vec<String>,
    pub facts: Vec<Fact>,
    pub cause: Option<Why>,
    pub remedies: Vec<Tried>,
    pub stacks: Vec<On>,
    /// The options that bring up the first of these stacks.
    pub options: String,
}

/// A fact in which the two sides differ.
#[derive(Serialize, PartialEq)]
pub(super) struct Fact {
    name: String,
    native: String,
    volume: String,
}

#[derive(Serialize, PartialEq)]
pub(super) struct Why {
    id: String,
    href: String,
    summary: String,
    evidence: Vec<String>,
}

#[derive(Serialize, PartialEq)]
pub(super) struct Tried {
    title: String,
    verified: bool,
    detail: String,
}

impl Finding {
    /// Whether the two tell the same of the same stacks, in as many words as the page of a tool has.
    pub fn tells_the_same(&self, other: &Finding) -> bool {
        let stacks = |finding: &Finding| -> Vec<String> {
            finding.stacks.iter().map(|on| on.label.clone()).collect()
        };
        (self.class, &self.note, &self.cause, &self.remedies)
            == (other.class, &other.note, &other.cause, &other.remedies)
            && self.options == other.options
            && stacks(self) == stacks(other)
            && (self.cause.is_some() || self.calls == other.calls)
    }
}

/// A stack that agrees in a finding.
#[derive(Serialize)]
pub(super) struct On {
    label: String,
    native: String,
    volume: String,
    run_href: String,
    /// The date from which on the verdict is so, where that is not this run's.
    since: String,
}

pub(super) fn of(context: &Context<'_>, group: &Group<'_>, row: &Row<'_>) -> CasePage {
    CasePage {
        id: row.id.to_owned(),
        about: row.title.to_owned(),
        kind: kind(group.kind),
        group: group.name.to_owned(),
        group_href: links::group(group.kind, group.name),
        findings: findings(context, row),
        absent: row.cells.iter().filter(|cell| cell.is_none()).count(),
    }
}

/// The findings of a case, the worst first.
pub(super) fn findings(context: &Context<'_>, row: &Row<'_>) -> Vec<Finding> {
    let groups = grouped(row);
    (groups.into_iter().enumerate())
        .map(|(at, members)| {
            let (_, first) = members[0];
            finding(context, at + 1, first, &members)
        })
        .collect()
}

/// The number of the finding that this result is part of, from 1.
pub(super) fn finding_of(row: &Row<'_>, case: &CaseResult) -> usize {
    let groups = grouped(row);
    let at = groups
        .iter()
        .position(|members| same(members[0].1.case, case));
    at.map_or(1, |at| at + 1)
}

type Members<'a> = Vec<(usize, Placed<'a>)>;

/// The results in groups of those that say the same, the worst first.
fn grouped<'a>(row: &Row<'a>) -> Vec<Members<'a>> {
    let mut groups: Vec<Members<'a>> = Vec::new();
    for (column, placed) in row.cells.iter().enumerate() {
        let Some(placed) = *placed else { continue };
        match groups
            .iter_mut()
            .find(|members| same(members[0].1.case, placed.case))
        {
            Some(members) => members.push((column, placed)),
            None => groups.push(vec![(column, placed)]),
        }
    }
    groups.sort_by_key(|members| std::cmp::Reverse(members[0].1.case.verdict.severity()));
    groups
}

fn same(a: &CaseResult, b: &CaseResult) -> bool {
    let essence = |case: &'_ CaseResult| {
        let cause = case.cause.as_ref().map(|cause| cause.id.clone());
        let helps: Vec<(String, bool)> = (case.remedies.iter())
            .map(|remedy| (remedy.id.clone(), remedy.verified))
            .collect();
        (cause, helps)
    };
    a.verdict == b.verdict
        && (a.verdict == Verdict::Works || (a.note == b.note && essence(a) == essence(b)))
}

fn finding(
    context: &Context<'_>,
    number: usize,
    first: Placed<'_>,
    members: &[(usize, Placed<'_>)],
) -> Finding {
    let case = first.case;
    let words = case.verdict != Verdict::Works;
    let mut remedies: Vec<Tried> = (case.remedies.iter())
        .map(|remedy| Tried {
            title: remedy.title.clone(),
            verified: remedy.verified,
            detail: remedy.detail.clone(),
        })
        .collect();
    remedies.sort_by_key(|remedy| !remedy.verified);
    let cause = case.cause.as_ref().map(|cause| Why {
        id: cause.id.clone(),
        href: links::cause(&cause.id),
        summary: cause.summary.clone(),
        evidence: cause.evidence.clone(),
    });
    let shown = |call: &&String| {
        !case.note.contains(call.as_str())
            && !case.cause.iter().any(|cause| cause.evidence.contains(call))
    };
    let calls = case
        .volume
        .failed_calls
        .iter()
        .filter(|call| words && shown(call));
    let detail = case.volume.detail.trim();
    Finding {
        number,
        class: class(case.verdict),
        verdict: case.verdict.name(),
        note: case.note.clone(),
        detail: if words && !case.note.contains(detail) {
            detail.to_owned()
        } else {
            String::new()
        },
        calls: calls.cloned().collect(),
        facts: if words { facts(case) } else { Vec::new() },
        cause,
        remedies,
        stacks: members
            .iter()
            .map(|(column, placed)| on(context, *column, *placed))
            .collect(),
        options: links::options(&first.run.stack),
    }
}

/// The facts that both sides have, or one lacks, and that differ.
fn facts(case: &CaseResult) -> Vec<Fact> {
    if case.native.outcome != Outcome::Ok || case.volume.outcome != Outcome::Ok {
        return Vec::new();
    }
    let names = case.native.facts.keys().chain(case.volume.facts.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    let told = |fact: Option<&String>| fact.map_or("absent", String::as_str).to_owned();
    (names.into_iter())
        .filter(|name| case.native.facts.get(*name) != case.volume.facts.get(*name))
        .map(|name| Fact {
            name: name.clone(),
            native: told(case.native.facts.get(name)),
            volume: told(case.volume.facts.get(name)),
        })
        .collect()
}

fn on(context: &Context<'_>, column: usize, placed: Placed<'_>) -> On {
    let stack = &context.matrix.stacks[column];
    let took = |seen: &crate::Observation| match seen.outcome {
        Outcome::NotRun => "–".to_owned(),
        _ => duration(seen.duration_ms),
    };
    let (run, since) = (placed.run, placed.since);
    On {
        label: links::label(stack),
        native: took(&placed.case.native),
        volume: took(&placed.case.volume),
        run_href: links::run(&run.run_id),
        since: if since.run_id == run.run_id {
            String::new()
        } else {
            super::run::day(&since.started)
        },
    }
}
