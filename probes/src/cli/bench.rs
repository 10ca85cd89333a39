//! `probe9p bench`: throughput natively and on a volume, and their ratio.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use clap::Args;
use probes::{
    bench::{self, Options, Place, Workload, host_cache, workload},
    runner::{
        cancel::Cancel,
        clock, host,
        side::Side,
        volume::{Volume, Wanted},
    },
};
use results::{
    BenchResult, Event, Format, Report, RunStarted, SCHEMA_VERSION,
    diff::{self, Finding},
};
use server9p::stack::StackError;

use super::{
    Exit, Failure, Outcome,
    interrupt::Interrupt,
    sinks::Sinks,
    values::scale,
    volume_args::{VolumeArgs, bring_up},
};

/// Options of `probe9p bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// What to measure, by names of `probe9p list workloads` [default: all]
    #[arg(long, short, value_name = "NAME,…", value_delimiter = ',')]
    workload: Vec<String>,
    /// Measure the workloads of this file, in the format of probes/workloads.toml, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    workloads: Option<PathBuf>,
    /// How long to measure each workload, both sides together
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = scale)]
    seconds: f64,
    /// Size of the file that is read and written, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    file_size: u64,
    /// Hold the rates against those of an earlier report, and say on standard error what its intervals allow to say
    #[arg(long, value_name = "REPORT")]
    compare: Option<PathBuf>,
    /// Put what is read out of the host's page cache before each turn, so that disks are measured too
    #[arg(long)]
    cold: bool,

    #[command(flatten)]
    volume: VolumeArgs,
    /// Measure this directory, which is mounted already, instead of bringing a volume up
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "The volume",
        conflicts_with_all = ["client", "server", "profile", "cache", "kernel", "run_as"]
    )]
    path: Option<PathBuf>,

    /// What standard output gets: table, json, jsonl, junit or tap
    #[arg(long, short, default_value = "table", value_parser = Format::from_str, help_heading = "What is written")]
    format: Format,
    /// Keep the whole report in this file, whole after every workload
    #[arg(long, value_name = "FILE", help_heading = "What is written")]
    out: Option<PathBuf>,
}

/// How the measuring ended.
enum Ending {
    Complete,
    Cancelled,
    Lost(StackError),
}

impl Bench {
    /// Measures the workloads that were asked for and writes what came of them.
    pub fn run(self) -> Outcome {
        let workloads = self.chosen()?;
        let baseline = self.compare.as_deref().map(baseline).transpose()?;
        let mut sinks = Sinks::open(self.format, self.out.as_deref(), None)?;
        let cancel = Arc::new(Cancel::default());
        let interrupt = Interrupt::watch(Arc::clone(&cancel))?;
        let began = SystemTime::now();
        let up = bring_up(&mut Wanted {
            path: self.path.clone(),
            ..self.volume.wanted()
        })?;
        cancel.watch(&up.native.world);
        cancel.watch(&up.volume.world);
        sinks.emit(&Event::RunStarted(Box::new(RunStarted {
            schema_version: SCHEMA_VERSION,
            run_id: clock::run_id(began),
            started: clock::rfc3339(began),
            host: host::describe(&up.native.here),
            stack: up.stack.clone(),
            planned: workloads
                .iter()
                .map(|workload| workload.name.clone())
                .collect(),
            part: None,
        })));
        let ending = self.measure(&workloads, &up, &mut sinks, &cancel, baseline.as_ref());
        end(ending, sinks, &interrupt)
    }

    /// The workloads in their usual order, each once.
    fn chosen(&self) -> Result<Vec<Workload>, Failure> {
        workload::load(self.workloads.as_deref())
            .and_then(|all| workload::choose(all, &self.workload))
            .map_err(|error| Failure::Usage(error.to_string()))
    }

    fn measure(
        &self,
        workloads: &[Workload],
        up: &Volume,
        sinks: &mut Sinks,
        cancel: &Cancel,
        baseline: Option<&Report>,
    ) -> Ending {
        let options = Options {
            time: Duration::from_secs_f64(self.seconds),
            file_mib: self.file_size,
            cold: self.cold,
            memory_only: host_cache::memory_only(&up.native.here),
        };
        let places = place(&up.native).and_then(|native| Ok((native, place(&up.volume)?)));
        let (native, volume) = match places {
            Ok(places) => places,
            Err(error) => return Ending::Lost(error),
        };
        for workload in workloads {
            match bench::measure(workload, &native, &volume, &options, &|| cancel.asked()) {
                Ok(Some(result)) => {
                    if let Some(baseline) = baseline {
                        eprintln!("probe9p: {}", compared(baseline, &result));
                    }
                    sinks.emit(&Event::BenchFinished(Box::new(result)));
                }
                Ok(None) | Err(StackError::Cancelled) => return Ending::Cancelled,
                Err(error) => return Ending::Lost(error),
            }
            if sinks.stopped() {
                return Ending::Cancelled;
            }
        }
        Ending::Complete
    }
}

/// The earlier report that rates are held against.
fn baseline(file: &Path) -> Result<Report, Failure> {
    let report = Report::read(file).map_err(|error| Failure::Usage(error.to_string()))?;
    if report.bench.is_empty() {
        return Err(Failure::Usage(format!(
            "{} has no rates to compare with; name a report that `probe9p bench --out` has written",
            file.display()
        )));
    }
    Ok(report)
}

/// One line on what became of a workload's rate.
fn compared(baseline: &Report, now: &BenchResult) -> String {
    let same = |old: &&BenchResult| (&old.workload, &old.unit) == (&now.workload, &now.unit);
    let Some(before) = baseline.bench.iter().find(same) else {
        return format!("{}: not in the baseline", now.workload);
    };
    let finding = match diff::finding(before, now) {
        Finding::Regression => "regression",
        Finding::Improvement => "improvement",
        Finding::Inconclusive => "inconclusive",
    };
    let change = |before: f64, now: f64| format!("{before:.0} to {now:.0}");
    format!(
        "{}: {finding}: volume {} {unit}, native {} {unit}",
        now.workload,
        change(before.volume.median, now.volume.median),
        change(before.native.median, now.native.median),
        unit = now.unit,
    )
}

/// A fresh directory of a side, to measure in.
fn place(side: &Side) -> Result<Place, StackError> {
    let (here, there) = side.fresh("bench")?;
    Ok(Place {
        world: Arc::clone(&side.world),
        there,
        here,
    })
}

/// Tells the sinks how it ended, and says which exit code that is.
fn end(ending: Ending, mut sinks: Sinks, interrupt: &Interrupt) -> Outcome {
    let outcome = match ending {
        Ending::Complete => {
            sinks.emit(&Event::RunFinished {
                finished: clock::rfc3339(SystemTime::now()),
            });
            Ok(Exit::Completed)
        }
        Ending::Cancelled => {
            let reason = match interrupt.signal() {
                Some(name) => format!("{name} was received."),
                None => "The results can not be written.".to_owned(),
            };
            sinks.emit(&Event::RunInterrupted { reason });
            Ok(Exit::Interrupted)
        }
        Ending::Lost(error) => {
            sinks.emit(&Event::RunInterrupted {
                reason: format!("{error}."),
            });
            Err(Failure::NoStack(error.to_string()))
        }
    };
    sinks.close().and(outcome)
}
