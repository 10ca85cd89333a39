//! The same sequences on every stack, and where the first two part.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use server9p::stack::{CommandSpec, Ended, SELF, StackError};

use super::{
    child::{ARGUMENT, Told},
    generate, op,
    op::Op,
    script,
    shrink::shrink,
};
use crate::runner::{cancel::Cancel, side::Side};

/// How many sequences one child carries out: its start is then nothing, and its directory is not large.
const BATCH: u64 = 100;

/// How long a child may take.
const LIMIT: Duration = Duration::from_secs(300);

/// A stack, and where sequences run on it.
pub struct Runner<'a> {
    /// Its name, `native` or `client/server/profile`.
    pub name: String,
    /// The side.
    pub side: &'a Side,
    /// Whom they run as, when not the world's root.
    pub user: Option<(u32, u32)>,
}

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of which seed the random sequences are.
    pub seed: u64,
    /// The number of the first sequence.
    pub first: u64,
    /// How many steps are taken at least, unless something ends it.
    pub steps: u64,
    /// After this long no further sequences are begun.
    pub time: Option<Duration>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Fuzzed {
    /// The seed.
    pub seed: u64,
    /// The stacks.
    pub stacks: Vec<String>,
    /// How many sequences were carried out on each.
    pub sequences: u64,
    /// How many of them were every sequence over the small alphabet.
    pub enumerated: u64,
    /// How many steps that were.
    pub steps: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Where the first two stacks part.
    pub divergence: Option<Divergence>,
}

/// A sequence on which stacks part, as short as it gets.
#[derive(Debug, Clone, Serialize)]
pub struct Divergence {
    /// The number of the sequence that it was made of, of this seed; nothing for one that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The operations.
    pub ops: Vec<String>,
    /// Whether the state is looked at after each step.
    pub every_step: bool,
    /// The first step at which they part, from 0; one behind the last is the state at the end.
    pub step: usize,
    /// What each stack did there.
    pub seen: Vec<Seen>,
    /// The sequence in one text, for `--replay`.
    pub replay: String,
    /// The sequence as a program.
    pub program: String,
}

/// What one stack did at the step where they part.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// The stack.
    pub stack: String,
    /// What the operation returned.
    pub result: String,
    /// The lines of the state that not every stack has.
    pub state: Vec<String>,
}

/// Carries sequences out until `bounds` are reached, the stacks part, or it is cancelled.
///
/// # Errors
/// What [`server9p::stack::World::run`] returns, and [`StackError::Unavailable`] when a child tells nothing.
pub fn run(
    runners: &[Runner],
    bounds: Bounds,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64),
) -> Result<Fuzzed, StackError> {
    let began = Instant::now();
    let mut fuzzed = Fuzzed {
        seed: bounds.seed,
        stacks: runners.iter().map(|runner| runner.name.clone()).collect(),
        sequences: 0,
        enumerated: 0,
        steps: 0,
        seconds: 0.0,
        divergence: None,
    };
    let mut next = bounds.first;
    while fuzzed.steps < bounds.steps
        && !cancel.asked()
        && bounds.time.is_none_or(|time| began.elapsed() < time)
    {
        let (count, steps) = batch(&bounds, next, bounds.steps - fuzzed.steps);
        let args = [
            ("--seed", bounds.seed),
            ("--first", next),
            ("--count", count),
        ];
        let args = args.map(|(name, value)| [name.to_owned(), value.to_string()]);
        let args: Vec<OsString> = args.concat().into_iter().map(OsString::from).collect();
        let told = on_all(runners, &args, count as usize)?;
        let parted = (0..count as usize).find(|&at| parts(&told, at));
        if let Some(at) = parted {
            let number = next + at as u64;
            let sequence = generate::sequence(bounds.seed, number);
            let found = explain(runners, sequence.ops, sequence.every_step)?;
            fuzzed.divergence = found.map(|found| Divergence {
                number: Some(number),
                ..found
            });
            if fuzzed.divergence.is_some() {
                next = number + 1;
                fuzzed.steps += steps;
                break;
            }
            // It did not happen again: a state that was left, or chance. It is told as such.
            eprintln!(
                "probe9p: sequence {number} of seed {} parted once and not again",
                bounds.seed
            );
        }
        next += count;
        fuzzed.steps += steps;
        progress(fuzzed.steps);
    }
    fuzzed.sequences = next - bounds.first;
    fuzzed.enumerated = generate::enumerated()
        .min(next)
        .saturating_sub(bounds.first);
    fuzzed.seconds = began.elapsed().as_secs_f64();
    Ok(fuzzed)
}

/// How many sequences from `next` on are one batch, and how many steps that are; about `left` steps at most.
fn batch(bounds: &Bounds, next: u64, left: u64) -> (u64, u64) {
    let (mut count, mut steps) = (0, 0);
    while count < BATCH && steps < left {
        steps += generate::sequence(bounds.seed, next + count).ops.len() as u64;
        count += 1;
    }
    (count, steps)
}

/// Whether two stacks part on the sequence of that place.
fn parts(told: &[Vec<Told>], at: usize) -> bool {
    let first = &told[0][at];
    told[1..]
        .iter()
        .any(|other| first.parts(&other[at]).is_some())
}

/// Makes a sequence on which stacks part as short as it gets; nothing when they do not.
///
/// # Errors
/// As [`run()`].
pub fn explain(
    runners: &[Runner],
    ops: Vec<Op>,
    every_step: bool,
) -> Result<Option<Divergence>, StackError> {
    let steps_of = |candidates: &[Vec<Op>]| {
        let mut args: Vec<OsString> = Vec::new();
        for ops in candidates {
            args.extend(["--text".into(), op::to_text(ops).into()]);
        }
        if every_step {
            args.push("--every-step".into());
        }
        on_all(runners, &args, candidates.len())
    };
    if !parts(&steps_of(std::slice::from_ref(&ops))?, 0) {
        return Ok(None);
    }
    let ops = shrink(ops, |candidates| {
        let told = steps_of(candidates)?;
        Ok::<_, StackError>((0..candidates.len()).map(|at| parts(&told, at)).collect())
    })?;
    let told = steps_of(std::slice::from_ref(&ops))?;
    let first = &told[0][0];
    let step = told[1..]
        .iter()
        .filter_map(|other| first.parts(&other[0]))
        .min();
    let step = step.unwrap_or(ops.len());
    let at_step = |told: &Told| match told {
        Told::Steps(steps) => steps.get(step).cloned().unwrap_or_default(),
        Told::Digests(_) => Default::default(),
    };
    let all: Vec<(String, String)> = told.iter().map(|told| at_step(&told[0])).collect();
    let seen = runners.iter().zip(&all).map(|(runner, (result, state))| {
        let everywhere = |line: &&str| {
            all.iter()
                .all(|(_, state)| state.lines().any(|l| l == *line))
        };
        Seen {
            stack: runner.name.clone(),
            result: result.clone(),
            state: state
                .lines()
                .filter(|line| !everywhere(line))
                .map(str::to_owned)
                .collect(),
        }
    });
    Ok(Some(Divergence {
        number: None,
        step,
        seen: seen.collect(),
        every_step,
        replay: op::to_text(&ops),
        program: script::python(&ops),
        ops: ops.iter().map(Op::to_string).collect(),
    }))
}

/// Runs the child with `args` on every stack at once, and reads the `count` lines that each prints.
fn on_all(
    runners: &[Runner],
    args: &[OsString],
    count: usize,
) -> Result<Vec<Vec<Told>>, StackError> {
    thread::scope(|scope| {
        let threads: Vec<_> = runners
            .iter()
            .map(|runner| scope.spawn(move || on_one(runner, args, count)))
            .collect();
        let joined = threads
            .into_iter()
            .map(|t| t.join().expect("no worker panics"));
        joined.collect()
    })
}

fn on_one(runner: &Runner, args: &[OsString], count: usize) -> Result<Vec<Told>, StackError> {
    let side = runner.side;
    let (here, there) = side.fresh("fuzz")?;
    let argv = [
        SELF.into(),
        ARGUMENT.into(),
        "--dir".into(),
        there.clone().into(),
    ];
    let command = CommandSpec {
        user: runner.user,
        ..CommandSpec::new(argv.into_iter().chain(args.iter().cloned()), there).limit(LIMIT)
    };
    let finished = side.world.run(&command)?;
    if !side.keep && finished.ended != Ended::TimedOut {
        // Directories that were left without permissions are made accessible first, for a caller who is not root.
        let _ = fs::remove_dir_all(&here).or_else(|_| {
            open_up(&here);
            fs::remove_dir_all(&here)
        });
    }
    let lines = finished.stdout.split(|&byte| byte == b'\n');
    let told: Vec<Told> = lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    if told.len() != count {
        return Err(StackError::Unavailable(format!(
            "{} told of {} of {count} sequences ({:?}); it said: {}",
            runner.name,
            told.len(),
            finished.ended,
            String::from_utf8_lossy(&finished.stderr).trim()
        )));
    }
    Ok(told)
}

/// Gives the owner every right on the directories below `dir`.
fn open_up(dir: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Whom sequences run as beside a plain directory: the owner of the export, who is the server's user, so that the
/// same user acts on both sides. Nothing when that is who runs this, or where no one else can be had.
pub fn user_of(side: &Side) -> Option<(u32, u32)> {
    let meta = fs::metadata(&side.here).ok()?;
    let own = (meta.uid(), meta.gid());
    (rustix::process::geteuid().is_root() && own.0 != 0).then_some(own)
}
