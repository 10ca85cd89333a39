//! `probe9p run`: cases natively and on a volume, and what follows from the difference.

use std::{path::PathBuf, str::FromStr, sync::Arc, time::SystemTime};

use super::{
    Exit, Failure, Outcome,
    interrupt::Interrupt,
    select_args::SelectArgs,
    sinks::Sinks,
    terminal::look,
    threshold::ThresholdArgs,
    values::scale,
    volume_args::{VolumeArgs, say_choice},
};
use clap::Args;
use probes::runner::{
    cancel::Cancel,
    clock,
    engine::{Ending, Options, Retrace},
    jobs,
    partition::Partition,
    slowness,
    volume::{Volume, Wanted},
    whole,
};
use results::{Event, Format, Look, RunStarted};

/// Options of `probe9p run`.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    volume: VolumeArgs,
    /// Test this directory, which is mounted already, instead of bringing a volume up
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "The volume",
        conflicts_with_all = ["client", "server", "profile", "cache", "kernel", "run_as", "qemu"]
    )]
    path: Option<PathBuf>,

    /// How many cases run at once [default: one a processor in guests, else one more, or three a processor where all are operations]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "How it runs")]
    jobs: Option<u16>,
    /// Multiply every time limit
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = scale, help_heading = "How it runs")]
    timeout_scale: f64,
    /// Run every case at least so often on each side; repeats that disagree are `unstable`
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "How it runs")]
    repeat: u32,
    /// Run only this part of what was selected: hash:PART/PARTS, such as hash:1/4; `probe9p merge` joins the parts
    #[arg(long, value_name = "HASH:PART/PARTS", value_parser = Partition::from_str, help_heading = "What runs")]
    partition: Option<Partition>,
    /// Show every place where a case that does not work parts from its native run under strace. Without this the calls
    /// that fail on the volume alone are shown: each operation case that does not work is run under strace, as the
    /// repeat that its verdict needs anyway, and so is each case of no known cause. `probe9p explain CASE` shows the 9P
    /// messages as well
    #[arg(long, overrides_with = "no_explain", help_heading = "How it runs")]
    explain: bool,
    /// Look for no causes, run nothing under strace, and try no remedies
    #[arg(long, help_heading = "How it runs")]
    no_explain: bool,
    /// Leave the directories of the cases where they are, and say where
    #[arg(long, help_heading = "How it runs")]
    keep: bool,

    /// What standard output gets: table, json, jsonl, junit or tap
    #[arg(long, short, default_value = "table", value_parser = Format::from_str, help_heading = "What is written")]
    format: Format,
    /// Keep the whole report in this file, whole after every case
    #[arg(long, value_name = "FILE", help_heading = "What is written")]
    out: Option<PathBuf>,
    /// Append each event to this file as a line of JSON, as it happens
    #[arg(long, value_name = "FILE", help_heading = "What is written")]
    jsonl: Option<PathBuf>,
    #[command(flatten)]
    threshold: ThresholdArgs,
}

impl Run {
    /// Runs the selected cases and writes what came of them.
    pub fn run(self) -> Outcome {
        let mut threshold = self.threshold.open()?;
        let mut cases = self.select.cases()?;
        let mut part = None;
        if let Some(partition) = self.partition {
            let (mine, told) = partition.take(cases);
            if mine.is_empty() {
                return Err(Failure::NothingSelected(format!(
                    "this part of the plan has no case: all {} are in other parts than {partition}",
                    told.plan.len()
                )));
            }
            (cases, part) = (mine, Some(told));
        }
        let mut sinks = Sinks::open(
            self.format,
            Look {
                whole_evidence: self.explain,
                ..look()
            },
            self.out.as_deref(),
            self.jsonl.as_deref(),
        )?;
        let cancel = Arc::new(Cancel::default());
        let interrupt = Interrupt::watch(Arc::clone(&cancel))?;

        let mut wanted = self.wanted();
        let jobs = |client| (self.jobs).map_or_else(|| jobs(client, &cases), usize::from);
        let volumes = wanted.bring_up_for(&cases, jobs(wanted.client))?;
        let up = &volumes[0];
        say_choice(up);
        if self.keep {
            let (native, volume) = (up.native.here.display(), up.volume.here.display());
            eprintln!("probe9p: the directories of the cases stay in {native} and {volume}");
        }
        let mut done = 0;
        // Of the client that was taken, where that was left open.
        let options = self.options(&wanted, up, jobs(wanted.client));
        let ended = whole::run(&wanted, &volumes, &cases, options, &cancel, &mut |event| {
            if let Event::CaseFinished(case) = event {
                done += 1;
                threshold.see(case);
            }
            match (event, &part) {
                (Event::RunStarted(run), Some(_)) => {
                    let part = part.clone();
                    sinks.emit(&Event::RunStarted(Box::new(RunStarted {
                        part,
                        ..(**run).clone()
                    })));
                }
                _ => sinks.emit(event),
            }
            if sinks.stopped() {
                cancel.cancel();
            }
        });
        if let Some(why) = ended.untraced {
            eprintln!(
                "probe9p: not all causes have the calls that show them: {why}; `apt install strace` brings strace, and \
                 without it `probe9p explain CASE` shows what the server was asked and refused"
            );
        }
        self.end(
            ended.ending,
            threshold.end(),
            done,
            cases.len(),
            sinks,
            &interrupt,
        )
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            path: self.path.clone(),
            keep: self.keep,
            ..self.volume.wanted()
        }
    }

    fn options(&self, wanted: &Wanted, up: &Volume, jobs: usize) -> Options {
        Options {
            jobs,
            repeat: self.repeat,
            timeout_scale: self.timeout_scale * slowness::measure(wanted.client, up, jobs),
            explain: !self.no_explain,
            retrace: match (self.explain, self.no_explain) {
                (_, true) => Retrace::Never,
                (true, _) => Retrace::Whole,
                _ => Retrace::Failing,
            },
        }
    }

    /// Tells the sinks how the run ended, and says which exit code that is.
    fn end(
        &self,
        ending: Ending,
        worst: Exit,
        done: usize,
        planned: usize,
        mut sinks: Sinks,
        interrupt: &Interrupt,
    ) -> Outcome {
        let kept = format!("{done} of {planned} cases have their result");
        let outcome = match (ending, interrupt.signal()) {
            (Ending::Complete, _) => {
                sinks.emit(&Event::RunFinished {
                    finished: clock::rfc3339(SystemTime::now()),
                });
                Ok(worst)
            }
            (Ending::Lost(error), _) => {
                sinks.emit(&Event::RunInterrupted {
                    reason: error.to_string(),
                });
                Err(Failure::NoStack(format!("{error} ({kept})")))
            }
            (Ending::Cancelled, signal) => {
                let reason = match signal {
                    Some(name) => format!("stopped by {name}; {kept}"),
                    None => format!("stopped because its results can not be written; {kept}"),
                };
                sinks.emit(&Event::RunInterrupted {
                    reason: reason.clone(),
                });
                if signal.is_some() {
                    eprintln!("probe9p: {reason}");
                }
                Ok(if worst == Exit::Completed {
                    Exit::Interrupted
                } else {
                    worst
                })
            }
        };
        sinks.close().and(outcome)
    }
}
