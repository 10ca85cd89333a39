//! `probe9p fidelity`: how nearly stacks behave as a reference.
//!
//! Every stack is brought up before the first case runs, so that one that is missing is said at once and not
//! after minutes. Then each runs the same cases, and the reports are compared (`results::fidelity`).

use std::{path::PathBuf, slice, sync::Arc, time::SystemTime};

use clap::Args;
use probes::{
    case::PlannedCase,
    runner::{
        cancel::Cancel,
        clock,
        engine::{Ending, Options, Retrace},
        jobs, slowness,
        stack_name::StackName,
        volume::{Server, Volume, Wanted, stacks},
        whole,
    },
};
use results::{Event, Fidelity, Report, ReportBuilder, Reporter as _, fidelity::Unavailable};
use server9p::stack::kernels::KernelWanted;

use super::{
    Exit, Failure, Outcome,
    interrupt::Interrupt,
    keep::{cannot, try_out, write_whole},
    list::Format,
    output,
    select_args::SelectArgs,
    terminal::{Progress, look},
    values::scale,
};

/// Options of `probe9p fidelity`.
#[derive(Debug, Args)]
pub struct FidelityOf {
    #[command(flatten)]
    select: SelectArgs,

    /// The stack that is right by definition, client/server/profile
    #[arg(
        long,
        value_name = "STACK",
        default_value = "qemu/qemu/golem",
        help_heading = "The stacks"
    )]
    reference: StackName,
    /// The stacks to compare with it [default: our server of the reference's profile with every client that this
    /// machine can run]
    #[arg(
        long,
        value_name = "STACK,…",
        value_delimiter = ',',
        num_args = 1..,
        help_heading = "The stacks"
    )]
    candidate: Vec<StackName>,
    /// Every stack's kernel: 5.10, 6.1 or a path, as `run` takes it [default: 5.10 under golem, else 6.1]
    #[arg(long, value_name = "SERIES|PATH", help_heading = "The stacks")]
    kernel: Option<KernelWanted>,
    /// QEMU's program [default: the one on PATH; for the reference of profile qemu one of 9.2 or later]
    #[arg(long, value_name = "FILE", help_heading = "The stacks")]
    qemu: Option<PathBuf>,
    /// Run nothing: compare what runs wrote with --out or --jsonl, the reference's first. Make all of them with
    /// --no-explain or all without: a verified remedy turns `fails` into `workaround`
    #[arg(
        long,
        value_name = "RESULT.json",
        num_args = 2..,
        help_heading = "The stacks",
        conflicts_with_all = [
            "reference", "candidate", "kernel", "qemu", "jobs", "timeout_scale", "tool", "ops", "recipe", "case"
        ]
    )]
    from: Vec<PathBuf>,

    /// How many cases run at once [default: one a processor, and one more outside of guests]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "How it runs")]
    jobs: Option<u16>,
    /// Multiply every time limit
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = scale, help_heading = "How it runs")]
    timeout_scale: f64,

    /// What standard output gets
    #[arg(long, short, value_enum, default_value_t = Format::Table, help_heading = "What is written")]
    format: Format,
    /// Keep the comparison in this file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "What is written")]
    out: Option<PathBuf>,
}

impl FidelityOf {
    /// Makes or reads the reports, compares them, and writes what came of it.
    pub fn run(self) -> Outcome {
        let replaced = self.out.as_deref().map(try_out).transpose()?;
        let Ran {
            reports,
            unavailable,
            outcome,
        } = if self.from.is_empty() {
            self.run_all()?
        } else {
            let read = |path| Report::read(path).map_err(|e| Failure::Usage(e.to_string()));
            let reports: Result<_, _> = self.from.iter().map(read).collect();
            Ran::complete(reports?)
        };
        // Nothing to compare with: what ended it is all there is to say.
        let Some((reference, candidates)) = reports.split_first() else {
            return outcome;
        };
        let fidelity = Fidelity {
            unavailable,
            ..Fidelity::of(reference, candidates)
        };
        if let (Some(path), Some(replaced)) = (&self.out, replaced) {
            write_whole(path, &fidelity.to_json(), replaced)
                .map_err(|error| cannot(path, &error))?;
        }
        match self.format {
            Format::Table => output::print(&fidelity.table(look().width))?,
            Format::Json => output::print(&fidelity.to_json())?,
        }
        outcome
    }

    /// The same cases on every stack, the reference first: the reports until one ended early, and what that comes to.
    fn run_all(&self) -> Result<Ran, Failure> {
        let cases = self.select.clone().cases_or_all()?;
        let cancel = Arc::new(Cancel::default());
        let interrupt = Interrupt::watch(Arc::clone(&cancel))?;
        let mut ran = Ran::complete(Vec::new());
        let Some(stacks) = self.bring_up(&cancel, &mut ran.unavailable)? else {
            ran.outcome = Ok(Exit::Interrupted);
            return Ok(ran);
        };
        for (name, wanted, up) in stacks {
            eprintln!("probe9p: {} cases on {name}", cases.len());
            let options = self.options(&wanted, &up, &cases);
            let (report, ending) = report((&wanted, &up), &cases, options, &cancel);
            ran.reports.extend(report);
            match ending {
                Ending::Complete => {}
                Ending::Lost(error) => {
                    ran.outcome = Err(Failure::NoStack(format!("{name}: {error}")));
                    return Ok(ran);
                }
                Ending::Cancelled => {
                    let by = interrupt.signal().unwrap_or("a signal");
                    eprintln!("probe9p: stopped by {by}; what had its result was compared");
                    ran.outcome = Ok(Exit::Interrupted);
                    return Ok(ran);
                }
            }
        }
        Ok(ran)
    }

    /// Every stack, up, the reference first; none when that was cancelled. A candidate that nobody named may be
    /// missing.
    fn bring_up(
        &self,
        cancel: &Cancel,
        unavailable: &mut Vec<Unavailable>,
    ) -> Result<Option<Vec<Up>>, Failure> {
        let named = !self.candidate.is_empty();
        let candidates = match named {
            true => self.candidate.clone(),
            false => self.every_candidate(),
        };
        let mut stacks = Vec::new();
        for name in std::iter::once(self.reference).chain(candidates) {
            let mut wanted = self.wanted(name);
            match wanted.bring_up() {
                Ok(up) => stacks.push((name, wanted, up)),
                Err(error) if named || name == self.reference => {
                    return Err(Failure::NoStack(format!("{name}: {error}")));
                }
                Err(error) => {
                    eprintln!("probe9p: without {name}: {error}");
                    unavailable.push(Unavailable {
                        stack: name.to_string(),
                        reason: error.to_string(),
                    });
                }
            }
            if cancel.asked() {
                return Ok(None);
            }
        }
        match &stacks[..] {
            [_] => Err(Failure::NoStack(
                "this machine can run no candidate; `probe9p list stacks` says what each lacks"
                    .into(),
            )),
            _ => Ok(Some(stacks)),
        }
    }

    /// Our own server of the reference's profile, with each client that there is.
    fn every_candidate(&self) -> Vec<StackName> {
        let listed = stacks().into_iter().map(|stack| stack.name.parse());
        listed
            .filter_map(Result::ok)
            .filter(|name: &StackName| {
                name.server == Server::Server9p
                    && name.profile == self.reference.profile
                    && *name != self.reference
            })
            .collect()
    }

    fn wanted(&self, name: StackName) -> Wanted {
        Wanted {
            kernel: self.kernel.clone(),
            qemu: self.qemu.clone(),
            ..name.wanted()
        }
    }

    /// Remedies are not tried: they would tell of the volume what is known already.
    fn options(&self, wanted: &Wanted, up: &Volume, cases: &[PlannedCase]) -> Options {
        let jobs = (self.jobs).map_or_else(|| jobs(wanted.client, cases), usize::from);
        Options {
            jobs,
            repeat: 1,
            timeout_scale: self.timeout_scale * slowness::measure(wanted.client, up, jobs),
            explain: false,
            retrace: Retrace::Never,
        }
    }
}

/// A stack that is up.
type Up = (StackName, Wanted, Volume);

/// What was run or read.
struct Ran {
    /// The reference's report first.
    reports: Vec<Report>,
    unavailable: Vec<Unavailable>,
    outcome: Outcome,
}

impl Ran {
    fn complete(reports: Vec<Report>) -> Ran {
        Ran {
            reports,
            unavailable: Vec::new(),
            outcome: Ok(Exit::Completed),
        }
    }
}

/// One stack's report, with the progress of its run on standard error.
fn report(
    (wanted, up): (&Wanted, &Volume),
    cases: &[PlannedCase],
    options: Options,
    cancel: &Cancel,
) -> (Option<Report>, Ending) {
    let mut builder = ReportBuilder::default();
    let mut progress = Progress::new(true);
    let mut take = |event: &Event| {
        // Standard error may be closed; that is nobody's concern.
        let _ = progress.event(event);
        (builder.event(event)).expect("the engine's events are in order");
    };
    let ending = whole::run(
        wanted,
        slice::from_ref(up),
        cases,
        options,
        cancel,
        &mut take,
    )
    .ending;
    let finished = clock::rfc3339(SystemTime::now());
    take(&match ending {
        Ending::Complete => Event::RunFinished { finished },
        Ending::Cancelled | Ending::Lost(_) => Event::RunInterrupted {
            reason: "it ended early".into(),
        },
    });
    (builder.into_report(), ending)
}
