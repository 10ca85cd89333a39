//! The timed loops. What is read is checked, so that wrong data are no fast data.

mod blocks;
mod names;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use results::Latency;
use serde::{Deserialize, Serialize};

use super::workload::{Operation, Unit, Workload};

pub use blocks::FILE;

/// What one turn of a workload did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Completed operations.
    pub operations: u64,
    /// Bytes read or written.
    pub bytes: u64,
    /// From the first operation's start to the last one's end.
    pub seconds: f64,
    /// How long the operations took.
    pub latency: Latency,
    /// Processor time that the measuring program itself took (not the kernel for it), seconds.
    #[serde(default)]
    pub own_seconds: f64,
}

impl Turn {
    /// The rate in the workload's unit.
    pub fn rate(&self, unit: Unit) -> f64 {
        let amount = match unit {
            Unit::MebibytesPerSecond => self.bytes as f64 / (1 << 20) as f64,
            Unit::OperationsPerSecond => self.operations as f64,
        };
        amount / self.seconds
    }
}

/// What a workload needs to know.
#[derive(Debug, Clone)]
pub struct Job {
    /// What to do.
    pub workload: Workload,
    /// Where: a directory that may be written.
    pub dir: PathBuf,
    /// For how long; a turn ends with the first operation that ends later, and has one at least.
    pub time: Duration,
    /// Size of the file that is read or written, in bytes; a multiple of 1 MiB.
    pub file_bytes: u64,
    /// Chooses the random places.
    pub seed: u64,
    /// Whether a turn also ends when as many blocks were read or written as the file has, so that none that
    /// was put out of memory is met again there.
    pub once: bool,
}

/// Why a turn could not be done.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// A call failed.
    #[error("{call} of {path}: {source}")]
    Call {
        /// The call.
        call: &'static str,
        /// The file.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
    /// A block that was read does not hold what was written.
    #[error("{path} does not hold at byte {offset} what was written there")]
    WrongData {
        /// The file.
        path: PathBuf,
        /// The block's place.
        offset: u64,
    },
    /// A directory does not list what was made in it.
    #[error("{path} lists {found} entries where {expected} were made")]
    WrongEntries {
        /// The directory.
        path: PathBuf,
        /// How many it lists.
        found: usize,
        /// How many it has.
        expected: usize,
    },
}

/// Makes sure that the files which a workload needs are there, whole and with the right contents. This is not part
/// of a turn.
pub fn prepare(job: &Job) -> Result<(), WorkError> {
    match job.workload.operation {
        _ if job.workload.uses_file() => blocks::prepare(job),
        Operation::Stat | Operation::Readdir => names::prepare(job),
        _ => Ok(()),
    }
}

/// What a thread does: one operation, with its number; the bytes that it moved.
type Step<'a> = Box<dyn FnMut(u64) -> Result<u64, WorkError> + Send + 'a>;

/// Does one turn.
pub fn turn(job: &Job) -> Result<Turn, WorkError> {
    let threads = job.workload.threads;
    let begin = Barrier::new(threads as usize);
    let one = |thread: u32| -> Result<Vec<Lap>, WorkError> {
        let step = match job.workload.operation {
            Operation::Read
            | Operation::Write
            | Operation::Fsync
            | Operation::Append
            | Operation::MmapRead => blocks::step(job, thread),
            _ => names::step(job, thread),
        };
        // A thread that cannot begin must not keep the others waiting.
        begin.wait();
        timed(job, step?)
    };
    let before = own_seconds();
    let started = Instant::now();
    let laps: Vec<Lap> = if threads == 1 {
        one(0)?
    } else {
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|thread| scope.spawn(move || one(thread)))
                .collect();
            let mut laps = Vec::new();
            for thread in running {
                laps.extend(thread.join().expect("a loop does not panic")?);
            }
            Ok(laps)
        })?
    };
    let own_seconds = own_seconds() - before;
    blocks::clean(job);
    let end = laps.iter().map(|lap| lap.end).max().unwrap_or(started);
    let begun = laps
        .iter()
        .map(|lap| lap.end - lap.took)
        .min()
        .unwrap_or(started);
    Ok(Turn {
        operations: laps.len() as u64,
        bytes: laps.iter().map(|lap| lap.bytes).sum(),
        seconds: (end - begun).as_secs_f64(),
        latency: Latency::of(laps.iter().map(|lap| lap.took)),
        own_seconds,
    })
}

/// The processor time that this process has taken for itself.
fn own_seconds() -> f64 {
    let time = getrusage(UsageWho::RUSAGE_SELF).map(|usage| usage.user_time());
    time.map_or(0.0, |time| {
        time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
    })
}

/// One operation, as it went.
struct Lap {
    end: Instant,
    took: Duration,
    bytes: u64,
}

fn timed(job: &Job, mut step: Step<'_>) -> Result<Vec<Lap>, WorkError> {
    let most = if job.once && job.workload.uses_file() {
        job.file_bytes / job.workload.block() as u64
    } else {
        u64::MAX
    };
    let start = Instant::now();
    let mut laps = Vec::new();
    let mut last = start;
    loop {
        let bytes = step(laps.len() as u64)?;
        let end = Instant::now();
        laps.push(Lap {
            end,
            took: end - last,
            bytes,
        });
        last = end;
        if end - start >= job.time || laps.len() as u64 >= most {
            return Ok(laps);
        }
    }
}

fn call<T>(call: &'static str, path: &Path, result: io::Result<T>) -> Result<T, WorkError> {
    result.map_err(|source| WorkError::Call {
        call,
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
