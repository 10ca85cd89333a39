//! One Markdown page of any number of reports, for a README or an issue; and what it shares with the site.
//!
//! It is a pure function of the reports. [`matrix`] and [`throughput`] turn reports into what the page shows;
//! the templates in `results/templates/` only lay it out. Everything that comes from a report is escaped where
//! it is written, by the renderer and not by the templates, so that no template can forget it.

mod details;
mod matrix;
pub(crate) mod plot;
mod render;
pub(crate) mod throughput;

pub(crate) use render::{escape_html, escape_markdown, markdown_code, render};
use serde::Serialize;

use crate::{Matrix, Report, Verdict};

/// What the page shows.
#[derive(Serialize)]
struct Page {
    matrix: matrix::Table,
    details: Vec<details::Detail>,
    throughput: Vec<throughput::Workload>,
    runs: Vec<Run>,
    legend: Vec<Legend>,
}

/// One report, as the page names its sources.
#[derive(Serialize)]
struct Run {
    id: String,
    started: String,
    stack: String,
    kernel: String,
    cache: String,
    mount_options: String,
    versions: String,
    host: String,
    filesystem: String,
    probe9p: String,
    state: String,
}

/// A verdict and what it means.
#[derive(Serialize)]
struct Legend {
    name: &'static str,
    symbol: char,
    meaning: &'static str,
}

impl Page {
    fn of(reports: &[Report]) -> Self {
        let all = Matrix::of(reports);
        let runs: Vec<_> = all.stacks.iter().map(|stack| stack.runs.clone()).collect();
        Page {
            details: details::of(&all),
            throughput: throughput::workloads(&runs),
            runs: reports.iter().map(run).collect(),
            legend: Verdict::ALL
                .into_iter()
                .map(|v| Legend {
                    name: v.name(),
                    symbol: v.symbol(),
                    meaning: v.meaning(),
                })
                .collect(),
            matrix: matrix::Table::of(&all),
        }
    }
}

fn run(report: &Report) -> Run {
    let (stack, host) = (&report.stack, &report.host);
    let versions: Vec<_> = stack
        .versions
        .iter()
        .map(|(k, v)| format!("{k} {v}"))
        .collect();
    let done = crate::text::plural(report.cases.len() + report.bench.len(), "result");
    Run {
        id: report.run_id.clone(),
        started: report.started.clone(),
        stack: stack.name(),
        kernel: stack.kernel.clone(),
        cache: stack.cache.clone(),
        mount_options: stack.mount_options.clone(),
        versions: versions.join(", "),
        host: format!(
            "{}, Linux {} {}, {}",
            host.os,
            host.kernel,
            host.arch,
            crate::text::plural(host.cpus as usize, "processor")
        ),
        filesystem: host.filesystem.clone(),
        probe9p: host.probe9p.clone(),
        state: match report.finished {
            Some(_) => done,
            None => format!("interrupted after {done}"),
        },
    }
}

/// One Markdown page, for a README or an issue.
pub fn markdown(reports: &[Report]) -> String {
    render("report.md", &Page::of(reports))
}
