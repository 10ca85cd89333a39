//! Native and volume in turns, and what the turns' rates say.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use results::{BenchResult, Latency, Samples, WireCount};
use server9p::{
    session::Wire,
    stack::{CommandSpec, Ended, Finished, SELF, StackError, World},
};

use super::{
    child, host_cache,
    warning::{self, Warning},
    work::{FILE, Turn},
    workload::{Unit, Workload},
};

/// Fewest turns of each side.
pub const FEWEST_TURNS: u32 = 12;
/// Longest turn; where there is more time, there are more turns.
const LONGEST_TURN: Duration = Duration::from_millis(250);
/// Shortest turn that is still more than starting up.
const SHORTEST_TURN: Duration = Duration::from_millis(10);
/// How long one child may take beyond its turn: making the file, and a slow volume's last operation.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is measured: one workload, whoever carries it out.
pub trait Work {
    /// What it is.
    fn about(&self) -> About;

    /// Whether it reads what was in the file before, so that it matters where the file's pages are.
    fn reads(&self) -> bool;

    /// The command of one turn in a directory, of no more than one operation where `time` is nothing.
    fn command(&self, dir: &Path, time: Duration, options: &Options, seed: u32) -> Vec<OsString>;

    /// The turn that the command told on standard output.
    ///
    /// # Errors
    /// A sentence's worth of why it told none.
    fn turn(&self, stdout: &[u8]) -> Result<Turn, String>;
}

/// What reports say of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its stable id.
    pub name: String,
    /// What it does, in one line.
    pub title: String,
    /// The unit of its rates.
    pub unit: Unit,
    /// How many do it at once.
    pub threads: u32,
}

impl Work for Workload {
    fn about(&self) -> About {
        About {
            name: self.name.clone(),
            title: self.title.clone(),
            unit: self.unit,
            threads: self.threads,
        }
    }

    fn reads(&self) -> bool {
        Workload::reads(self)
    }

    fn command(&self, dir: &Path, time: Duration, options: &Options, seed: u32) -> Vec<OsString> {
        let mut argv: Vec<OsString> = vec![
            SELF.into(),
            child::ARGUMENT.into(),
            "--workload".into(),
            serde_json::to_string(self)
                .expect("a workload can be written as JSON")
                .into(),
            "--dir".into(),
            dir.into(),
            "--millis".into(),
            time.as_millis().to_string().into(),
            "--file-mib".into(),
            options.file_mib.to_string().into(),
            "--seed".into(),
            seed.to_string().into(),
        ];
        if options.cold {
            argv.push("--once".into());
        }
        argv
    }

    fn turn(&self, stdout: &[u8]) -> Result<Turn, String> {
        let last = stdout
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        serde_json::from_slice(last)
            .map_err(|error| format!("what the child printed is no turn ({error})"))
    }
}

/// A directory to measure in, and the world whose commands reach it.
pub struct Place {
    /// Runs the turns.
    pub world: Arc<dyn World>,
    /// An empty directory, as the world's commands see it.
    pub there: PathBuf,
    /// The same on the host, where this process sees the files that are behind it.
    pub here: PathBuf,
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long both sides of one workload take together, preparations aside.
    pub time: Duration,
    /// Size of the file that is read or written, in MiB.
    pub file_mib: u64,
    /// Whether files are put out of the host's memory before each turn.
    pub cold: bool,
    /// Whether the host's file system keeps files in memory only.
    pub memory_only: bool,
}

impl Options {
    /// How many turns each side has, and how long each is.
    fn turns(&self) -> (u32, Duration) {
        let each_side = self.time / 2;
        let turns = (each_side.as_millis() / LONGEST_TURN.as_millis()) as u32;
        let turns = turns.max(FEWEST_TURNS);
        (turns, (each_side / turns).max(SHORTEST_TURN))
    }
}

/// Measures one workload natively and on each volume, turn by turn: a result a volume. A side that fails has no
/// samples and a warning that says why; where the native one fails, nothing more is measured. `cancelled` is asked
/// before each turn; `None` means that it said so.
///
/// # Errors
/// What [`World::run`] returns, when a volume is lost.
pub fn measure(
    work: &dyn Work,
    native: &Place,
    volumes: &[&Place],
    options: &Options,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<Vec<BenchResult>>, StackError> {
    let (turns, time) = options.turns();
    let mut sides = vec![Measured::new(native, "native", "natively")];
    sides.extend(
        volumes
            .iter()
            .map(|place| Measured::new(place, "volume", "on the volume")),
    );
    let mut resident = None;
    // Two turns more than count: the first makes the file and warms up what warms up, the second, of no time, shows
    // what a turn takes of messages by itself.
    'turns: for round in 0..turns + 2 {
        // Each goes first as often as the others, so that none always finds what another left.
        for turn in 0..sides.len() {
            if cancelled() {
                return Ok(None);
            }
            let index = (round as usize + turn) % sides.len();
            let side = &mut sides[index];
            if side.failed.is_some() {
                continue;
            }
            if options.cold && work.reads() && round > 1 {
                // A file that cannot be put out of memory shows in its residency.
                let _ = host_cache::forget(&side.place.here.join(FILE));
            }
            if round == 2 && index == 0 && work.reads() {
                resident = host_cache::resident(&side.place.here.join(FILE)).unwrap_or(None);
            }
            let time = if round == 1 { Duration::ZERO } else { time };
            let before = side.place.world.wire();
            match side.turn(work, time, options, round)? {
                Ok(turn) => {
                    let after = side.place.world.wire();
                    let wire = after.zip(before).map(|(after, before)| after.since(before));
                    match round {
                        0 => {}
                        1 => side.idle = Some((turn.operations, wire)),
                        _ => side.turns.push((turn, wire)),
                    }
                }
                Err(why) => {
                    side.failed = Some(why);
                    if index == 0 {
                        break 'turns;
                    }
                }
            }
        }
    }
    let in_memory = warning::of_residency(resident, options.memory_only);
    let [native, volumes @ ..] = &sides[..] else {
        unreachable!("the native side is there");
    };
    let results = volumes
        .iter()
        .map(|volume| result(work, [native, volume], in_memory.clone()));
    Ok(Some(results.collect()))
}

/// One side, while it is measured.
struct Measured<'a> {
    place: &'a Place,
    name: &'static str,
    adverb: &'static str,
    turns: Vec<(Turn, Option<Wire>)>,
    /// Of a turn of no time: its operations, and what went over the wire.
    idle: Option<(u64, Option<Wire>)>,
    failed: Option<String>,
}

impl<'a> Measured<'a> {
    fn new(place: &'a Place, name: &'static str, adverb: &'static str) -> Self {
        Measured {
            place,
            name,
            adverb,
            turns: Vec::new(),
            idle: None,
            failed: None,
        }
    }

    /// One turn in a child; the inner error is a sentence's worth of why it failed.
    fn turn(
        &self,
        work: &dyn Work,
        time: Duration,
        options: &Options,
        seed: u32,
    ) -> Result<Result<Turn, String>, StackError> {
        let argv = work.command(&self.place.there, time, options, seed);
        let command = CommandSpec::new(argv, &self.place.there).limit(time + PATIENCE);
        let finished = self.place.world.run(&command)?;
        Ok(ended(&finished).and_then(|stdout| work.turn(stdout)))
    }

    fn samples(&self, unit: Unit) -> Samples {
        match self.failed {
            Some(_) => Samples::of([]),
            None => Samples::of(self.turns.iter().map(|(turn, _)| turn.rate(unit))),
        }
    }

    fn latency(&self) -> Option<Latency> {
        match self.failed {
            Some(_) => None,
            None => Latency::median(self.turns.iter().map(|(turn, _)| turn.latency)),
        }
    }

    fn fewest_operations(&self) -> u64 {
        let operations = self.turns.iter().map(|(turn, _)| turn.operations);
        operations.min().unwrap_or(0)
    }

    /// The share of its threads' time that the measuring program computed.
    fn programs_share(&self, threads: u32) -> f64 {
        let own: f64 = self.turns.iter().map(|(turn, _)| turn.own_seconds).sum();
        let whole: f64 = self.turns.iter().map(|(turn, _)| turn.seconds).sum();
        let processors = thread::available_parallelism().map_or(1, |count| count.get() as u32);
        if whole > 0.0 {
            own / (whole * f64::from(threads.min(processors)))
        } else {
            0.0
        }
    }

    /// What went over the wire, and what of it an operation took.
    fn wire(&self) -> Option<WireCount> {
        if self.failed.is_some() || self.turns.is_empty() {
            return None;
        }
        let mut all = Wire::default();
        for (_, wire) in &self.turns {
            all = all.plus((*wire)?);
        }
        let seconds: f64 = self.turns.iter().map(|(turn, _)| turn.seconds).sum();
        let operations: u64 = self.turns.iter().map(|(turn, _)| turn.operations).sum();
        let (idle_operations, idle) = self.idle?;
        let idle = idle?;
        let turns = self.turns.len() as u64;
        // Turns of one operation each say nothing of what more operations would take.
        let more = operations.saturating_sub(turns * idle_operations);
        let each = |all: u64, idle: u64| match more {
            0 => all as f64 / operations.max(1) as f64,
            _ => all.saturating_sub(turns * idle) as f64 / more as f64,
        };
        let bytes = |wire: &Wire| wire.request_bytes + wire.reply_bytes;
        Some(WireCount {
            messages: all.requests,
            bytes_to_server: all.request_bytes,
            bytes_from_server: all.reply_bytes,
            messages_per_operation: each(all.requests, idle.requests),
            bytes_per_operation: each(bytes(&all), bytes(&idle)),
            server_busy: if seconds > 0.0 {
                all.busy.as_secs_f64() / seconds
            } else {
                0.0
            },
        })
    }
}

/// What a child printed, where it ended well.
fn ended(finished: &Finished) -> Result<&[u8], String> {
    match finished.ended {
        Ended::Code(0) => Ok(&finished.stdout),
        Ended::Code(code) => {
            let text = String::from_utf8_lossy(&finished.stderr);
            let last = text.lines().rfind(|line| !line.trim().is_empty());
            Err(last.map_or_else(
                || format!("the child ended with code {code}"),
                str::to_owned,
            ))
        }
        Ended::Signal(number) => Err(format!("signal {number} ended the child")),
        Ended::TimedOut => Err(format!(
            "one turn did not end within {} s",
            PATIENCE.as_secs()
        )),
        Ended::Crashed => Err("the kernel that it ran on died".into()),
    }
}

fn result(work: &dyn Work, sides: [&Measured<'_>; 2], in_memory: Option<Warning>) -> BenchResult {
    let about = work.about();
    let [native, volume] = sides;
    let samples = sides.map(|side| side.samples(about.unit));
    let mut warnings: Vec<Warning> = Vec::new();
    for side in sides {
        warnings.extend(side.failed.clone().map(|why| Warning::Failed {
            side: side.adverb,
            why,
        }));
    }
    let measured: Vec<_> = sides
        .iter()
        .zip(&samples)
        .map(|(side, samples)| (side.name, samples, side.fewest_operations()))
        .collect();
    warnings.extend(warning::of_samples(&measured));
    let bound =
        |side: &Measured<'_>| warning::of_program(side.name, side.programs_share(about.threads));
    warnings.extend(sides.into_iter().filter_map(bound));
    warnings.extend(in_memory);
    let latency = [native.latency(), volume.latency()];
    let wire = volume.wire();
    let [native, volume] = samples;
    BenchResult {
        workload: about.name,
        title: about.title,
        unit: about.unit.name().into(),
        ratio: if native.median > 0.0 {
            volume.median / native.median
        } else {
            0.0
        },
        native,
        volume,
        native_latency: latency[0],
        volume_latency: latency[1],
        wire,
        warnings: warnings.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests;
