//! The timed loops. What is read is checked, so that wrong data are no fast data.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::workload::{RANDOM_BLOCK, SEQUENTIAL_BLOCK, SMALL_FILE, Workload};

/// Name of the file that the reading and writing workloads share, in the directory that they are given.
pub const FILE: &str = "bench.dat";

/// What one turn of a workload did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Completed operations: blocks, or small files.
    pub operations: u64,
    /// Bytes read or written.
    pub bytes: u64,
    /// From the first operation's start to the last one's end.
    pub seconds: f64,
}

impl Turn {
    /// The rate in the workload's unit.
    pub fn rate(&self, workload: Workload) -> f64 {
        let amount = match workload {
            Workload::SeqRead | Workload::SeqWrite => self.bytes as f64 / (1 << 20) as f64,
            _ => self.operations as f64,
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
}

/// Makes sure that the file of the reading and writing workloads is there, whole and with the right contents.
/// This is not part of a turn.
pub fn prepare(job: &Job) -> Result<(), WorkError> {
    if job.workload == Workload::SmallFiles {
        return Ok(());
    }
    let path = job.dir.join(FILE);
    if fs::metadata(&path).is_ok_and(|found| found.len() == job.file_bytes) {
        return Ok(());
    }
    let file = call("create", &path, File::create(&path))?;
    let mut block = vec![0; SEQUENTIAL_BLOCK];
    for offset in (0..job.file_bytes).step_by(SEQUENTIAL_BLOCK) {
        stamp(&mut block, offset);
        call("write", &path, file.write_all_at(&block, offset))?;
    }
    call("fsync", &path, file.sync_all())
}

/// Does one turn.
pub fn turn(job: &Job) -> Result<Turn, WorkError> {
    match job.workload {
        Workload::SeqRead => blocks(job, SEQUENTIAL_BLOCK, false, read),
        Workload::SeqWrite => blocks(job, SEQUENTIAL_BLOCK, false, write),
        Workload::RandRead => blocks(job, RANDOM_BLOCK, true, read),
        Workload::RandWrite => blocks(job, RANDOM_BLOCK, true, write),
        Workload::SmallFiles => small_files(job),
    }
}

/// Repeats one operation on blocks of the file until the time is over.
fn blocks(
    job: &Job,
    size: usize,
    random: bool,
    operation: impl Fn(&File, &Path, &mut [u8], u64) -> Result<(), WorkError>,
) -> Result<Turn, WorkError> {
    let path = job.dir.join(FILE);
    let file = call(
        "open",
        &path,
        OpenOptions::new().read(true).write(true).open(&path),
    )?;
    let count = job.file_bytes / size as u64;
    let mut places = Places {
        next: 0,
        state: job.seed,
        count,
        random,
    };
    let mut block = vec![0; size];
    let most = if job.once { count } else { u64::MAX };
    timed(job.time, most, size as u64, || {
        let offset = places.next() * size as u64;
        operation(&file, &path, &mut block, offset)
    })
}

fn read(file: &File, path: &Path, block: &mut [u8], offset: u64) -> Result<(), WorkError> {
    call("read", path, file.read_exact_at(block, offset))?;
    let right =
        |(i, page): (usize, &[u8])| page[..8] == (offset + (i * RANDOM_BLOCK) as u64).to_le_bytes();
    if block.chunks(RANDOM_BLOCK).enumerate().all(right) {
        Ok(())
    } else {
        Err(WorkError::WrongData {
            path: path.to_owned(),
            offset,
        })
    }
}

fn write(file: &File, path: &Path, block: &mut [u8], offset: u64) -> Result<(), WorkError> {
    stamp(block, offset);
    call("write", path, file.write_all_at(block, offset))
}

/// Every page of a block begins with its own place in the file.
fn stamp(block: &mut [u8], offset: u64) {
    for (i, page) in block.chunks_mut(RANDOM_BLOCK).enumerate() {
        page[..8].copy_from_slice(&(offset + (i * RANDOM_BLOCK) as u64).to_le_bytes());
    }
}

fn small_files(job: &Job) -> Result<Turn, WorkError> {
    let contents = [0x39; SMALL_FILE];
    let mut number = 0u64;
    timed(job.time, u64::MAX, SMALL_FILE as u64, || {
        // A few names in turn, so that nothing depends on one name's being used again at once.
        let path = job.dir.join(format!("small-{}", number % 64));
        number += 1;
        let file = call(
            "create",
            &path,
            OpenOptions::new().write(true).create_new(true).open(&path),
        )?;
        call("write", &path, file.write_all_at(&contents, 0))?;
        drop(file);
        let found = call("stat", &path, fs::metadata(&path))?;
        if found.len() != SMALL_FILE as u64 {
            return Err(WorkError::WrongData {
                path,
                offset: found.len(),
            });
        }
        call("unlink", &path, fs::remove_file(&path))
    })
}

fn timed(
    time: Duration,
    most: u64,
    bytes: u64,
    mut operation: impl FnMut() -> Result<(), WorkError>,
) -> Result<Turn, WorkError> {
    let start = Instant::now();
    let mut operations = 0;
    loop {
        operation()?;
        operations += 1;
        let elapsed = start.elapsed();
        if elapsed >= time || operations >= most {
            return Ok(Turn {
                operations,
                bytes: operations * bytes,
                seconds: elapsed.as_secs_f64(),
            });
        }
    }
}

/// The blocks' numbers, one after the other or at random (SplitMix64, Steele, Lea and Flood 2014).
struct Places {
    next: u64,
    state: u64,
    count: u64,
    random: bool,
}

impl Places {
    fn next(&mut self) -> u64 {
        if !self.random {
            self.next = (self.next + 1) % self.count;
            return (self.next + self.count - 1) % self.count;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % self.count
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
mod tests {
    use super::*;

    fn job(workload: Workload, dir: &Path) -> Job {
        Job {
            workload,
            dir: dir.to_owned(),
            time: Duration::ZERO,
            file_bytes: 4 << 20,
            seed: 1,
            once: false,
        }
    }

    #[test]
    fn every_workload_does_at_least_one_operation_and_leaves_only_its_file() {
        let dir = tempfile::tempdir().unwrap();
        for workload in Workload::ALL {
            let job = job(workload, dir.path());
            prepare(&job).unwrap();
            let turn = turn(&job).unwrap();
            assert!(
                turn.operations >= 1 && turn.seconds > 0.0,
                "{workload}: {turn:?}"
            );
            assert!(turn.rate(workload) > 0.0);
        }
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, [FILE]);
    }

    #[test]
    fn what_writing_leaves_is_what_reading_expects() {
        let dir = tempfile::tempdir().unwrap();
        for workload in [
            Workload::RandWrite,
            Workload::SeqWrite,
            Workload::RandRead,
            Workload::SeqRead,
        ] {
            let job = Job {
                time: Duration::from_millis(5),
                ..job(workload, dir.path())
            };
            prepare(&job).unwrap();
            turn(&job).unwrap();
        }
    }

    #[test]
    fn wrong_data_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let job = job(Workload::SeqRead, dir.path());
        prepare(&job).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(dir.path().join(FILE))
            .unwrap();
        file.write_all_at(b"garbage!", 8192).unwrap();
        let error = turn(&job).unwrap_err().to_string();
        assert!(
            error.ends_with("does not hold at byte 0 what was written there"),
            "{error}"
        );
    }

    #[test]
    fn a_turn_of_once_ends_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let job = Job {
            once: true,
            time: Duration::MAX,
            ..job(Workload::SeqRead, dir.path())
        };
        prepare(&job).unwrap();
        assert_eq!(turn(&job).unwrap().operations, 4);
    }

    #[test]
    fn places_cover_the_file() {
        for random in [false, true] {
            let mut places = Places {
                next: 0,
                state: 7,
                count: 8,
                random,
            };
            let seen: std::collections::BTreeSet<u64> = (0..200).map(|_| places.next()).collect();
            assert_eq!(seen.len(), 8);
        }
        let mut places = Places {
            next: 0,
            state: 0,
            count: 3,
            random: false,
        };
        assert_eq!([0; 4].map(|_| places.next()), [0, 1, 2, 0]);
    }
}
