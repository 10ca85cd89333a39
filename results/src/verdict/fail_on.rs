//! What makes a run end with exit code 1.

use std::{fmt, str::FromStr};

use crate::Verdict;

/// The threshold of `--fail-on`: what makes the run's exit code 1.
///
/// From fine to bad: `degraded`, `workaround`, `unstable`, `fails`, `hangs`, `crashes`. Cases that were skipped
/// or are invalid say nothing of the volume and never cross it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailOn {
    /// No verdict crosses it.
    #[default]
    Never,
    /// A verdict at least as bad as this one does.
    AtLeast(Verdict),
    /// A verdict that is worse than in an earlier run does, which only [`crate::diff::compare`] can tell.
    Regression,
}

impl FailOn {
    /// The words that `--fail-on` takes, from the least to the most forgiving.
    pub const NAMES: [&str; 8] = [
        "degraded",
        "workaround",
        "unstable",
        "fails",
        "hangs",
        "crashes",
        "regression",
        "never",
    ];

    /// Whether this verdict, whatever it was before, is at least as bad as the threshold.
    pub fn is_crossed_by(self, verdict: Verdict) -> bool {
        match self {
            FailOn::AtLeast(from) => verdict.severity() >= from.severity(),
            FailOn::Never | FailOn::Regression => false,
        }
    }
}

impl fmt::Display for FailOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailOn::Never => "never",
            FailOn::AtLeast(verdict) => verdict.name(),
            FailOn::Regression => "regression",
        })
    }
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<Verdict>()) {
            ("never", _) => Ok(FailOn::Never),
            ("regression", _) => Ok(FailOn::Regression),
            (_, Ok(verdict)) if verdict.severity() > 0 => Ok(FailOn::AtLeast(verdict)),
            _ => Err(format!(
                "{text:?} is not a threshold; take one of {}",
                FailOn::NAMES.join(", ")
            )),
        }
    }
}
