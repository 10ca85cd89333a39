//! The page of a tool or of a family of operations: its part of the matrix, and what does not work in it.

use serde::Serialize;

use super::{
    Context, case,
    case::Finding,
    links,
    rows::{Head, Section, heads, section},
};
use crate::{
    CaseKind, Verdict,
    matrix::{Group, Row},
};

#[derive(Serialize)]
pub(super) struct GroupPage {
    heads: Vec<Head>,
    group: Section,
    troubles: Vec<Trouble>,
    /// How many cases work on every stack.
    fine: usize,
    command: String,
    own_pages: bool,
}

/// One or several cases that do not work everywhere as they are, all in the same way.
#[derive(Serialize)]
struct Trouble {
    cases: Vec<Case>,
    /// Their ids, as `--case` takes them.
    ids: String,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Case {
    id: String,
    /// Where the case has no page of its own, this is where links to it lead.
    anchor: Option<String>,
    href: Option<String>,
    title: String,
}

pub(super) fn of(context: &Context<'_>, group: &Group<'_>) -> GroupPage {
    let mut troubles: Vec<Trouble> = Vec::new();
    for row in group.rows.iter().filter(|row| in_trouble(row)) {
        add(context, &mut troubles, row);
    }
    let option = match group.kind {
        CaseKind::Tool => "--tool",
        CaseKind::Op => "--ops",
    };
    GroupPage {
        heads: heads(context),
        group: section(context, group, true, "../"),
        fine: (group.rows.iter())
            .filter(|row| row.works_everywhere())
            .count(),
        troubles,
        command: format!("probe9p run {option} {}", group.name),
        own_pages: context.own_pages,
    }
}

/// Puts a case beside those that are in the same trouble.
fn add(context: &Context<'_>, troubles: &mut Vec<Trouble>, row: &Row<'_>) {
    let says = |finding: &Finding| !["works", "skipped", "invalid"].contains(&finding.verdict);
    let findings = case::findings(context, row).into_iter().filter(says);
    let findings: Vec<Finding> = findings.collect();
    let case = Case {
        id: row.id.to_owned(),
        anchor: (!context.own_pages).then(|| links::anchor(row.id)),
        href: (context.own_pages).then(|| links::case_page(row.id)),
        title: row.title.to_owned(),
    };
    let same = |trouble: &&mut Trouble| {
        let pairs = || trouble.findings.iter().zip(&findings);
        trouble.findings.len() == findings.len() && pairs().all(|(a, b)| a.tells_the_same(b))
    };
    match troubles.iter_mut().find(same) {
        Some(known) => {
            known.ids += &format!(",{}", row.id);
            known.cases.push(case);
        }
        None => troubles.push(Trouble {
            cases: vec![case],
            ids: row.id.to_owned(),
            findings,
        }),
    }
}

/// Whether some stack says of the case what its cell has no room for.
pub(super) fn in_trouble(row: &Row<'_>) -> bool {
    let says = |v| !matches!(v, Verdict::Works | Verdict::Skipped | Verdict::Invalid);
    row.cells
        .iter()
        .flatten()
        .any(|placed| says(placed.case.verdict))
}
