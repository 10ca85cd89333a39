//! Rows of the matrix, as the front page and the pages of tools show them.
//!
//! Neighbouring cells that say the same are one cell in the markup; the script cuts them apart again where columns
//! are to be hidden. That, and a letter for each verdict, is what keeps a large matrix small.

use serde::Serialize;

use super::{Context, case::finding_of, class, kind, links};
use crate::{
    CaseResult, Verdict,
    matrix::{Group, Placed, Row, name_in_family, series, slug},
    report::count,
    text::shorten,
};

/// Columns of a note in a cell.
const NOTE: usize = 44;

/// The head of a column.
#[derive(Serialize)]
pub(super) struct Head {
    pub id: String,
    pub href: String,
    pub client: String,
    pub server: String,
    pub profile: String,
    pub kernel: String,
    pub cache: String,
    pub filesystem: String,
    pub label: String,
}

/// A tool or family.
#[derive(Serialize)]
pub(super) struct Section {
    pub name: String,
    pub kind: &'static str,
    pub anchor: String,
    pub href: String,
    pub summary: String,
    pub cases: usize,
    /// How a tool does in one line: `works with …`.
    pub helps: Option<String>,
    /// One for each stack.
    pub sums: Vec<Sum>,
    /// Its cases; empty where the front page leaves them to the group's own.
    pub rows: Vec<Line>,
}

/// A group on a stack.
#[derive(Serialize)]
pub(super) struct Sum {
    /// The class of the worst verdict; none without a result.
    pub class: Option<char>,
    pub works: usize,
    pub tried: usize,
    /// `2 workaround, 1 fails`.
    pub rest: String,
}

/// A case on every stack.
#[derive(Serialize)]
pub(super) struct Line {
    /// The id without the group's name.
    pub name: String,
    /// Absent where the words on the case have it.
    pub anchor: Option<String>,
    /// From the page that shows the row; absent where there is no more to say.
    pub href: Option<String>,
    pub title: String,
    pub cells: Vec<Cell>,
}

/// A case on one stack, or on several neighbouring ones that say the same.
#[derive(Serialize, PartialEq)]
pub(super) struct Cell {
    pub class: Option<char>,
    pub verdict: &'static str,
    pub note: String,
    pub href: Option<String>,
    pub span: usize,
}

pub(super) fn heads(context: &Context<'_>) -> Vec<Head> {
    let head = |column: &crate::matrix::Column<'_>| {
        let (stack, host) = (&column.latest().stack, &column.latest().host);
        Head {
            id: column.id.clone(),
            href: links::stack(&column.id),
            client: stack.client.clone(),
            server: stack.server.clone(),
            profile: stack.profile.clone(),
            kernel: series(&stack.kernel),
            cache: stack.cache.clone(),
            filesystem: host.filesystem.clone(),
            label: links::label(column),
        }
    };
    context.matrix.stacks.iter().map(head).collect()
}

pub(super) fn section(context: &Context<'_>, group: &Group<'_>, rows: bool, up: &str) -> Section {
    let sums = (0..context.matrix.stacks.len())
        .map(|at| sum(group.rows.iter().filter_map(|row| row.cells[at])))
        .collect();
    Section {
        name: group.name.to_owned(),
        kind: kind(group.kind),
        anchor: format!("{}-{}", kind(group.kind), slug(group.name)),
        href: links::group(group.kind, group.name),
        summary: context
            .background
            .summaries
            .get(group.name)
            .cloned()
            .unwrap_or_default(),
        cases: group.rows.len(),
        helps: (group.kind == crate::CaseKind::Tool)
            .then(|| crate::forms::helps::line(context.matrix, group))
            .flatten(),
        sums,
        rows: if rows {
            group
                .rows
                .iter()
                .map(|row| line(context, row, up))
                .collect()
        } else {
            Vec::new()
        },
    }
}

fn sum<'a>(cells: impl Iterator<Item = Placed<'a>>) -> Sum {
    let verdicts: Vec<Verdict> = cells.map(|placed| placed.case.verdict).collect();
    let says = |v: &&Verdict| !matches!(v, Verdict::Skipped | Verdict::Invalid);
    let works = |v: &&Verdict| matches!(v, Verdict::Works | Verdict::Degraded);
    let rest: Vec<String> = (count(verdicts.iter().copied()).into_iter())
        .filter(|(verdict, _)| *verdict != Verdict::Works)
        .map(|(verdict, n)| format!("{n} {verdict}"))
        .collect();
    // Of a group that only was skipped, that is all there is to say.
    let worst = (verdicts.iter().filter(says))
        .max_by_key(|v| v.severity())
        .or(verdicts.first());
    Sum {
        class: worst.map(|v| class(*v)),
        works: verdicts.iter().filter(works).count(),
        tried: verdicts.iter().filter(says).count(),
        rest: rest.join(", "),
    }
}

fn line(context: &Context<'_>, row: &Row<'_>, up: &str) -> Line {
    let (anchor, href) = match (context.own_pages, super::group::in_trouble(row)) {
        (true, _) => (
            Some(slug(row.id)),
            Some(format!("{up}{}", links::case_page(row.id))),
        ),
        (false, true) => (None, Some(format!("#{}", links::anchor(row.id)))),
        (false, false) => (Some(links::anchor(row.id)), None),
    };
    let mut cells: Vec<Cell> = Vec::new();
    for placed in &row.cells {
        let cell = cell(
            context,
            row,
            placed.map(|placed| placed.case),
            href.as_deref(),
        );
        match cells.last_mut() {
            Some(last)
                if Cell {
                    span: 1,
                    ..last.copy()
                } == cell =>
            {
                last.span += 1
            }
            _ => cells.push(cell),
        }
    }
    Line {
        name: name_in_family(row.id).to_owned(),
        anchor,
        title: row.title.to_owned(),
        cells,
        href,
    }
}

impl Cell {
    fn copy(&self) -> Cell {
        Cell {
            note: self.note.clone(),
            href: self.href.clone(),
            ..*self
        }
    }
}

fn cell(
    context: &Context<'_>,
    row: &Row<'_>,
    case: Option<&CaseResult>,
    href: Option<&str>,
) -> Cell {
    let Some(case) = case else {
        return Cell {
            class: None,
            verdict: "",
            note: String::new(),
            href: None,
            span: 1,
        };
    };
    let plain = matches!(
        case.verdict,
        Verdict::Works | Verdict::Skipped | Verdict::Invalid
    );
    Cell {
        class: Some(class(case.verdict)),
        verdict: case.verdict.name(),
        note: note(case),
        // Without a page of its own the case's words are below its row.
        href: (href.filter(|_| !plain && context.own_pages))
            .map(|href| format!("{href}#{}", finding_of(row, case))),
        span: 1,
    }
}

/// The least that tells what happened: the remedy that helps, or the call and its errno.
fn note(case: &CaseResult) -> String {
    if matches!(
        case.verdict,
        Verdict::Works | Verdict::Skipped | Verdict::Invalid
    ) {
        return String::new();
    }
    let helps = case.remedies.iter().find(|remedy| remedy.verified);
    if let (Verdict::Workaround, Some(remedy)) = (case.verdict, helps) {
        return shorten(&format!("with {}", remedy.id), NOTE);
    }
    match (&case.volume.call, &case.volume.errno) {
        (Some(call), Some(errno)) => shorten(&format!("{call}: {errno}"), NOTE),
        _ => shorten(&case.note, NOTE),
    }
}
