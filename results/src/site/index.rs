//! The front page: the whole matrix.

use serde::Serialize;

use super::{
    Context, Count, counts, links,
    rows::{Head, Section, heads, section},
};
use crate::{CaseKind, Verdict};

#[derive(Serialize)]
pub(super) struct Index {
    heads: Vec<Head>,
    groups: Vec<Section>,
    stacks: Vec<StackLine>,
    legend: Vec<Legend>,
    tools: usize,
    families: usize,
    cases: usize,
    runs: usize,
    /// From the first run to the last, as dates.
    from: String,
    to: String,
    own_pages: bool,
}

/// A stack, above the matrix.
#[derive(Serialize)]
struct StackLine {
    id: String,
    href: String,
    label: String,
    about: String,
    cases: usize,
    counts: Vec<Count>,
}

/// A verdict and what it means.
#[derive(Serialize)]
pub(super) struct Legend {
    class: char,
    name: &'static str,
    meaning: &'static str,
}

pub(super) fn legend() -> Vec<Legend> {
    let entry = |v: Verdict| Legend {
        class: super::class(v),
        name: v.name(),
        meaning: v.meaning(),
    };
    Verdict::ALL.map(entry).into()
}

pub(super) fn of(context: &Context<'_>) -> Index {
    let matrix = context.matrix;
    let groups = matrix.groups.iter();
    let of_kind = |kind| {
        matrix
            .groups
            .iter()
            .filter(|group| group.kind == kind)
            .count()
    };
    let day = |report: Option<&&crate::Report>| {
        report.map_or(String::new(), |report| super::run::day(&report.started))
    };
    Index {
        heads: heads(context),
        groups: groups
            .map(|group| section(context, group, context.own_pages, ""))
            .collect(),
        stacks: (matrix.stacks.iter())
            .map(|column| StackLine {
                id: column.id.clone(),
                href: links::stack(&column.id),
                label: links::label(column),
                about: column.about(),
                cases: column.counts().iter().map(|(_, n)| n).sum(),
                counts: counts(&column.counts()),
            })
            .collect(),
        legend: legend(),
        tools: of_kind(CaseKind::Tool),
        families: of_kind(CaseKind::Op),
        cases: matrix.cases(),
        runs: context.reports.len(),
        from: day(context.reports.first()),
        to: day(context.reports.last()),
        own_pages: context.own_pages,
    }
}
