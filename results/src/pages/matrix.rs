//! The matrix: cases grouped by family down, stacks across.
//!
//! Reports of one stack (the same client, server, profile, cache, kernel and host file system) share a column:
//! a run of the operations and a run of a tool complete each other, and where both have a case the later run's
//! result is shown.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{CaseKind, CaseResult, Report, Verdict, report::count, text::shorten};

/// Columns of a note in a cell; the details have it in full.
const NOTE: usize = 140;

/// The whole matrix.
#[derive(Serialize)]
pub(super) struct Matrix {
    pub columns: Vec<Column>,
    pub families: Vec<Family>,
}

/// A stack.
#[derive(Serialize)]
pub(super) struct Column {
    /// `client/server/profile`.
    pub name: String,
    /// `Linux 5.10 · cache=none · on ext4`.
    pub about: String,
    /// Cases in this column.
    pub cases: usize,
    /// How many cases have each verdict.
    pub counts: Vec<Count>,
    /// The same in words, for those who cannot see the bar.
    pub summary: String,
}

/// How often a verdict occurs.
#[derive(Serialize)]
pub(super) struct Count {
    pub verdict: &'static str,
    pub symbol: char,
    pub count: usize,
}

/// A tool or a family of operations.
#[derive(Serialize)]
pub(super) struct Family {
    pub name: String,
    pub anchor: String,
    /// `tool` or `operations`.
    pub kind: &'static str,
    /// For each column `3 of 4 work`, or nothing where none was run.
    pub summaries: Vec<String>,
    pub rows: Vec<Row>,
}

/// A case.
#[derive(Serialize)]
pub(super) struct Row {
    pub id: String,
    pub anchor: String,
    pub title: String,
    /// One for each column; none where that stack has no result.
    pub cells: Vec<Option<Cell>>,
    /// Whether any cell is explained further down the page.
    pub explained: bool,
}

/// A case on a stack.
#[derive(Serialize)]
pub(super) struct Cell {
    pub verdict: &'static str,
    pub symbol: char,
    pub note: String,
    /// Id of the cause, where it is known.
    pub cause: Option<String>,
    /// Titles of the remedies that were verified.
    pub remedies: Vec<String>,
}

/// What makes two reports reports of one stack.
pub(super) fn key(report: &Report) -> [&str; 6] {
    let s = &report.stack;
    [
        &s.client,
        &s.server,
        &s.profile,
        &s.cache,
        &s.kernel,
        &report.host.filesystem,
    ]
}

/// The reports in groups of one stack each, stacks in the order of their first report, in each group the later
/// run first.
pub(super) fn by_stack(reports: &[Report]) -> Vec<Vec<&Report>> {
    let mut groups: Vec<Vec<&Report>> = Vec::new();
    for report in reports {
        match groups.iter_mut().find(|g| key(g[0]) == key(report)) {
            Some(group) => group.push(report),
            None => groups.push(vec![report]),
        }
    }
    for group in &mut groups {
        // RFC 3339 in UTC sorts as text.
        group.sort_by(|a, b| b.started.cmp(&a.started));
    }
    groups
}

/// `Linux 5.10 · cache=none · on ext4`.
pub(super) fn about(report: &Report) -> String {
    format!(
        "Linux {} · cache={} · on {}",
        report.stack.kernel, report.stack.cache, report.host.filesystem
    )
}

/// A stack with its cases: the latest result of each, in the order of the run.
pub(super) struct StackCases<'a> {
    pub report: &'a Report,
    pub cases: Vec<&'a CaseResult>,
    by_id: BTreeMap<&'a str, &'a CaseResult>,
}

impl<'a> StackCases<'a> {
    fn of(group: &[&'a Report]) -> Self {
        let mut found = StackCases {
            report: group[0],
            cases: Vec::new(),
            by_id: BTreeMap::new(),
        };
        for case in group.iter().flat_map(|report| &report.cases) {
            if found.by_id.insert(&case.id, case).is_none() {
                found.cases.push(case);
            }
        }
        // The first of a group is the latest, and the last insertion the oldest.
        found.by_id = found
            .cases
            .iter()
            .map(|case| (case.id.as_str(), *case))
            .collect();
        found
    }

    /// The result of a case.
    pub fn get(&self, id: &str) -> Option<&'a CaseResult> {
        self.by_id.get(id).copied()
    }
}

/// The stacks that have cases.
pub(super) fn stacks_with_cases(reports: &[Report]) -> Vec<StackCases<'_>> {
    let stacks = by_stack(reports);
    stacks
        .iter()
        .map(|group| StackCases::of(group))
        .filter(|stack| !stack.cases.is_empty())
        .collect()
}

/// The cases of a family, each as the first stack that has it tells of it.
pub(super) struct FamilyCases<'a> {
    pub kind: CaseKind,
    pub name: &'a str,
    pub cases: Vec<&'a CaseResult>,
}

/// All cases by family: tools before operations, families and cases in the order in which they first occur.
pub(super) fn families<'a>(stacks: &[StackCases<'a>]) -> Vec<FamilyCases<'a>> {
    let mut families: Vec<FamilyCases<'a>> = Vec::new();
    let mut places: BTreeMap<(CaseKind, &str), usize> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for case in stacks.iter().flat_map(|stack| &stack.cases) {
        if !seen.insert(&case.id) {
            continue;
        }
        let name = family(&case.id);
        let at = *places.entry((case.kind, name)).or_insert_with(|| {
            families.push(FamilyCases {
                kind: case.kind,
                name,
                cases: Vec::new(),
            });
            families.len() - 1
        });
        families[at].cases.push(case);
    }
    families.sort_by_key(|family| family.kind == CaseKind::Op);
    families
}

fn family(id: &str) -> &str {
    id.split_once('.').map_or(id, |(family, _)| family)
}

/// A name for `id=` and for links: letters, digits, dots, underscores and hyphens stay, all else is spelt out.
pub(super) fn anchor(id: &str) -> String {
    let mut out = String::from("case-");
    for c in id.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => out.push(c),
            other => out += &format!("~{:x}~", u32::from(other)),
        }
    }
    out
}

/// Whether a result says something of the volume that its cell has no room for.
pub(super) fn needs_words(case: &CaseResult) -> bool {
    !matches!(
        case.verdict,
        Verdict::Works | Verdict::Skipped | Verdict::Invalid
    )
}

impl Matrix {
    pub(super) fn of(reports: &[Report]) -> Self {
        let stacks = stacks_with_cases(reports);
        let families = families(&stacks)
            .iter()
            .map(|family| family_of(family, &stacks))
            .collect();
        let columns = stacks
            .iter()
            .map(|stack| column(stack.report, &stack.cases))
            .collect();
        Matrix { columns, families }
    }
}

fn column(report: &Report, cases: &[&CaseResult]) -> Column {
    let counts = count(cases.iter().map(|c| c.verdict));
    let summary: Vec<_> = counts.iter().map(|(v, n)| format!("{n} {v}")).collect();
    Column {
        name: report.stack.name(),
        about: about(report),
        cases: cases.len(),
        summary: summary.join(", "),
        counts: counts
            .into_iter()
            .map(|(v, count)| Count {
                verdict: v.name(),
                symbol: v.symbol(),
                count,
            })
            .collect(),
    }
}

fn family_of(family: &FamilyCases<'_>, stacks: &[StackCases<'_>]) -> Family {
    let rows: Vec<Row> = family
        .cases
        .iter()
        .map(|case| {
            let found: Vec<_> = stacks.iter().map(|stack| stack.get(&case.id)).collect();
            Row {
                id: case.id.clone(),
                anchor: anchor(&case.id),
                title: case.title.clone(),
                explained: found.iter().flatten().any(|c| needs_words(c)),
                cells: found.into_iter().map(|c| c.map(cell)).collect(),
            }
        })
        .collect();
    let summaries = (0..stacks.len())
        .map(|column| {
            let cells: Vec<&Cell> = rows
                .iter()
                .filter_map(|r| r.cells[column].as_ref())
                .collect();
            let tried = cells
                .iter()
                .filter(|c| !["skipped", "invalid"].contains(&c.verdict))
                .count();
            let works = cells
                .iter()
                .filter(|c| ["works", "degraded"].contains(&c.verdict))
                .count();
            if tried == 0 {
                String::new()
            } else {
                format!("{works} of {tried} work")
            }
        })
        .collect();
    let kind = match family.kind {
        CaseKind::Tool => "tool",
        CaseKind::Op => "operations",
    };
    Family {
        name: family.name.to_owned(),
        anchor: format!("family-{kind}-{}", anchor(family.name)),
        kind,
        summaries,
        rows,
    }
}

fn cell(case: &CaseResult) -> Cell {
    Cell {
        verdict: case.verdict.name(),
        symbol: case.verdict.symbol(),
        note: shorten(&case.note, NOTE),
        cause: case.cause.as_ref().map(|c| c.id.clone()),
        remedies: case
            .remedies
            .iter()
            .filter(|r| r.verified)
            .map(|r| r.title.clone())
            .collect(),
    }
}
