//! Throughput: for each workload a picture and a table, native against every stack.

use serde::Serialize;

use super::plot::{self, Bar};
use crate::{BenchResult, Report, Samples, matrix::about, text::number};

/// A workload on all stacks.
#[derive(Serialize)]
pub(crate) struct Workload {
    pub id: String,
    pub title: String,
    pub unit: String,
    /// The picture, as SVG that is safe to embed.
    pub svg: String,
    pub rows: Vec<Row>,
}

/// A workload on one stack.
#[derive(Serialize)]
pub(crate) struct Row {
    pub stack: String,
    pub about: String,
    pub native: Figures,
    pub volume: Figures,
    pub ratio: String,
    /// Samples on each side: `11`, or `11/12` where they differ.
    pub samples: String,
    pub warnings: Vec<String>,
}

/// A median and its interval, as written on the page.
#[derive(Serialize)]
pub(crate) struct Figures {
    pub median: String,
    pub low: String,
    pub high: String,
}

/// The workloads in the order in which they first occur, on stacks that are given as their runs, the latest
/// first: of several results of one stack the latest.
pub(crate) fn workloads(stacks: &[Vec<&Report>]) -> Vec<Workload> {
    let mut workloads: Vec<&BenchResult> = Vec::new();
    for bench in stacks.iter().flatten().flat_map(|r| &r.bench) {
        if workloads
            .iter()
            .all(|b| (&b.workload, &b.unit) != (&bench.workload, &bench.unit))
        {
            workloads.push(bench);
        }
    }
    workloads
        .into_iter()
        .map(|first| workload(first, stacks))
        .collect()
}

fn workload(first: &BenchResult, stacks: &[Vec<&Report>]) -> Workload {
    let results: Vec<(&Report, &BenchResult)> = stacks
        .iter()
        .filter_map(|group| {
            group.iter().find_map(|report| {
                let same =
                    |b: &&BenchResult| (&b.workload, &b.unit) == (&first.workload, &first.unit);
                report.bench.iter().find(same).map(|b| (*report, b))
            })
        })
        .collect();
    let bars: Vec<Bar<'_>> = results
        .iter()
        .flat_map(|(report, bench)| {
            let name = report.stack.name();
            [
                Bar {
                    label: format!("native ({})", report.host.filesystem),
                    native: true,
                    samples: &bench.native,
                },
                Bar {
                    label: name,
                    native: false,
                    samples: &bench.volume,
                },
            ]
        })
        .collect();
    Workload {
        id: first.workload.clone(),
        title: first.title.clone(),
        unit: first.unit.clone(),
        svg: plot::svg(&first.title, &first.unit, &bars),
        rows: results
            .into_iter()
            .map(|(report, bench)| row(report, bench))
            .collect(),
    }
}

fn row(report: &Report, bench: &BenchResult) -> Row {
    Row {
        stack: report.stack.name(),
        about: about(report),
        native: figures(&bench.native),
        volume: figures(&bench.volume),
        ratio: number(bench.ratio),
        samples: match (bench.native.rates.len(), bench.volume.rates.len()) {
            (native, volume) if native == volume => native.to_string(),
            (native, volume) => format!("{native}/{volume}"),
        },
        warnings: bench.warnings.clone(),
    }
}

fn figures(samples: &Samples) -> Figures {
    Figures {
        median: number(samples.median),
        low: number(samples.low),
        high: number(samples.high),
    }
}
