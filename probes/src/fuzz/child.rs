//! `probe9p @fuzz`: carries sequences out in a stack's world.
//!
//! Many in one process, each in a directory of its own. What it prints is short where nothing is to be read: a line of
//! digests a sequence; whole steps are asked for by a sequence's text.

use std::{
    ffi::OsString,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use serde::{Deserialize, Serialize};

use super::{
    apply::{Step, apply},
    generate::{Sequence, sequence},
    op,
};

/// The first argument of the child.
pub const ARGUMENT: &str = "@fuzz";

#[derive(Debug, Parser)]
#[command(name = "probe9p @fuzz")]
struct Args {
    /// Where the sequences' directories are made.
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The first sequence, by its number.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many.
    #[arg(long, default_value_t = 0)]
    count: u64,
    /// Sequences by their text, whose steps are told whole.
    #[arg(long)]
    text: Vec<String>,
    /// Whether those are looked at after each step.
    #[arg(long)]
    every_step: bool,
}

/// What one sequence came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// A digest of each step.
    Digests(Vec<u64>),
    /// Each step's result and state.
    Steps(Vec<(String, String)>),
}

impl Told {
    /// The first step at which two runs of a sequence part.
    pub fn parts(&self, other: &Told) -> Option<usize> {
        fn first<T: PartialEq>(left: &[T], right: &[T]) -> Option<usize> {
            let differ = left
                .iter()
                .zip(right)
                .position(|(left, right)| left != right);
            let shorter = left.len().min(right.len());
            differ.or((left.len() != right.len()).then_some(shorter))
        }
        match (self, other) {
            (Told::Digests(left), Told::Digests(right)) => first(left, right),
            (Told::Steps(left), Told::Steps(right)) => first(left, right),
            _ => Some(0),
        }
    }
}

/// Does what `args` ask for when that is this child.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    if args.first().is_none_or(|first| first != ARGUMENT) {
        return None;
    }
    let done = Args::try_parse_from(args)
        .map_err(io::Error::other)
        .and_then(|args| run(&args));
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The sequences could not be carried out: {error}.");
            ExitCode::from(70)
        }
    })
}

fn run(args: &Args) -> io::Result<()> {
    // Modes that operations ask for are the same wherever this runs.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    for number in args.first..args.first + args.count {
        let steps = one(
            &sequence(args.seed, number),
            &args.dir.join(number.to_string()),
        )?;
        let digests = steps.iter().map(digest).collect();
        print(&Told::Digests(digests))?;
    }
    for (number, text) in args.text.iter().enumerate() {
        let sequence = Sequence {
            ops: op::from_text(text).map_err(io::Error::other)?,
            every_step: args.every_step,
        };
        let steps = one(&sequence, &args.dir.join(format!("t{number}")))?;
        let steps = steps.into_iter().map(|step| (step.result, step.state));
        print(&Told::Steps(steps.collect()))?;
    }
    Ok(())
}

fn one(sequence: &Sequence, dir: &Path) -> io::Result<Vec<Step>> {
    std::fs::create_dir(dir)?;
    apply(sequence, dir)
}

fn print(told: &Told) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, told)?;
    out.write_all(b"\n")
}

fn digest(step: &Step) -> u64 {
    // Its keys are fixed, and both sides are the same program.
    let mut hasher = DefaultHasher::new();
    (&step.result, &step.state).hash(&mut hasher);
    hasher.finish()
}
