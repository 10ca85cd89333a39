//! The matrix: cases by tool and by family of operations down, stacks across.
//!
//! Every form of several runs (the site, Markdown, the terminal's matrix, `matrix.json`, CSV, badges) is made of
//! this one table, so they cannot disagree. It does not depend on the order in which the reports were given.
//!
//! Reports of one stack share a column: a run of the operations and a run of a tool complete each other, and
//! where several have a case the latest run's result counts.

use std::collections::BTreeMap;

use crate::{CaseKind, CaseResult, Report, Verdict, report::count};

mod names;
mod order;

pub(crate) use names::series;
pub use names::slug;

/// All results of all reports, in their places.
#[derive(Debug)]
pub struct Matrix<'a> {
    /// The columns: real kernels before FUSE, the reference first.
    pub stacks: Vec<Column<'a>>,
    /// The rows: tools before families of operations, each by name.
    pub groups: Vec<Group<'a>>,
}

/// A stack, with all runs of it.
#[derive(Debug)]
pub struct Column<'a> {
    /// Stable id, `uml-server9p-golem-6.1-none-ext4`: of characters that need no escaping anywhere.
    pub id: String,
    /// Its runs, the latest first. Never empty.
    pub runs: Vec<&'a Report>,
    results: BTreeMap<&'a str, Placed<'a>>,
}

/// A case's result with the run that it is of, and since when the verdict is what it is.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// The latest result.
    pub case: &'a CaseResult,
    /// The run that it is of.
    pub run: &'a Report,
    /// The first run of the unbroken row of runs, up to the latest, that have this verdict.
    pub since: &'a Report,
}

/// A tool or a family of operations.
#[derive(Debug)]
pub struct Group<'a> {
    /// Tools or operations.
    pub kind: CaseKind,
    /// What stands before the first dot of its cases' ids.
    pub name: &'a str,
    /// Its cases, in the order of the plan.
    pub rows: Vec<Row<'a>>,
}

impl Group<'_> {
    /// How many of its cases have a result on that stack.
    pub fn results(&self, stack: usize) -> usize {
        let there = self.rows.iter().filter(|row| row.cells[stack].is_some());
        there.count()
    }
}

/// A case on every stack.
#[derive(Debug)]
pub struct Row<'a> {
    /// The case's id.
    pub id: &'a str,
    /// What a program relies on, in one line.
    pub title: &'a str,
    /// One for each stack; none where it has no result.
    pub cells: Vec<Option<Placed<'a>>>,
}

impl<'a> Matrix<'a> {
    /// Puts the results of all reports in their places.
    pub fn of(reports: &'a [Report]) -> Self {
        let stacks = columns(reports);
        let groups = groups(&stacks);
        Matrix { stacks, groups }
    }

    /// How many cases there are.
    pub fn cases(&self) -> usize {
        self.groups.iter().map(|group| group.rows.len()).sum()
    }

    /// Every case with its group, in the order of the rows.
    pub fn rows(&self) -> impl Iterator<Item = (&Group<'a>, &Row<'a>)> {
        (self.groups.iter()).flat_map(|group| group.rows.iter().map(move |row| (group, row)))
    }
}

impl<'a> Column<'a> {
    /// The latest run, which stands for the stack.
    pub fn latest(&self) -> &'a Report {
        self.runs[0]
    }

    /// `client/server/profile`.
    pub fn name(&self) -> String {
        self.latest().stack.name()
    }

    /// `Linux 5.10 · cache=none · on ext4`.
    pub fn about(&self) -> String {
        about(self.latest())
    }

    /// The result of a case.
    pub fn get(&self, id: &str) -> Option<Placed<'a>> {
        self.results.get(id).copied()
    }

    /// How many cases have each verdict.
    pub fn counts(&self) -> Vec<(Verdict, usize)> {
        count(self.results.values().map(|placed| placed.case.verdict))
    }

    /// One report with the latest result of every case, as if one run had made them all.
    pub fn whole(&self, order: impl Iterator<Item = &'a str>) -> Report {
        let mut report = self.latest().clone();
        report.cases = (order.filter_map(|id| self.get(id)))
            .map(|placed| placed.case.clone())
            .collect();
        report
    }
}

/// `Linux 5.10 · cache=none · on ext4`.
pub(crate) fn about(report: &Report) -> String {
    let (stack, host) = (&report.stack, &report.host);
    format!(
        "Linux {} · cache={} · on {}",
        stack.kernel, stack.cache, host.filesystem
    )
}

impl Row<'_> {
    /// Whether every stack that has a result of it says `works`.
    pub fn works_everywhere(&self) -> bool {
        self.cells
            .iter()
            .flatten()
            .all(|p| p.case.verdict == Verdict::Works)
    }
}

/// Reports of one stack, each group the latest first.
pub(crate) fn by_stack(reports: &[Report]) -> Vec<Vec<&Report>> {
    let mut groups: BTreeMap<order::Key<'_>, Vec<&Report>> = BTreeMap::new();
    for report in reports {
        groups.entry(order::key(report)).or_default().push(report);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    for group in &mut groups {
        // RFC 3339 in UTC sorts as text.
        group.sort_by(|a, b| (&b.started, &b.run_id).cmp(&(&a.started, &a.run_id)));
    }
    groups
}

fn columns(reports: &[Report]) -> Vec<Column<'_>> {
    by_stack(reports).into_iter().map(column).collect()
}

fn column(runs: Vec<&Report>) -> Column<'_> {
    let mut results: BTreeMap<&str, Placed<'_>> = BTreeMap::new();
    // The oldest first, so that each later one replaces it or carries its date on.
    for run in runs.iter().rev() {
        for case in &run.cases {
            let known = results.get(case.id.as_str());
            let since = (known.filter(|known| known.case.verdict == case.verdict))
                .map_or(*run, |known| known.since);
            results.insert(&case.id, Placed { case, run, since });
        }
    }
    Column {
        id: names::stack_id(runs[0]),
        runs,
        results,
    }
}

fn groups<'a>(stacks: &[Column<'a>]) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<(bool, &str), Group<'a>> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    let runs = stacks.iter().flat_map(|stack| &stack.runs);
    for case in runs.flat_map(|run| &run.cases) {
        if !seen.insert(&case.id) {
            continue;
        }
        let name = family(&case.id);
        let group = groups
            .entry((case.kind == CaseKind::Op, name))
            .or_insert_with(|| Group {
                kind: case.kind,
                name,
                rows: Vec::new(),
            });
        group.rows.push(Row {
            id: &case.id,
            title: &case.title,
            cells: stacks.iter().map(|stack| stack.get(&case.id)).collect(),
        });
    }
    groups.into_values().collect()
}

/// What stands before an id's first dot.
pub(crate) fn family(id: &str) -> &str {
    id.split_once('.').map_or(id, |(family, _)| family)
}

/// What stands after an id's first dot; all of an id without one.
pub(crate) fn name_in_family(id: &str) -> &str {
    id.split_once('.').map_or(id, |(_, name)| name)
}
