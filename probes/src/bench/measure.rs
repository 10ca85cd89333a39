//! Native and volume in turns, and what the turns' rates say.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use results::{BenchResult, Latency, Samples};
use server9p::stack::{CommandSpec, Ended, Finished, SELF, StackError, World};

use super::{
    child, host_cache,
    warning::{self, Warning},
    work::{FILE, Turn},
    workload::Workload,
};

/// Fewest turns of each side.
pub const FEWEST_TURNS: u32 = 12;
/// Longest turn; where there is more time, there are more turns.
const LONGEST_TURN: Duration = Duration::from_millis(250);
/// Shortest turn that is still more than starting up.
const SHORTEST_TURN: Duration = Duration::from_millis(10);
/// How long one child may take beyond its turn: making the file, and a slow volume's last operation.
const PATIENCE: Duration = Duration::from_secs(120);

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

/// Measures one workload. A side that fails has no samples and a warning that says why, and the other is
/// measured no further. `cancelled` is asked before each turn; `None` means that it said so.
///
/// # Errors
/// What [`World::run`] returns, when the volume is lost.
pub fn measure(
    workload: &Workload,
    native: &Place,
    volume: &Place,
    options: &Options,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<BenchResult>, StackError> {
    let (turns, time) = options.turns();
    let mut sides = [
        Measured::new(native, "native", "natively"),
        Measured::new(volume, "volume", "on the volume"),
    ];
    let mut resident = None;
    // One turn more than counts: the first makes the file and warms up what warms up.
    'turns: for round in 0..=turns {
        // Each goes first as often as the other, so that neither always finds what the other left.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for index in order {
            if cancelled() {
                return Ok(None);
            }
            let side = &mut sides[index];
            if options.cold && workload.reads() && round > 0 {
                // A file that cannot be put out of memory shows in its residency.
                let _ = host_cache::forget(&side.place.here.join(FILE));
            }
            if round == 1 && index == 0 && workload.reads() {
                resident = host_cache::resident(&side.place.here.join(FILE)).unwrap_or(None);
            }
            match side.turn(
                workload,
                if round == 0 { Duration::ZERO } else { time },
                options,
                round,
            )? {
                Ok(turn) if round > 0 => side.turns.push(turn),
                Ok(_) => {}
                Err(why) => {
                    side.failed = Some(why);
                    break 'turns;
                }
            }
        }
    }
    let in_memory = warning::of_residency(resident, options.memory_only);
    Ok(Some(result(workload, &sides, in_memory)))
}

/// One side, while it is measured.
struct Measured<'a> {
    place: &'a Place,
    name: &'static str,
    adverb: &'static str,
    turns: Vec<Turn>,
    failed: Option<String>,
}

impl<'a> Measured<'a> {
    fn new(place: &'a Place, name: &'static str, adverb: &'static str) -> Self {
        Measured {
            place,
            name,
            adverb,
            turns: Vec::new(),
            failed: None,
        }
    }

    /// One turn in a child; the inner error is a sentence's worth of why it failed.
    fn turn(
        &self,
        workload: &Workload,
        time: Duration,
        options: &Options,
        seed: u32,
    ) -> Result<Result<Turn, String>, StackError> {
        let mut argv: Vec<OsString> = vec![
            SELF.into(),
            child::ARGUMENT.into(),
            "--workload".into(),
            serde_json::to_string(workload)
                .expect("a workload can be written as JSON")
                .into(),
            "--dir".into(),
            self.place.there.clone().into(),
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
        let command = CommandSpec::new(argv, &self.place.there).limit(time + PATIENCE);
        Ok(told(&self.place.world.run(&command)?))
    }

    fn samples(&self, workload: &Workload) -> Samples {
        match self.failed {
            Some(_) => Samples::of([]),
            None => Samples::of(self.turns.iter().map(|turn| turn.rate(workload.unit))),
        }
    }

    fn latency(&self) -> Option<Latency> {
        match self.failed {
            Some(_) => None,
            None => Latency::median(self.turns.iter().map(|turn| turn.latency)),
        }
    }

    fn fewest_operations(&self) -> u64 {
        self.turns
            .iter()
            .map(|turn| turn.operations)
            .min()
            .unwrap_or(0)
    }
}

/// What a child's end says.
fn told(finished: &Finished) -> Result<Turn, String> {
    match finished.ended {
        Ended::Code(0) => {
            let last = finished
                .stdout
                .trim_ascii_end()
                .rsplit(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default();
            serde_json::from_slice(last)
                .map_err(|error| format!("what the child printed is no turn ({error})"))
        }
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

fn result(
    workload: &Workload,
    sides: &[Measured<'_>; 2],
    in_memory: Option<Warning>,
) -> BenchResult {
    let [native, volume] = sides;
    let samples = [native.samples(workload), volume.samples(workload)];
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
    warnings.extend(in_memory);
    let latency = [native.latency(), volume.latency()];
    let [native, volume] = samples;
    BenchResult {
        workload: workload.name.clone(),
        title: workload.title.clone(),
        unit: workload.unit.name().into(),
        ratio: if native.median > 0.0 {
            volume.median / native.median
        } else {
            0.0
        },
        native,
        volume,
        native_latency: latency[0],
        volume_latency: latency[1],
        warnings: warnings.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests;
