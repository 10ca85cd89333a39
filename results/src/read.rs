//! Reading a report again: whole, or not at all.
//!
//! A file is a report (`--out FILE`, `--format json`) or a run's events, one a line. A report that is truncated
//! or was edited so that it contradicts itself is refused, with the place and the reason. A file of events may
//! end anywhere: what had happened until then is a valid, unfinished report.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    CaseResult, Event, Outcome, Report, ReportBuilder, SCHEMA_VERSION, Verdict, integrity, judge,
    with_remedies,
};

/// Why a file is not a report. Each message is a sentence that names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error(
        "{path} cannot be read: {source}. Give the path of a file that `probe9p run --out FILE` wrote."
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file ends before the report does.
    #[error(
        "{path} is truncated: it ends in the middle of the report, at line {line}, column {column}. \
             Take the run's JSON-lines file, which can be read wherever it ends, or run it again."
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The file is not what a run writes.
    #[error(
        "{path} is not a report of probe9p: at {place}, {reason}. \
             Give a file that `probe9p run --out FILE` wrote, unchanged."
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where: `line 3, column 5`.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// The file holds nothing.
    #[error("{path} is empty. Give a file that `probe9p run --out FILE` wrote.")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer probe9p.
    #[error(
        "{path} has schema version {found}, and this probe9p reads versions up to {SCHEMA_VERSION}. \
             Take the probe9p that wrote it, or a newer one."
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The content does not fit its digests, so it was edited or mixed from several.
    #[error(
        "{path} was changed after the run, at {place}: {reason}. Take the original; \
             `probe9p merge` joins the reports of one run's parts."
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Where: `cases[3] (sqlite.wal)`.
        place: String,
        /// What does not fit.
        reason: String,
    },
    /// The report contradicts itself, so it was edited or mixed from several.
    #[error(
        "{path} contradicts itself at {place}: {reason}. It was changed after the run; take the original."
    )]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// Where: `cases[3] (sqlite.wal)`.
        place: String,
        /// What cannot be true together.
        reason: String,
    },
}

impl Report {
    /// Reads a report, or the events of a run, from a file.
    ///
    /// # Errors
    /// When the file cannot be read, is not a report, is truncated, contradicts itself, or follows a newer schema.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|source| ReadError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&bytes, path)
    }

    /// As [`Report::read`], of bytes that came from `path`; the path is for messages only.
    ///
    /// # Errors
    /// As [`Report::read`], without those of reading a file.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, ReadError> {
        if bytes.trim_ascii().is_empty() {
            return Err(ReadError::Empty {
                path: path.to_owned(),
            });
        }
        if is_events(bytes) {
            let report = from_events(bytes, path)?;
            check(&report, path)?;
            return Ok(report);
        }
        let report = from_report(bytes, path)?;
        check(&report, path)?;
        match integrity::mismatch(bytes) {
            None => Ok(report),
            Some((place, reason)) => Err(ReadError::Changed {
                path: path.to_owned(),
                place,
                reason,
            }),
        }
    }
}

/// Only the version, whatever else there is: a newer schema must not be called malformed.
#[derive(Deserialize)]
struct Version {
    schema_version: u64,
}

/// Only the kind of an event.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "event")]
    _event: String,
}

fn is_events(bytes: &[u8]) -> bool {
    bytes
        .split(|b| *b == b'\n')
        .next()
        .is_some_and(|line| serde_json::from_slice::<Kind>(line).is_ok())
}

fn from_report(bytes: &[u8], path: &Path) -> Result<Report, ReadError> {
    refuse_newer(bytes, path)?;
    serde_json::from_slice(bytes).map_err(|error| wrong(&error, path))
}

fn wrong(error: &serde_json::Error, path: &Path) -> ReadError {
    let (path, line, column) = (path.to_owned(), error.line(), error.column());
    if error.is_eof() {
        return ReadError::Truncated { path, line, column };
    }
    let place = format!("line {line}, column {column}");
    ReadError::Malformed {
        path,
        place,
        reason: without_place(error),
    }
}

/// The error's words without the place, which the sentence names itself.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

fn refuse_newer(json: &[u8], path: &Path) -> Result<(), ReadError> {
    match serde_json::from_slice::<Version>(json) {
        Ok(Version {
            schema_version: found,
        }) if found > u64::from(SCHEMA_VERSION) => Err(ReadError::Newer {
            path: path.to_owned(),
            found,
        }),
        _ => Ok(()),
    }
}

fn from_events(bytes: &[u8], path: &Path) -> Result<Report, ReadError> {
    let malformed = |index: usize, reason: String| ReadError::Malformed {
        path: path.to_owned(),
        place: format!("line {}", index + 1),
        reason,
    };
    let mut builder = ReportBuilder::default();
    let mut lines = bytes.split(|b| *b == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if index == 0 {
            refuse_newer(line, path)?;
        }
        let event: Event = match serde_json::from_slice(line) {
            Ok(event) => event,
            // Only what follows no line break can have been cut off by the end of the run.
            Err(error) if error.is_eof() && lines.peek().is_none() => break,
            Err(error) if error.is_eof() => {
                return Err(malformed(
                    index,
                    "the event is cut off, and more follow".into(),
                ));
            }
            Err(error) => return Err(malformed(index, without_place(&error))),
        };
        builder
            .event(&event)
            .map_err(|error| malformed(index, error.to_string()))?;
    }
    builder
        .into_report()
        .ok_or_else(|| malformed(0, "there is no event".into()))
}

/// Refuses what no run can have written.
fn check(report: &Report, path: &Path) -> Result<(), ReadError> {
    let contradiction = |place: String, reason: String| {
        Err(ReadError::Contradiction {
            path: path.to_owned(),
            place,
            reason,
        })
    };
    let mut ids = std::collections::BTreeSet::new();
    for (index, case) in report.cases.iter().enumerate() {
        let place = || format!("cases[{index}] ({})", case.id);
        if !ids.insert(&case.id) {
            return contradiction(place(), "the case has a result already".into());
        }
        if let Some(reason) = impossible(case).or_else(|| other_verdict(case)) {
            return contradiction(place(), reason);
        }
    }
    for (index, bench) in report.bench.iter().enumerate() {
        for (side, samples) in [("native", &bench.native), ("volume", &bench.volume)] {
            if !(samples.low <= samples.median && samples.median <= samples.high) {
                let place = format!("bench[{index}] ({}), {side}", bench.workload);
                return contradiction(place, "the median lies outside its interval".into());
            }
        }
    }
    Ok(())
}

/// Why this verdict cannot follow from these observations, or `None` where it can.
fn impossible(case: &CaseResult) -> Option<String> {
    let (native, volume) = (case.native.outcome, case.volume.outcome);
    let needed = match case.verdict {
        Verdict::Works | Verdict::Degraded if native != Outcome::Ok || volume != Outcome::Ok => {
            "both sides ended well"
        }
        Verdict::Fails | Verdict::Hangs | Verdict::Crashes | Verdict::Workaround
            if native != Outcome::Ok =>
        {
            "the native side ended well"
        }
        Verdict::Hangs if volume != Outcome::Timeout => "the volume's side ran into its limit",
        Verdict::Crashes if volume != Outcome::Signal => "a signal ended the volume's side",
        Verdict::Workaround if !case.remedies.iter().any(|r| r.verified) => "a remedy is verified",
        Verdict::Invalid if native == Outcome::Ok => "the native side failed",
        Verdict::Skipped if native != Outcome::NotRun && volume != Outcome::NotRun => {
            "one side was not run"
        }
        _ => return None,
    };
    Some(format!(
        "the verdict is {:?}, which needs that {needed}",
        case.verdict.name()
    ))
}

/// Why these observations give another verdict. Repeats that disagree, of which a report shows one, may give any.
fn other_verdict(case: &CaseResult) -> Option<String> {
    if case.verdict == Verdict::Unstable {
        return None;
    }
    // Until 2026-11 what failed natively was invalid, whether or not it was run on the volume.
    let invalid = case.verdict == Verdict::Invalid && case.volume.outcome == Outcome::NotRun;
    if invalid && !matches!(case.native.outcome, Outcome::Ok | Outcome::NotRun) {
        return None;
    }
    let (judged, _) = judge(
        std::slice::from_ref(&case.native),
        std::slice::from_ref(&case.volume),
    );
    let follows = with_remedies(judged, &case.remedies);
    (follows != case.verdict).then(|| {
        format!(
            "the verdict is {:?}, and {:?} follows from what was observed",
            case.verdict.name(),
            follows.name()
        )
    })
}
