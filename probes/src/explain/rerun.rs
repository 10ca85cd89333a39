//! A case under strace, on one side: attached to the case's own process, so that its trace begins with its first call.

use std::{ffi::OsString, time::Duration};

use results::{CaseKind, Observation, Outcome};
use server9p::stack::StackError;

use crate::{
    case::PlannedCase,
    ops::{self, needs::Need},
    runner::side::{Seen, Side},
    strace::{
        self, Calls,
        align::{Step, steps},
        line,
    },
};

/// A traced run.
pub struct Traced {
    /// What the case saw.
    pub observation: Observation,
    /// The calls that concern the case's directory, or why they are not known: a sentence.
    pub steps: Result<Vec<Step>, String>,
    /// The name of its directory, which is below the export's root.
    pub place: String,
}

/// Whether the repeat of a case may be traced. A trace of making 100,000 files says nothing, and takes longest; the repeat
/// of a tool's case is slower by far, and its failing calls are known from its own run.
pub fn tells(case: &PlannedCase) -> bool {
    let needs = ops::find(&case.id).map_or(&[][..], |case| case.needs);
    case.kind == CaseKind::Op && !needs.contains(&Need::ManyEntries)
}

/// Runs the case that `child_args` mean once, traced where strace is installed.
///
/// # Errors
/// What [`Side::observe`] returns.
pub fn run(
    side: &Side,
    id: &str,
    child_args: &[OsString],
    limit: Duration,
) -> Result<Traced, StackError> {
    side.attempt(id, child_args, limit, Some(tracer()))
        .map(Traced::of)
}

/// What a traced run is traced with.
pub fn tracer() -> Vec<OsString> {
    strace::attached(Calls::All)
}

impl Traced {
    /// The run, its trace read.
    pub fn of(seen: Seen) -> Traced {
        let untraced = || Err("the case was not traced".to_owned());
        let steps = seen.trace.unwrap_or_else(untraced).map(|trace| {
            let text = String::from_utf8_lossy(&trace);
            steps(&line::read(&text), &seen.there)
        });
        let place = seen.there.file_name().unwrap_or_default();
        Traced {
            observation: seen.observation,
            steps,
            place: place.to_string_lossy().into_owned(),
        }
    }

    /// Whether it was killed at its limit.
    pub fn timed_out(&self) -> bool {
        self.observation.outcome == Outcome::Timeout
    }
}
