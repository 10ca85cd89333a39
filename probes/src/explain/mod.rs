//! From a case that does not work to its cause.
//!
//! [`catalogue`] reads `probes/causes.toml`: what breaks on 9p volumes, by which mechanism, at whose fault, and by
//! what it is recognised. [`evidence`] gathers what a result shows, and [`rule`] says whether that is what a cause
//! is recognised by. What no cause explains is printed whole: it is a new cause to add.
//!
//! A result alone says little, so [`rerun`] runs the case under strace on each side, [`crate::strace::align`] finds where
//! the two part, [`messages`] has what the server got meanwhile (between two [`marks`]), and [`explanation`] puts all of it
//! together, which [`text`] writes for a reader.

pub mod catalogue;
mod evidence;
pub mod explanation;
mod marks;
pub mod messages;
pub mod rerun;
mod rule;
pub mod seen;
mod text;

use std::{ffi::OsString, process::ExitCode};

use results::{CaseResult, Cause, Verdict};

pub use catalogue::{CatalogueError, Entry, Fault, catalogue};
use evidence::Evidence;
use explanation::Traces;
use rerun::Traced;

use crate::{
    case::Other,
    strace::align::{Difference, Kind},
};

/// The id of a cause that is not in the catalogue.
pub const UNMATCHED: &str = "unmatched";

/// How many places where traces part a result keeps.
const KEPT_DIFFERENCES: usize = 12;

/// Does what `args` ask for when that is a child of this module.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let (name, rest) = args.split_first()?;
    (name == marks::ARGUMENT).then(|| marks::main(rest))
}

/// Why a case does not work, by the first entry of the catalogue whose evidence is there.
///
/// Nothing when the case needs no cause: it works, was not run, or fails natively too.
pub fn diagnose(result: &CaseResult) -> Option<Cause> {
    match result.verdict {
        Verdict::Works | Verdict::Skipped | Verdict::Invalid => return None,
        Verdict::Degraded
        | Verdict::Workaround
        | Verdict::Fails
        | Verdict::Hangs
        | Verdict::Crashes
        | Verdict::Unstable => {}
    }
    let evidence = Evidence::of(result);
    // What it stopped at tells more than what failed on the way there, or after.
    let known = recognised(&result.id, &evidence.at_the_stop())
        .or_else(|| recognised(&result.id, &evidence));
    Some(known.unwrap_or_else(|| Cause {
        id: UNMATCHED.to_owned(),
        summary: "No known cause fits this evidence, which is given whole.".to_owned(),
        evidence: evidence.whole(),
    }))
}

/// How much of what traces show a result keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Of a known cause the calls that fail on the volume alone, if any do, else those that differ there.
    Calls,
    /// Each place where the traces part.
    Whole,
}

/// Why a case does not work, by what it does under strace as well: where the traces part is added to the evidence.
/// `again` runs it natively once more, under strace, and is asked where chance could be taken for evidence.
pub fn traced(
    result: &CaseResult,
    known: Cause,
    mut traces: Traces,
    detail: Detail,
    again: impl FnOnce() -> Option<Traced>,
) -> Cause {
    let fails = |difference: &Difference| difference.kind == Kind::Fails;
    let Ok(found) = traces.differences() else {
        return known;
    };
    let refused = known.id != UNMATCHED && detail == Detail::Calls && found.iter().any(fails);
    if !refused && traces.native_again.is_none() {
        traces.native_again = again();
    }
    let Ok(mut differences) = traces.differences() else {
        return known;
    };
    let mut cause = match known.id == UNMATCHED {
        true => explanation::cause(result, &differences).unwrap_or(known),
        false => known,
    };
    if cause.id != UNMATCHED && detail == Detail::Calls {
        // What was not called on the volume follows from what was seen there.
        match differences.iter().any(fails) {
            true => differences.retain(fails),
            false => differences.retain(|difference| difference.kind != Kind::OnlyNatively),
        }
    }
    let most = match detail {
        Detail::Calls => KEPT_DIFFERENCES,
        Detail::Whole => usize::MAX,
    };
    for line in explanation::lines(&differences).take(most) {
        if !cause.evidence.contains(&line) {
            cause.evidence.push(line);
        }
    }
    cause
}

/// The volumes on which a case with this cause may work.
pub fn instead(cause: &Cause) -> &'static [Other] {
    catalogue::find(&cause.id).map_or(&[], |entry| &entry.instead)
}

/// The first cause of the catalogue that the evidence shows.
fn recognised(case: &str, evidence: &Evidence) -> Option<Cause> {
    catalogue().iter().find_map(|entry| {
        let shown = entry
            .evidence
            .iter()
            .find_map(|rule| rule::shown_by(rule, case, evidence))?;
        Some(Cause {
            id: entry.id.clone(),
            summary: entry.summary.clone(),
            evidence: shown,
        })
    })
}

#[cfg(test)]
mod tests;
