//! Runs: where and when each was made, with its report to download.

use serde::Serialize;

use super::{Context, Count, counts, links};
use crate::{
    Report,
    matrix::{Column, slug},
    text::plural,
};

#[derive(Serialize)]
pub(super) struct RunPage {
    line: RunLine,
    mount_options: String,
    os: String,
    kernel: String,
    arch: String,
    cpus: u32,
    filesystem: String,
    probe9p: String,
    versions: Vec<(String, String)>,
    started: String,
    finished: String,
    partition: String,
    counts: Vec<Count>,
    workloads: usize,
}

/// A run in a list.
#[derive(Serialize)]
pub(super) struct RunLine {
    id: String,
    href: String,
    json: String,
    day: String,
    stack: String,
    stack_href: String,
    state: String,
    host: String,
}

/// The date of a time, as it stands in a report.
pub(super) fn day(time: &str) -> String {
    time.split('T').next().unwrap_or_default().to_owned()
}

pub(super) fn run_line(context: &Context<'_>, report: &Report) -> RunLine {
    let holds = |column: &&Column<'_>| column.runs.iter().any(|run| std::ptr::eq(*run, report));
    let column = context.matrix.stacks.iter().find(holds);
    let done = plural(report.cases.len() + report.bench.len(), "result");
    RunLine {
        id: report.run_id.clone(),
        href: links::run(&report.run_id),
        json: format!("run/{}.json", slug(&report.run_id)),
        day: day(&report.started),
        stack: column.map_or_else(|| report.stack.name(), links::label),
        stack_href: column
            .map(|column| links::stack(&column.id))
            .unwrap_or_default(),
        state: match report.finished {
            Some(_) => done,
            None => format!("interrupted after {done}"),
        },
        host: format!(
            "{}, Linux {} {}",
            report.host.os, report.host.kernel, report.host.arch
        ),
    }
}

pub(super) fn of(context: &Context<'_>, report: &Report) -> RunPage {
    let host = report.host.clone();
    RunPage {
        line: run_line(context, report),
        mount_options: report.stack.mount_options.clone(),
        os: host.os,
        kernel: host.kernel,
        arch: host.arch,
        cpus: host.cpus,
        filesystem: host.filesystem,
        probe9p: host.probe9p,
        versions: report.stack.versions.clone().into_iter().collect(),
        started: report.started.clone(),
        finished: report.finished.clone().unwrap_or_default(),
        partition: report
            .part
            .as_ref()
            .map(|part| part.partition.clone())
            .unwrap_or_default(),
        counts: counts(&report.counts()),
        workloads: report.bench.len(),
    }
}
