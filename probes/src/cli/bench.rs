//! `probe9p bench`: throughput natively and on one or more volumes, and their ratio.

mod many;
mod variants;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use clap::Args;
use probes::{
    bench::{self, Options, Place, Work, fio, host_cache, workload},
    runner::{
        cancel::Cancel,
        clock, host,
        side::Side,
        stack_name::StackName,
        volume::{Volume, Wanted},
    },
};
use results::{
    BenchResult, Event, Format, Report, RunStarted, SCHEMA_VERSION,
    diff::{self, Finding},
};
use server9p::stack::StackError;

use self::{
    many::{Many, Plot},
    variants::Sweep,
};
use super::{
    Exit, Failure, Outcome,
    interrupt::Interrupt,
    sinks::Sinks,
    terminal::look,
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
    /// Measure the jobs of this fio job file instead, with fio
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workload", "workloads", "cold"])]
    fio: Option<PathBuf>,
    /// Measure on these stacks, turn by turn, such as fuse/server9p/golem,uml/diod/posix
    #[arg(long, value_name = "STACK,…", value_delimiter = ',', conflicts_with_all = ["path", "client", "server", "profile"])]
    stack: Vec<StackName>,
    /// Measure with each of these values of msize or cache, turn by turn: msize=8k..1M, cache=none,mmap,loose
    #[arg(long, value_name = "OPTION=VALUES", conflicts_with = "path")]
    sweep: Vec<Sweep>,
    /// Draw the rates into this file, as SVG
    #[arg(long, value_name = "FILE.svg", help_heading = "What is written")]
    plot: Option<PathBuf>,
    /// How long to measure each workload, two sides together
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
        let works = self.chosen()?;
        let baseline = self.compare.as_deref().map(baseline).transpose()?;
        let base = Wanted {
            path: self.path.clone(),
            ..self.volume.wanted()
        };
        let variants = variants::variants(&base, &self.stack, &self.sweep);
        let names: Vec<String> = variants.iter().map(|one| one.name.clone()).collect();
        let mut written = match &variants[..] {
            [_] => Written::One(Sinks::open(self.format, look(), self.out.as_deref(), None)?),
            _ => Written::Many(Many::open(self.format, self.out.as_deref(), names.clone())?),
        };
        let plot = self.plot.as_deref();
        let mut plot = plot.map(|path| Plot::new(path, names)).transpose()?;
        let cancel = Arc::new(Cancel::default());
        let interrupt = Interrupt::watch(Arc::clone(&cancel))?;
        let began = SystemTime::now();
        let mut volumes = Vec::new();
        for mut variant in variants {
            let up = bring_up(&mut variant.wanted)?;
            cancel.watch(&up.native.world);
            cancel.watch(&up.volume.world);
            volumes.push(up);
        }
        if self.fio.is_some() {
            for side in volumes.iter().flat_map(|up| [&up.native, &up.volume]) {
                let missing = fio::missing(&*side.world);
                if let Some(why) = missing.map_err(|error| Failure::NoStack(error.to_string()))? {
                    eprintln!("probe9p: skipped: --fio: {why}");
                    return Ok(Exit::NothingSelected);
                }
            }
        }
        for (index, up) in volumes.iter().enumerate() {
            let started = Event::RunStarted(Box::new(RunStarted {
                schema_version: SCHEMA_VERSION,
                run_id: clock::run_id(began),
                started: clock::rfc3339(began),
                host: host::describe(&up.native.here),
                stack: up.stack.clone(),
                planned: works.iter().map(|work| work.about().name).collect(),
                part: None,
            }));
            written.emit(index, &started);
        }
        let ending = self.measure(&works, &volumes, &mut written, &cancel, |results| {
            if let Some(baseline) = &baseline {
                for (result, up) in results.iter().zip(&volumes) {
                    let of = match volumes.len() {
                        1 => String::new(),
                        _ => format!("{}: ", up.stack.name()),
                    };
                    eprintln!("probe9p: {of}{}", compared(baseline, result));
                }
            }
            plot.as_mut().map_or(Ok(()), |plot| plot.measured(results))
        });
        end(ending?, written, volumes.len(), &interrupt)
    }

    /// What is measured: fio's jobs, or the workloads in their usual order, each once.
    fn chosen(&self) -> Result<Vec<Box<dyn Work>>, Failure> {
        if let Some(file) = &self.fio {
            let jobs = fio::load(file).map_err(|error| Failure::Usage(error.to_string()))?;
            return Ok(jobs.into_iter().map(|job| Box::new(job) as _).collect());
        }
        let workloads = workload::load(self.workloads.as_deref())
            .and_then(|all| workload::choose(all, &self.workload))
            .map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(workloads
            .into_iter()
            .map(|one| Box::new(one) as _)
            .collect())
    }

    fn measure(
        &self,
        works: &[Box<dyn Work>],
        volumes: &[Volume],
        written: &mut Written,
        cancel: &Cancel,
        mut measured: impl FnMut(&[BenchResult]) -> Result<(), Failure>,
    ) -> Result<Ending, Failure> {
        let first = &volumes[0];
        let options = Options {
            time: Duration::from_secs_f64(self.seconds),
            file_mib: self.file_size,
            cold: self.cold,
            memory_only: host_cache::memory_only(&first.native.here),
        };
        let places: Result<Vec<Place>, StackError> =
            volumes.iter().map(|up| place(&up.volume)).collect();
        let (native, places) = match place(&first.native).and_then(|native| Ok((native, places?))) {
            Ok(places) => places,
            Err(error) => return Ok(Ending::Lost(error)),
        };
        let places: Vec<&Place> = places.iter().collect();
        for work in works {
            match bench::measure(&**work, &native, &places, &options, &|| cancel.asked()) {
                Ok(Some(results)) => {
                    measured(&results)?;
                    written.measured(results);
                }
                Ok(None) | Err(StackError::Cancelled) => return Ok(Ending::Cancelled),
                Err(error) => return Ok(Ending::Lost(error)),
            }
            if written.stopped() {
                return Ok(Ending::Cancelled);
            }
        }
        Ok(Ending::Complete)
    }
}

/// Where the results go.
enum Written {
    One(Sinks),
    Many(Many),
}

impl Written {
    fn emit(&mut self, index: usize, event: &Event) {
        match self {
            Written::One(sinks) => sinks.emit(event),
            Written::Many(many) => many.emit(index, event),
        }
    }

    fn measured(&mut self, results: Vec<BenchResult>) {
        match self {
            Written::One(sinks) => {
                for result in results {
                    sinks.emit(&Event::BenchFinished(Box::new(result)));
                }
            }
            Written::Many(many) => many.measured(&results),
        }
    }

    fn stopped(&self) -> bool {
        match self {
            Written::One(sinks) => sinks.stopped(),
            Written::Many(many) => many.stopped(),
        }
    }

    fn close(self) -> Result<(), Failure> {
        match self {
            Written::One(sinks) => sinks.close(),
            Written::Many(many) => many.close(),
        }
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

/// Tells of all volumes how it ended, and says which exit code that is.
fn end(ending: Ending, mut written: Written, volumes: usize, interrupt: &Interrupt) -> Outcome {
    let (event, outcome) = match ending {
        Ending::Complete => {
            let finished = clock::rfc3339(SystemTime::now());
            (Event::RunFinished { finished }, Ok(Exit::Completed))
        }
        Ending::Cancelled => {
            let reason = match interrupt.signal() {
                Some(name) => format!("{name} was received."),
                None => "The results can not be written.".to_owned(),
            };
            (Event::RunInterrupted { reason }, Ok(Exit::Interrupted))
        }
        Ending::Lost(error) => {
            let reason = format!("{error}.");
            let failure = Failure::NoStack(error.to_string());
            (Event::RunInterrupted { reason }, Err(failure))
        }
    };
    for index in 0..volumes {
        written.emit(index, &event);
    }
    written.close().and(outcome)
}
