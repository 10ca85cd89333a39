//! Jobs of fio as workloads: what fio measures on both sides is taken as it is, nothing is checked.

use std::{ffi::OsString, fs, path::Path, time::Duration};

use results::Latency;
use serde::Deserialize;
use server9p::stack::{CommandSpec, Ended, StackError, World};

use super::{
    measure::{About, Options, Work},
    work::Turn,
    workload::Unit,
};

/// From blocks of this size on, bytes, a job's rate is one of bytes.
const LARGE_BLOCK: u64 = 64 << 10;

/// Why a file's jobs cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum FioError {
    /// The file cannot be read.
    #[error("the fio jobs in {file} cannot be read: {source}; name a job file of fio's own format")]
    Read {
        /// The file.
        file: String,
        /// Its error.
        source: std::io::Error,
    },
    /// It has no jobs.
    #[error(
        "{file} has no job; give it a section such as [randread] with rw=randread and size=16m"
    )]
    Empty {
        /// The file.
        file: String,
    },
    /// A job says where its files are.
    #[error(
        "the fio jobs in {file} say where their files are ({line}); leave that out, each side gives them a directory"
    )]
    Placed {
        /// The file.
        file: String,
        /// The line that says so.
        line: String,
    },
}

/// One job of a file, which native and volumes carry out in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    section: String,
    rw: String,
    block: u64,
    threads: u32,
    /// The whole file, for fio to read from standard input.
    text: String,
}

/// The jobs of a file, in its order.
///
/// # Errors
/// See [`FioError`].
pub fn load(path: &Path) -> Result<Vec<Job>, FioError> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| FioError::Read {
        file: file.clone(),
        source,
    })?;
    jobs(&file, &text)
}

/// Whether fio can be run where `world` runs commands; else why not.
///
/// # Errors
/// What [`World::run`] returns, when it is lost.
pub fn missing(world: &dyn World) -> Result<Option<String>, StackError> {
    let finished = world.run(&CommandSpec::new(
        ["fio", "--version"].map(OsString::from),
        "/",
    ))?;
    Ok((finished.ended != Ended::Code(0)).then(|| {
        "fio is not installed; install the system's package `fio` (scripts/setup --tools brings it)"
            .to_owned()
    }))
}

fn jobs(file: &str, text: &str) -> Result<Vec<Job>, FioError> {
    // What [global] sections say holds for the jobs after them.
    let mut global = Job {
        section: String::new(),
        rw: "read".into(),
        block: 4096,
        threads: 1,
        text: text.to_owned(),
    };
    let mut found: Vec<Job> = Vec::new();
    let mut in_global = true;
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            in_global = section == "global";
            if !in_global {
                found.push(Job {
                    section: section.to_owned(),
                    ..global.clone()
                });
            }
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim());
        if key == "directory" || (key == "filename" && value.contains('/')) {
            return Err(FioError::Placed {
                file: file.to_owned(),
                line: line.to_owned(),
            });
        }
        let job = match found.last_mut() {
            Some(job) if !in_global => job,
            _ => &mut global,
        };
        match key {
            "rw" | "readwrite" => job.rw = value.to_owned(),
            "bs" | "blocksize" => job.block = size(value).unwrap_or(job.block),
            "numjobs" => job.threads = value.parse().unwrap_or(job.threads),
            _ => {}
        }
    }
    if found.is_empty() {
        return Err(FioError::Empty {
            file: file.to_owned(),
        });
    }
    Ok(found)
}

/// The first of fio's sizes: `4k`, `1m`, `4k,64k`.
fn size(text: &str) -> Option<u64> {
    let text = text.split([',', '-']).next()?.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].chars().next() {
        None | Some('b') => 1,
        Some('k') => 1 << 10,
        Some('m') => 1 << 20,
        Some('g') => 1 << 30,
        Some(_) => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

impl Work for Job {
    fn about(&self) -> About {
        About {
            name: format!("fio:{}", self.section),
            title: format!("fio's job {} ({})", self.section, self.rw),
            unit: if self.block >= LARGE_BLOCK {
                Unit::MebibytesPerSecond
            } else {
                Unit::OperationsPerSecond
            },
            threads: self.threads,
        }
    }

    fn reads(&self) -> bool {
        // Where its file is, and whether it was just written, is the job's affair.
        false
    }

    fn command(&self, dir: &Path, time: Duration, _: &Options, _: u32) -> Vec<OsString> {
        // Options before a file are what its jobs begin with; they may say otherwise.
        let script = "cd \"$1\" && printf '%s\\n' \"$2\" | fio --output-format=json --group_reporting \
                      --runtime=\"$3\" --section=\"$4\" -";
        let runtime = format!("{}ms", time.as_millis().max(1));
        let words = ["sh", "-c", script, "sh"].map(OsString::from);
        let rest = [
            dir.into(),
            OsString::from(&self.text),
            runtime.into(),
            OsString::from(&self.section),
        ];
        words.into_iter().chain(rest).collect()
    }

    fn turn(&self, stdout: &[u8]) -> Result<Turn, String> {
        // fio may say things before its JSON.
        let start = stdout.iter().position(|byte| *byte == b'{').unwrap_or(0);
        let told: Told = serde_json::from_slice(&stdout[start..])
            .map_err(|error| format!("what fio printed is not its JSON ({error})"))?;
        let directions = || told.jobs.iter().flat_map(|job| [&job.read, &job.write]);
        if let Some(job) = told.jobs.iter().find(|job| job.error != 0) {
            return Err(format!("fio's job ended with errno {}", job.error));
        }
        let operations: u64 = directions().map(|one| one.total_ios).sum();
        let millis = directions().map(|one| one.runtime).max().unwrap_or(0);
        if operations == 0 {
            return Err(format!("fio's job {} read and wrote nothing", self.section));
        }
        let most = directions().max_by_key(|one| one.total_ios);
        let percentile = |name: &str| {
            let nanos = most.and_then(|one| one.clat_ns.percentile.get(name).copied());
            nanos.unwrap_or(0) as f64 / 1e3
        };
        let seconds = millis.max(1) as f64 / 1e3;
        let user: f64 = told.jobs.iter().map(|job| job.usr_cpu).sum();
        Ok(Turn {
            operations,
            bytes: directions().map(|one| one.io_bytes).sum(),
            seconds,
            latency: Latency {
                p50: percentile("50.000000"),
                p95: percentile("95.000000"),
                p99: percentile("99.000000"),
            },
            own_seconds: user / 100.0 * seconds,
        })
    }
}

/// The part of fio's JSON that is of interest.
#[derive(Debug, Deserialize)]
struct Told {
    jobs: Vec<ToldJob>,
}

#[derive(Debug, Deserialize)]
struct ToldJob {
    error: i32,
    read: Direction,
    write: Direction,
    /// Percent of one processor.
    #[serde(default)]
    usr_cpu: f64,
}

#[derive(Debug, Default, Deserialize)]
struct Direction {
    io_bytes: u64,
    total_ios: u64,
    /// Milliseconds.
    runtime: u64,
    #[serde(default)]
    clat_ns: Percentiles,
}

#[derive(Debug, Default, Deserialize)]
struct Percentiles {
    /// Nanoseconds, by the percentile as text; absent where nothing was done.
    #[serde(default)]
    percentile: std::collections::BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[global]\nsize=16m\nbs=4k\n; remark\n[reads]\nrw=randread\n\n[large]\nrw = write\nbs=1m\nnumjobs=2\n";

    #[test]
    fn jobs_have_what_global_sections_before_them_say() {
        let jobs = jobs("f", FILE).unwrap();
        let about: Vec<About> = jobs.iter().map(Work::about).collect();
        assert_eq!(about[0].name, "fio:reads");
        assert_eq!(about[0].unit, Unit::OperationsPerSecond);
        assert_eq!(
            about[1],
            About {
                name: "fio:large".into(),
                title: "fio's job large (write)".into(),
                unit: Unit::MebibytesPerSecond,
                threads: 2
            }
        );
    }

    #[test]
    fn files_without_jobs_or_with_places_are_refused() {
        assert!(matches!(
            jobs("f", "[global]\nbs=4k\n"),
            Err(FioError::Empty { .. })
        ));
        for place in ["directory=/tmp", "filename=/dev/sda"] {
            let text = format!("[a]\n{place}\n");
            assert!(
                matches!(jobs("f", &text), Err(FioError::Placed { .. })),
                "{place}"
            );
        }
        assert!(jobs("f", "[a]\nfilename=mine\n").is_ok());
    }

    #[test]
    fn fio_s_report_becomes_a_turn() {
        let job = &jobs("f", FILE).unwrap()[0];
        let direction = |ios: u64| {
            format!(
                "{{\"io_bytes\": {}, \"total_ios\": {ios}, \"runtime\": 250, \"clat_ns\": \
                 {{\"percentile\": {{\"50.000000\": 2000, \"99.000000\": 9000}}}}}}",
                ios * 4096
            )
        };
        let text = format!(
            "fio: note\n{{\"jobs\": [{{\"error\": 0, \"usr_cpu\": 10.0, \"read\": {}, \"write\": {}}}]}}",
            direction(500),
            direction(0)
        );
        let turn = job.turn(text.as_bytes()).unwrap();
        assert_eq!(
            (turn.operations, turn.bytes, turn.seconds),
            (500, 2_048_000, 0.25)
        );
        assert_eq!((turn.latency.p50, turn.latency.p99), (2.0, 9.0));
        assert_eq!(turn.rate(Unit::OperationsPerSecond), 2000.0);
        assert!(job.turn(b"no JSON").unwrap_err().contains("not its JSON"));
    }
}
