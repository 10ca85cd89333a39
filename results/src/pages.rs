//! Pages for people, made of any number of reports: one Markdown page and one self-contained HTML page.
//!
//! Both are pure functions of the reports. [`matrix`] and [`throughput`] turn reports into what the pages show;
//! the templates in `results/templates/` only lay it out. Everything that comes from a report is escaped where
//! it is written, by the renderer and not by the templates, so that no template can forget it.

mod details;
mod matrix;
mod plot;
mod render;
mod throughput;

pub(crate) use render::{escape_markdown, markdown_code};
use serde::Serialize;

use crate::{Report, Verdict};

/// What both pages show.
#[derive(Serialize)]
struct Page {
    matrix: matrix::Matrix,
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
        let matrix = matrix::Matrix::of(reports);
        Page {
            details: details::of(reports),
            throughput: throughput::of(reports),
            runs: reports.iter().map(run).collect(),
            legend: Verdict::ALL
                .into_iter()
                .map(|v| Legend {
                    name: v.name(),
                    symbol: v.symbol(),
                    meaning: v.meaning(),
                })
                .collect(),
            matrix,
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

/// One HTML page that needs nothing else: no script, no other file, no network.
pub fn html(reports: &[Report]) -> String {
    render::render("index.html", &Page::of(reports))
}

/// One Markdown page, for a README or an issue.
pub fn markdown(reports: &[Report]) -> String {
    render::render("report.md", &Page::of(reports))
}
