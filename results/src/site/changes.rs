//! What changed against the previous run of each stack, regressions first.

use serde::Serialize;

use super::{Context, class, links};
use crate::{
    Diff, Report,
    diff::{Change, OneSided},
    fidelity::Seen,
    matrix::Column,
    text::number,
};

#[derive(Serialize)]
pub(super) struct Changes {
    pub runs: Vec<RunChanges>,
}

/// A run against the one before it that has cases or workloads in common.
#[derive(Serialize)]
pub(super) struct RunChanges {
    stack: String,
    stack_href: String,
    before: String,
    before_href: String,
    after: String,
    after_href: String,
    summary: String,
    worse: usize,
    /// Regressions, improvements, other changes.
    sections: Vec<Section>,
    added: Vec<Case>,
    removed: Vec<Case>,
    throughput: Vec<Rate>,
    unchanged: usize,
}

#[derive(Serialize)]
struct Section {
    name: &'static str,
    changes: Vec<Changed>,
}

#[derive(Serialize)]
struct Changed {
    case: Case,
    before: Side,
    after: Side,
}

#[derive(Serialize)]
struct Case {
    id: String,
    href: String,
    verdict: &'static str,
}

#[derive(Serialize)]
pub(super) struct Side {
    class: char,
    verdict: &'static str,
    note: String,
}

#[derive(Serialize)]
struct Rate {
    workload: String,
    unit: String,
    before: String,
    after: String,
    ratio: String,
}

pub(super) fn of(context: &Context<'_>) -> Changes {
    let stacks = context.matrix.stacks.iter();
    let mut runs: Vec<RunChanges> = stacks
        .flat_map(|column| pairs(column).into_iter().map(move |pair| (column, pair)))
        .map(|(column, (before, after))| run(context, column, before, after))
        .collect();
    // Stable: stacks stay in their order.
    runs.sort_by_key(|run| std::cmp::Reverse(run.worse));
    Changes { runs }
}

/// Each latest run of some cases with the run before it that has any of them.
fn pairs<'a>(column: &Column<'a>) -> Vec<(&'a Report, &'a Report)> {
    let mut pairs: Vec<(&Report, &Report)> = Vec::new();
    for (at, after) in column.runs.iter().enumerate() {
        let newer = pairs
            .iter()
            .any(|(before, _)| std::ptr::eq(*before, *after));
        let before = column.runs[at + 1..]
            .iter()
            .find(|before| overlap(before, after));
        if let (false, Some(before)) = (newer, before) {
            pairs.push((before, after));
        }
    }
    pairs
}

fn overlap(a: &Report, b: &Report) -> bool {
    let cases: std::collections::BTreeSet<_> = a.cases.iter().map(|case| &case.id).collect();
    b.cases.iter().any(|case| cases.contains(&case.id))
        || (b.bench.iter())
            .any(|bench| a.bench.iter().any(|known| known.workload == bench.workload))
}

fn run(context: &Context<'_>, column: &Column<'_>, before: &Report, after: &Report) -> RunChanges {
    let diff = Diff::of(before, after);
    let section = |name, changes: &[Change]| Section {
        name,
        changes: changes
            .iter()
            .map(|change| changed(context, change))
            .collect(),
    };
    let cases = |list: &[OneSided]| {
        list.iter()
            .map(|case| self::case(context, &case.id, case.verdict.name()))
            .collect()
    };
    RunChanges {
        stack: links::label(column),
        stack_href: links::stack(&column.id),
        before: before.run_id.clone(),
        before_href: links::run(&before.run_id),
        after: after.run_id.clone(),
        after_href: links::run(&after.run_id),
        summary: diff.summary(),
        worse: diff.regressions.len(),
        sections: vec![
            section("Worse", &diff.regressions),
            section("Better", &diff.improvements),
            section("Changed otherwise", &diff.others),
        ],
        added: cases(&diff.added),
        removed: cases(&diff.removed),
        throughput: (diff.throughput.iter())
            .map(|change| Rate {
                workload: change.workload.clone(),
                unit: change.unit.clone(),
                before: number(change.before),
                after: number(change.after),
                ratio: number(change.ratio),
            })
            .collect(),
        unchanged: diff.unchanged,
    }
}

fn changed(context: &Context<'_>, change: &Change) -> Changed {
    Changed {
        case: case(context, &change.id, change.after.verdict.name()),
        before: side(&change.before),
        after: side(&change.after),
    }
}

fn case(context: &Context<'_>, id: &str, verdict: &'static str) -> Case {
    let known = context.kinds.get(id).copied();
    Case {
        id: id.to_owned(),
        // A case that only an older run has is in the matrix too, so every id is known.
        href: known
            .map(|kind| links::case(context, kind, id))
            .unwrap_or_default(),
        verdict,
    }
}

pub(super) fn side(seen: &Seen) -> Side {
    Side {
        class: class(seen.verdict),
        verdict: seen.verdict.name(),
        note: match (&seen.volume.call, &seen.volume.errno) {
            (Some(call), Some(errno)) => format!("{call}: {errno}"),
            (None, Some(errno)) => errno.clone(),
            _ => crate::text::shorten(&seen.note, 90),
        },
    }
}
