//! A report, built from the events of a run.

use std::collections::BTreeMap;

use crate::{BenchResult, CaseResult, Event, Report, RunStarted, Verdict};

impl Report {
    /// The report of a run that has begun and has no result yet.
    pub fn begin(run: &RunStarted) -> Self {
        Report {
            schema_version: run.schema_version,
            run_id: run.run_id.clone(),
            started: run.started.clone(),
            finished: None,
            host: run.host.clone(),
            stack: run.stack.clone(),
            cases: Vec::new(),
            bench: Vec::new(),
        }
    }

    /// The report as one JSON document, indented, with a line break at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("a report holds nothing but strings, numbers and maps of strings");
        text.push('\n');
        text
    }

    /// How many cases have each verdict; those that none has are left out. In the order of [`Verdict::ALL`].
    pub fn counts(&self) -> Vec<(Verdict, usize)> {
        count(self.cases.iter().map(|c| c.verdict))
    }
}

/// How many times each verdict occurs, in the order of [`Verdict::ALL`], without those that don't occur.
pub(crate) fn count(verdicts: impl IntoIterator<Item = Verdict>) -> Vec<(Verdict, usize)> {
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for verdict in verdicts {
        *counts.entry(verdict).or_default() += 1;
    }
    Verdict::ALL
        .into_iter()
        .filter_map(|v| counts.get(&v).map(|n| (v, *n)))
        .collect()
}

/// Gathers the events of one run into a [`Report`].
#[derive(Debug, Clone, Default)]
pub struct ReportBuilder {
    report: Option<Report>,
    /// Ids in the order of the plan.
    planned: Vec<String>,
    ended: bool,
}

/// Why an event cannot belong to the run that is being gathered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutOfOrder {
    /// Something happened before the run began.
    #[error("an event stands before run_started, which must be the first")]
    NotStarted,
    /// A second run began.
    #[error("a second run begins here; a file of events holds one run only")]
    StartedTwice,
    /// Something happened after the run's end.
    #[error("an event stands after the end of the run")]
    Ended,
    /// A case or workload has two results.
    #[error("{0} already has a result")]
    Twice(String),
}

impl ReportBuilder {
    /// Takes one event in.
    ///
    /// # Errors
    /// When the event cannot follow those before it; the builder is then unchanged.
    pub fn event(&mut self, event: &Event) -> Result<(), OutOfOrder> {
        if let Event::RunStarted(run) = event {
            if self.report.is_some() {
                return Err(OutOfOrder::StartedTwice);
            }
            self.report = Some(Report::begin(run));
            self.planned = run.planned.clone();
            return Ok(());
        }
        let report = self.report.as_mut().ok_or(OutOfOrder::NotStarted)?;
        if self.ended {
            return Err(OutOfOrder::Ended);
        }
        match event {
            Event::RunStarted(_) | Event::CaseStarted { .. } => {}
            Event::CaseFinished(case) => add_case(report, &self.planned, case)?,
            Event::BenchFinished(bench) => add_bench(report, bench)?,
            Event::RunFinished { finished } => {
                report.finished = Some(finished.clone());
                self.ended = true;
            }
            Event::RunInterrupted { .. } => self.ended = true,
        }
        Ok(())
    }

    /// The report so far; `None` before the run began.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// How many cases or workloads were planned.
    pub fn planned(&self) -> usize {
        self.planned.len()
    }

    /// The report, whether or not the run came to its end; `None` before the run began.
    pub fn into_report(self) -> Option<Report> {
        self.report
    }
}

/// Puts a result in its place: cases end in any order, a report has them in the order of the plan.
fn add_case(report: &mut Report, planned: &[String], case: &CaseResult) -> Result<(), OutOfOrder> {
    if report.cases.iter().any(|c| c.id == case.id) {
        return Err(OutOfOrder::Twice(case.id.clone()));
    }
    let place = |id: &str| planned.iter().position(|p| p == id).unwrap_or(usize::MAX);
    let at = report
        .cases
        .partition_point(|c| place(&c.id) <= place(&case.id));
    report.cases.insert(at, case.clone());
    Ok(())
}

fn add_bench(report: &mut Report, bench: &BenchResult) -> Result<(), OutOfOrder> {
    if report.bench.iter().any(|b| b.workload == bench.workload) {
        return Err(OutOfOrder::Twice(bench.workload.clone()));
    }
    report.bench.push(bench.clone());
    Ok(())
}
