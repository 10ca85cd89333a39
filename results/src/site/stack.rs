//! Stacks: what each is made of, how it was run, and what works on it.

use serde::Serialize;

use super::{
    Context, Count, counts, links,
    run::{RunLine, run_line},
};
use crate::{Verdict, matrix::Column, report::count};

#[derive(Serialize)]
pub(super) struct StackPage {
    label: String,
    id: String,
    client: String,
    server: String,
    profile: String,
    cache: String,
    kernel: String,
    filesystem: String,
    mount_options: String,
    versions: Vec<(String, String)>,
    command: String,
    counts: Vec<Count>,
    groups: Vec<GroupLine>,
    runs: Vec<RunLine>,
    own_pages: bool,
}

/// A tool or family on this stack.
#[derive(Serialize)]
struct GroupLine {
    name: String,
    kind: &'static str,
    href: String,
    counts: Vec<Count>,
}

#[derive(Serialize)]
pub(super) struct StackList {
    stacks: Vec<StackLine>,
    runs: Vec<RunLine>,
}

#[derive(Serialize)]
struct StackLine {
    label: String,
    href: String,
    about: String,
    mount_options: String,
    counts: Vec<Count>,
}

pub(super) fn of(context: &Context<'_>, column: &Column<'_>) -> StackPage {
    let (stack, host) = (&column.latest().stack, &column.latest().host);
    let at = context
        .matrix
        .stacks
        .iter()
        .position(|c| c.id == column.id)
        .unwrap_or(0);
    let groups = context.matrix.groups.iter().filter_map(|group| {
        let verdicts: Vec<Verdict> = (group.rows.iter())
            .filter_map(|row| row.cells[at].map(|placed| placed.case.verdict))
            .collect();
        (!verdicts.is_empty()).then(|| GroupLine {
            name: group.name.to_owned(),
            kind: super::kind(group.kind),
            href: links::group(group.kind, group.name),
            counts: counts(&count(verdicts)),
        })
    });
    StackPage {
        label: links::label(column),
        id: column.id.clone(),
        client: stack.client.clone(),
        server: stack.server.clone(),
        profile: stack.profile.clone(),
        cache: stack.cache.clone(),
        kernel: stack.kernel.clone(),
        filesystem: host.filesystem.clone(),
        mount_options: stack.mount_options.clone(),
        versions: stack.versions.clone().into_iter().collect(),
        command: format!("probe9p run --ops all --tool all {}", links::options(stack)),
        counts: counts(&column.counts()),
        groups: groups.collect(),
        runs: column
            .runs
            .iter()
            .map(|report| run_line(context, report))
            .collect(),
        own_pages: context.own_pages,
    }
}

/// Every stack and every run.
pub(super) fn list(context: &Context<'_>) -> StackList {
    let line = |column: &Column<'_>| StackLine {
        label: links::label(column),
        href: links::stack(&column.id),
        about: column.about(),
        mount_options: column.latest().stack.mount_options.clone(),
        counts: counts(&column.counts()),
    };
    StackList {
        stacks: context.matrix.stacks.iter().map(line).collect(),
        runs: (context.reports.iter().rev())
            .map(|report| run_line(context, report))
            .collect(),
    }
}
