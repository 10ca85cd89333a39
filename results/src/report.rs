//! A report, built from the events of a run.

use std::collections::BTreeMap;

use crate::{BenchResult, CaseResult, Event, Report, RunStarted, Samples, Verdict, integrity};

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
            part: run.part.clone(),
            integrity: None,
        }
    }

    /// The report without what differs between two runs that saw the same: times, rates, digests and the run's name.
    pub fn without_times(&self) -> Report {
        let mut report = self.clone();
        report.run_id.clear();
        report.started.clear();
        report.finished = report.finished.map(|_| String::new());
        report.integrity = None;
        for case in &mut report.cases {
            case.native.duration_ms = 0.0;
            case.volume.duration_ms = 0.0;
        }
        for bench in &mut report.bench {
            (bench.native, bench.volume) = (Samples::of([]), Samples::of([]));
            bench.ratio = 0.0;
            bench.warnings.clear();
        }
        report
    }

    /// The events of a run that would give this report: for consumers that know events only.
    pub fn events(&self) -> Vec<Event> {
        let ids = self.cases.iter().map(|case| &case.id);
        let planned = ids.chain(self.bench.iter().map(|bench| &bench.workload));
        let mut events = vec![Event::RunStarted(Box::new(RunStarted {
            schema_version: self.schema_version,
            run_id: self.run_id.clone(),
            started: self.started.clone(),
            host: self.host.clone(),
            stack: self.stack.clone(),
            planned: planned.cloned().collect(),
            part: self.part.clone(),
        }))];
        let cases = self.cases.iter().cloned().map(Box::new);
        events.extend(cases.map(Event::CaseFinished));
        let bench = self.bench.iter().cloned().map(Box::new);
        events.extend(bench.map(Event::BenchFinished));
        events.push(match &self.finished {
            Some(finished) => Event::RunFinished {
                finished: finished.clone(),
            },
            None => Event::RunInterrupted {
                reason: "it ended before its plan was done".into(),
            },
        });
        events
    }

    /// The report as one JSON document with its digests, indented, with a line break at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.sealed())
            .expect("a report holds nothing but strings, numbers and maps of strings");
        text.push('\n');
        text
    }

    /// The same document with a line for each case and workload: half as long, and made for version control.
    pub fn to_compact_json(&self) -> String {
        const PLAIN: &str = "a report holds nothing but strings, numbers and maps of strings";
        let lines = |items: Vec<String>| format!("[\n{}\n]", items.join(",\n"));
        let serde_json::Value::Object(members) = serde_json::to_value(self.sealed()).expect(PLAIN)
        else {
            unreachable!("a report is an object");
        };
        let members = members.iter().map(|(name, value)| {
            let text = match value {
                serde_json::Value::Array(items) if !items.is_empty() => {
                    lines(items.iter().map(ToString::to_string).collect())
                }
                other => other.to_string(),
            };
            format!("{}:{text}", serde_json::Value::from(name.as_str()))
        });
        format!("{{{}}}\n", members.collect::<Vec<_>>().join(",\n"))
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
    // Each case's digest is taken once: the report is written after every case.
    let digests = report.integrity.get_or_insert_default();
    digests.cases.insert(at, integrity::digest(case));
    Ok(())
}

fn add_bench(report: &mut Report, bench: &BenchResult) -> Result<(), OutOfOrder> {
    if report.bench.iter().any(|b| b.workload == bench.workload) {
        return Err(OutOfOrder::Twice(bench.workload.clone()));
    }
    report.bench.push(bench.clone());
    let digests = report.integrity.get_or_insert_default();
    digests.bench.push(integrity::digest(bench));
    Ok(())
}
