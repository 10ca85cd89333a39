//! From a case that does not work to its cause.
//!
//! [`catalogue`] reads `probes/causes.toml`: what breaks on 9p volumes, by which mechanism, at whose fault, and by
//! what it is recognised. [`evidence`] gathers what a result shows, and [`rule`] says whether that is what a cause
//! is recognised by. What no cause explains is printed whole: it is a new cause to add.

pub mod catalogue;
mod evidence;
mod rule;

use results::{CaseResult, Cause, Verdict};

pub use catalogue::{CatalogueError, Entry, Fault, catalogue};
use evidence::Evidence;

/// The id of a cause that is not in the catalogue.
pub const UNMATCHED: &str = "unmatched";

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
