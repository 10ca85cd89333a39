//! From which verdict on a run ends with exit code 1.

use std::{fmt, str::FromStr};

use crate::Verdict;

/// The threshold of `--fail-on`: a verdict at least as bad as it makes the run's exit code 1.
///
/// From fine to bad: `degraded`, `workaround`, `unstable`, `fails`, `hangs`, `crashes`. Cases that were skipped
/// or are invalid say nothing of the volume and never cross it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailOn(Option<Verdict>);

impl FailOn {
    /// No verdict crosses it.
    pub const NEVER: FailOn = FailOn(None);

    /// The words that `--fail-on` takes, from the least to the most forgiving.
    pub const NAMES: [&str; 7] = [
        "degraded",
        "workaround",
        "unstable",
        "fails",
        "hangs",
        "crashes",
        "never",
    ];

    /// Whether this verdict is at least as bad as the threshold.
    pub fn is_crossed_by(self, verdict: Verdict) -> bool {
        self.0
            .is_some_and(|from| verdict.severity() >= from.severity())
    }
}

impl fmt::Display for FailOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map_or("never", Verdict::name))
    }
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(FailOn::NEVER);
        }
        match text.parse::<Verdict>() {
            Ok(verdict) if verdict.severity() > 0 => Ok(FailOn(Some(verdict))),
            _ => Err(format!(
                "{text:?} is not a threshold; take one of {}",
                FailOn::NAMES.join(", ")
            )),
        }
    }
}
