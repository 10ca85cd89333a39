//! From observations of a case, native and on the volume, to a verdict.
//!
//! Every verdict is relative to native: what fails in a plain local directory too says nothing of the volume.
//! The rules are pure functions, so that a stored report can be judged again and gives the same answer.

use std::{fmt, str::FromStr};

use crate::{Observation, Outcome, Remedy, Verdict};

mod compare;
mod fail_on;

pub use compare::{GUARANTEE_PREFIX, SPEED, describe};
pub use fail_on::FailOn;

use compare::{compare, disagreement, settled};

impl Verdict {
    /// Every verdict, in the order that summaries list them.
    pub const ALL: [Verdict; 9] = [
        Verdict::Works,
        Verdict::Degraded,
        Verdict::Workaround,
        Verdict::Unstable,
        Verdict::Fails,
        Verdict::Hangs,
        Verdict::Crashes,
        Verdict::Skipped,
        Verdict::Invalid,
    ];

    /// The word that reports and options use.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Works => "works",
            Verdict::Degraded => "degraded",
            Verdict::Workaround => "workaround",
            Verdict::Fails => "fails",
            Verdict::Hangs => "hangs",
            Verdict::Crashes => "crashes",
            Verdict::Unstable => "unstable",
            Verdict::Skipped => "skipped",
            Verdict::Invalid => "invalid",
        }
    }

    /// One character, one column wide, that stands beside the word and never for it.
    pub fn symbol(self) -> char {
        match self {
            Verdict::Works => '✓',
            Verdict::Degraded => '◐',
            Verdict::Workaround => '↻',
            Verdict::Fails => '✗',
            Verdict::Hangs => '∞',
            Verdict::Crashes => '!',
            Verdict::Unstable => '~',
            Verdict::Skipped => '-',
            Verdict::Invalid => '?',
        }
    }

    /// What the verdict means, in one line.
    pub fn meaning(self) -> &'static str {
        match self {
            Verdict::Works => "as on a local directory",
            Verdict::Degraded => "works, but a stated guarantee or speed is lost",
            Verdict::Workaround => {
                "fails as it is; a remedy that was run and verified makes it work"
            }
            Verdict::Fails => "fails on the volume only",
            Verdict::Hangs => "does not end on the volume within the case's limit",
            Verdict::Crashes => "is ended by a signal on the volume only",
            Verdict::Unstable => "repeated runs disagree",
            Verdict::Skipped => "was not run",
            Verdict::Invalid => "fails natively too, so nothing can be said of the volume",
        }
    }

    /// Whether the case does not work on the volume as it is. A case that was skipped or is invalid tells
    /// nothing of the volume, so it is not bad.
    pub fn is_bad(self) -> bool {
        self.severity() >= Verdict::Workaround.severity()
    }

    /// How bad it is for someone who relies on the case, 0 (fine, or unknown) to 6.
    pub fn severity(self) -> u8 {
        match self {
            Verdict::Works | Verdict::Skipped | Verdict::Invalid => 0,
            Verdict::Degraded => 1,
            Verdict::Workaround => 2,
            Verdict::Unstable => 3,
            Verdict::Fails => 4,
            Verdict::Hangs => 5,
            Verdict::Crashes => 6,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Verdict::ALL
            .into_iter()
            .find(|v| v.name() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Verdict::ALL.iter().map(|v| v.name()).collect();
                format!(
                    "there is no verdict {text:?}; take one of {}",
                    names.join(", ")
                )
            })
    }
}

/// Judges the volume's observations against the native ones, and says in one line why.
///
/// Each slice holds one observation for each time that side was run, in any order; repeats that were not run
/// (the run was interrupted) are left out of account, and a side without any other counts as not run. The note
/// is empty exactly when the verdict is `works`.
///
/// Repeats disagree when they ended differently, or all ended well but saw different facts. Failures of one
/// kind that differ in their errno are still failures: the note then names the first. Speed ([`SPEED`]) is lost only
/// when every repeat measured so.
pub fn judge(native: &[Observation], volume: &[Observation]) -> (Verdict, String) {
    let native = match Side::of(native) {
        Side::NotRun(why) => return (Verdict::Skipped, or(why, "it was not run natively")),
        Side::Disagrees(how) => {
            return (Verdict::Unstable, format!("native repeats disagree: {how}"));
        }
        Side::Agrees(seen) => seen,
    };
    let volume = Side::of(volume);
    if let Side::NotRun(why) = volume {
        return (Verdict::Skipped, or(why, "it was not run on the volume"));
    }
    if native.outcome != Outcome::Ok {
        return (
            Verdict::Invalid,
            format!("fails natively too: {}", describe(native)),
        );
    }
    let volume = match volume {
        Side::NotRun(_) => unreachable!("it was returned above"),
        Side::Disagrees(how) => {
            return (
                Verdict::Unstable,
                format!("repeats on the volume disagree: {how}"),
            );
        }
        Side::Agrees(seen) => seen,
    };
    match volume.outcome {
        Outcome::Ok => compare(native, volume),
        Outcome::Error => (Verdict::Fails, describe(volume)),
        Outcome::Timeout => (Verdict::Hangs, describe(volume)),
        Outcome::Signal => (Verdict::Crashes, describe(volume)),
        Outcome::NotRun => unreachable!("Side::of leaves out what was not run"),
    }
}

/// What the repeats of one side say together.
enum Side<'a> {
    /// None was run; the reason, where one was given.
    NotRun(&'a str),
    /// They disagree, and how.
    Disagrees(String),
    /// They agree; this one stands for all.
    Agrees(&'a Observation),
}

impl<'a> Side<'a> {
    fn of(repeats: &'a [Observation]) -> Self {
        let run: Vec<&Observation> = repeats
            .iter()
            .filter(|o| o.outcome != Outcome::NotRun)
            .collect();
        let Some(one) = settled(&run) else {
            return Side::NotRun(repeats.first().map_or("", |o| o.detail.trim()));
        };
        match disagreement(&run) {
            Some(how) => Side::Disagrees(how),
            None => Side::Agrees(one),
        }
    }
}

/// The repeat that a report should show for a side: the first that did not end well, for its evidence, else
/// the one that was run and judged by, else the first.
///
/// Returns `None` only for an empty slice.
pub fn representative(repeats: &[Observation]) -> Option<&Observation> {
    let failed = |o: &&Observation| !matches!(o.outcome, Outcome::Ok | Outcome::NotRun);
    let run: Vec<&Observation> = repeats
        .iter()
        .filter(|o| o.outcome != Outcome::NotRun)
        .collect();
    repeats
        .iter()
        .find(failed)
        .or_else(|| settled(&run))
        .or(repeats.first())
}

/// The verdict once remedies were tried: a case that does not work and has a verified remedy has a workaround.
pub fn with_remedies(verdict: Verdict, remedies: &[Remedy]) -> Verdict {
    match verdict {
        Verdict::Fails | Verdict::Hangs | Verdict::Crashes
            if remedies.iter().any(|r| r.verified) =>
        {
            Verdict::Workaround
        }
        other => other,
    }
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise } else { text }.to_owned()
}

#[cfg(test)]
mod tests;
