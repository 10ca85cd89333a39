//! The matrix as Markdown shows it.

use serde::Serialize;

use crate::{
    CaseKind, CaseResult, Matrix, Verdict,
    matrix::{Column as Stack, Group},
    report::count,
    text::shorten,
};

/// Columns of a note in a cell; the details have it in full.
const NOTE: usize = 140;

/// The whole matrix.
#[derive(Serialize)]
pub(super) struct Table {
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
    /// How many cases have each verdict.
    pub summary: String,
}

/// A tool or a family of operations.
#[derive(Serialize)]
pub(super) struct Family {
    pub name: String,
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
    /// One for each column; none where that stack has no result.
    pub cells: Vec<Option<Cell>>,
}

/// A case on a stack.
#[derive(Serialize)]
pub(super) struct Cell {
    pub verdict: &'static str,
    pub symbol: char,
    pub note: String,
    /// Titles of the remedies that were verified.
    pub remedies: Vec<String>,
}

/// Whether a result says something of the volume that its cell has no room for.
pub(super) fn needs_words(case: &CaseResult) -> bool {
    !matches!(
        case.verdict,
        Verdict::Works | Verdict::Skipped | Verdict::Invalid
    )
}

impl Table {
    pub(super) fn of(matrix: &Matrix<'_>) -> Self {
        let with_cases = |stack: &&Stack<'_>| !stack.counts().is_empty();
        Table {
            columns: matrix
                .stacks
                .iter()
                .filter(with_cases)
                .map(column)
                .collect(),
            families: (matrix.groups.iter())
                .map(|group| family(group, &matrix.stacks))
                .collect(),
        }
    }
}

fn column(stack: &Stack<'_>) -> Column {
    let counts = stack.counts();
    let summary: Vec<_> = counts.iter().map(|(v, n)| format!("{n} {v}")).collect();
    Column {
        name: stack.name(),
        about: stack.about(),
        summary: summary.join(", "),
    }
}

fn family(group: &Group<'_>, stacks: &[Stack<'_>]) -> Family {
    let shown: Vec<usize> = (0..stacks.len())
        .filter(|at| !stacks[*at].counts().is_empty())
        .collect();
    let kind = match group.kind {
        CaseKind::Tool => "tool",
        CaseKind::Op => "operations",
    };
    Family {
        name: group.name.to_owned(),
        kind,
        summaries: shown.iter().map(|at| summary(group, *at)).collect(),
        rows: (group.rows.iter())
            .map(|row| Row {
                id: row.id.to_owned(),
                cells: (shown.iter())
                    .map(|at| row.cells[*at].map(|placed| cell(placed.case)))
                    .collect(),
            })
            .collect(),
    }
}

/// `3 of 4 work`, or nothing where none was run.
fn summary(group: &Group<'_>, column: usize) -> String {
    let verdicts = group.rows.iter().filter_map(|row| row.cells[column]);
    let counts = count(verdicts.map(|placed| placed.case.verdict));
    let of = |wanted: &[Verdict]| -> usize {
        let wanted = counts
            .iter()
            .filter(|(verdict, _)| wanted.contains(verdict));
        wanted.map(|(_, n)| n).sum()
    };
    let all: usize = counts.iter().map(|(_, n)| n).sum();
    match all - of(&[Verdict::Skipped, Verdict::Invalid]) {
        0 => String::new(),
        tried => format!(
            "{} of {tried} work",
            of(&[Verdict::Works, Verdict::Degraded])
        ),
    }
}

fn cell(case: &CaseResult) -> Cell {
    Cell {
        verdict: case.verdict.name(),
        symbol: case.verdict.symbol(),
        note: shorten(&case.note, NOTE),
        remedies: case
            .remedies
            .iter()
            .filter(|r| r.verified)
            .map(|r| r.title.clone())
            .collect(),
    }
}
