//! `probe9p fuzz`: the same sequences of operations on several stacks, and where they part.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use probes::{
    fuzz::{
        op::{self, Op},
        run::{self, Bounds, Divergence, Fuzzed, Runner},
    },
    runner::{
        cancel::Cancel,
        stack_name::StackName,
        volume::{Volume, Wanted},
    },
};
use server9p::stack::{StackError, kernels::KernelWanted};

use super::{Exit, Failure, Outcome, interrupt::Interrupt, list::Format, output};

/// The plain directory, among the stacks.
const NATIVE: &str = "native";

/// Options of `probe9p fuzz`.
#[derive(Debug, Args)]
pub struct Fuzz {
    /// Of which seed the random sequences are; the same seed makes the same sequences
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many steps are taken on each stack: first every sequence of up to three operations over a small alphabet
    /// (about 8,700 steps), then random ones of 4 to 24 [default: 20000, or as many as --seconds allows]
    #[arg(long, value_name = "M")]
    steps: Option<u64>,
    /// End after so long, whatever the steps
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Begin with the sequence of this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u64,
    /// The stacks to compare, the one that is right first: native (a plain directory) or client/server/profile
    #[arg(
        long,
        value_name = "STACK,…",
        value_delimiter = ',',
        num_args = 1..,
        default_values = [NATIVE, "fuse/server9p/posix"]
    )]
    stacks: Vec<String>,
    /// The stacks' kernel: 5.10, 6.1 or a path, as `run` takes it [default: 5.10 under golem, else 6.1]
    #[arg(long, value_name = "SERIES|PATH")]
    kernel: Option<KernelWanted>,
    /// Run this sequence alone: its text, or a file that has it, as a divergence prints it
    #[arg(long, value_name = "SEQUENCE", conflicts_with_all = ["seed", "steps", "seconds", "first"])]
    replay: Option<String>,
    /// Look at the state at the end of --replay alone, and not after each step
    #[arg(long, requires = "replay")]
    only_the_end: bool,
    /// What standard output gets
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Fuzz {
    /// Runs sequences on every stack until two part.
    pub fn run(self) -> Outcome {
        let replay = self.replay.as_deref().map(sequence).transpose()?;
        if self.stacks.len() < 2 {
            return Err(Failure::Usage(
                "one stack has nothing to be compared with; give --stacks two, such as native,fuse/server9p/posix"
                    .into(),
            ));
        }
        let names: Vec<Option<StackName>> = (self.stacks.iter())
            .map(|name| match &**name {
                NATIVE => Ok(None),
                name => name.parse().map(Some).map_err(Failure::Usage),
            })
            .collect::<Result<_, _>>()?;
        let cancel = Arc::new(Cancel::default());
        let interrupt = Interrupt::watch(Arc::clone(&cancel))?;
        let mut volumes: Vec<Option<Volume>> = Vec::new();
        for name in &names {
            let up = name.map(|name| self.bring_up(name)).transpose()?;
            if let Some(up) = &up {
                cancel.watch(&up.native.world);
                cancel.watch(&up.volume.world);
            }
            volumes.push(up);
        }
        let Some(beside) = volumes.iter().flatten().next() else {
            return Err(Failure::Usage(
                "native alone has nothing to be compared with; give --stacks a volume too".into(),
            ));
        };
        let with_native = volumes.iter().any(Option::is_none);
        let runners: Vec<Runner> = volumes
            .iter()
            .zip(&self.stacks)
            .map(|(up, name)| {
                let side = up.as_ref().map_or(&beside.native, |up| &up.volume);
                // A plain directory obeys root, a server that is an ordinary user does not.
                let user = with_native.then(|| run::user_of(side)).flatten();
                let name = name.clone();
                Runner { name, side, user }
            })
            .collect();
        let done = match replay {
            None => run::run(&runners, self.bounds(), &cancel, &mut |steps| {
                if interrupt.signal().is_none() {
                    tracing::info!("{steps} steps");
                }
            }),
            Some(ops) => replayed(&runners, ops, !self.only_the_end),
        };
        let fuzzed = match done {
            Err(StackError::Cancelled) => {
                let by = interrupt.signal().unwrap_or("a signal");
                eprintln!("probe9p: stopped by {by}");
                return Ok(Exit::Interrupted);
            }
            other => other?,
        };
        match self.format {
            Format::Table => output::print(&self.text(&fuzzed))?,
            Format::Json => output::print_json(&fuzzed)?,
        }
        Ok(match (&fuzzed.divergence, cancel.asked()) {
            (Some(_), _) => Exit::VerdictCrossed,
            (None, true) => Exit::Interrupted,
            (None, false) => Exit::Completed,
        })
    }

    fn bring_up(&self, name: StackName) -> Result<Volume, Failure> {
        let mut wanted = Wanted {
            kernel: self.kernel.clone(),
            ..name.wanted()
        };
        let up = wanted.bring_up();
        up.map_err(|error| Failure::NoStack(format!("{name}: {error}")))
    }

    fn bounds(&self) -> Bounds {
        let steps = match (self.steps, self.seconds) {
            (Some(steps), _) => steps,
            (None, Some(_)) => u64::MAX,
            (None, None) => 20_000,
        };
        Bounds {
            seed: self.seed,
            first: self.first,
            steps,
            time: self.seconds.map(Duration::from_secs),
        }
    }

    fn text(&self, fuzzed: &Fuzzed) -> String {
        let stacks = fuzzed.stacks.join(" and ");
        let mut text = String::new();
        if self.replay.is_none() {
            let _ = writeln!(
                text,
                "{} steps in {} sequences ({} enumerated) of seed {} on {stacks}, {:.1} s",
                fuzzed.steps, fuzzed.sequences, fuzzed.enumerated, fuzzed.seed, fuzzed.seconds
            );
        }
        match &fuzzed.divergence {
            None => {
                let _ = writeln!(text, "✓ no divergence between {stacks}");
            }
            Some(found) => self.write(found, &mut text),
        }
        text
    }

    fn write(&self, found: &Divergence, text: &mut String) {
        let _ = writeln!(text, "✗ the stacks part at the step marked >");
        for (number, op) in found.ops.iter().enumerate() {
            let mark = if number == found.step { '>' } else { ' ' };
            let _ = writeln!(text, "  {mark} {op}");
        }
        if found.step == found.ops.len() {
            let _ = writeln!(text, "  > (the state at the end)");
        }
        for seen in &found.seen {
            let _ = writeln!(text, "  {}: {}", seen.stack, seen.result);
            for line in &seen.state {
                let _ = writeln!(text, "    {line}");
            }
        }
        let end = if found.every_step {
            ""
        } else {
            " --only-the-end"
        };
        let kernel = self
            .kernel
            .as_ref()
            .map_or(String::new(), |k| format!(" --kernel {k}"));
        let _ = writeln!(
            text,
            "\nRun it again:\n  probe9p fuzz --stacks {}{kernel}{end} --replay '{}'\n\
             \nOr, in an empty directory on either side:\n\npython3 - <<'END'\n{}END",
            self.stacks.join(","),
            found.replay,
            found.program
        );
    }
}

/// One given sequence.
fn replayed(runners: &[Runner], ops: Vec<Op>, every_step: bool) -> Result<Fuzzed, StackError> {
    let steps = ops.len() as u64;
    Ok(Fuzzed {
        seed: 0,
        stacks: runners.iter().map(|runner| runner.name.clone()).collect(),
        sequences: 1,
        enumerated: 0,
        steps,
        seconds: 0.0,
        divergence: run::explain(runners, ops, every_step)?,
    })
}

/// A sequence by its text, or by a file that has it.
fn sequence(text: &str) -> Result<Vec<Op>, Failure> {
    let path: PathBuf = text.into();
    let from_file = path.is_file();
    let text = if from_file {
        fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?
    } else {
        text.to_owned()
    };
    let ops = op::from_text(&text)
        .map_err(|why| Failure::Usage(format!("the sequence cannot be run: {why}")))?;
    if ops.is_empty() {
        return Err(Failure::NothingSelected(
            "the sequence has no operation".into(),
        ));
    }
    Ok(ops)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::NoStack(format!(
        "{} cannot be read ({error}); give --replay a file that can, or the sequence itself",
        path.display()
    ))
}
