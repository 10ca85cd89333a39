//! What differs between observations, in words.

use std::collections::BTreeMap;

use crate::{Observation, Outcome, Verdict};

/// Facts whose names begin so are guarantees: one that is lost degrades a case, it does not fail it.
pub const GUARANTEE_PREFIX: &str = "guarantee.";

/// The guarantee that is measured rather than seen: that a volume is not much slower than a local directory. It is `kept`
/// or `lost`, and absent where it could not be measured, which says nothing.
pub const SPEED: &str = "guarantee.speed";
/// What is said of a speed that was measured and found lost.
const LOST: &str = "lost";

/// Longest fact value that a note quotes in full, in characters.
const VALUE_LIMIT: usize = 80;

/// How an observation ended, in one line: `mmap: EINVAL (db-shm, MAP_SHARED)`.
pub fn describe(seen: &Observation) -> String {
    let detail = seen.detail.trim().lines().next().unwrap_or_default();
    let head = match seen.outcome {
        Outcome::Ok => "ended well".to_owned(),
        Outcome::NotRun => "was not run".to_owned(),
        // Who stopped it, or watched it end, says so better than the outcome alone.
        Outcome::Timeout | Outcome::Signal if !detail.is_empty() => return detail.to_owned(),
        Outcome::Timeout => match &seen.call {
            Some(call) => format!("did not end within its limit, in {call}"),
            None => "did not end within its limit".to_owned(),
        },
        Outcome::Signal => {
            format!(
                "was ended by {}",
                seen.signal.as_deref().unwrap_or("a signal")
            )
        }
        Outcome::Error => match (&seen.call, &seen.errno, seen.exit_code) {
            // A detail that names both already says it better.
            (Some(call), Some(errno), _)
                if detail.starts_with(call.as_str()) && detail.contains(errno.as_str()) =>
            {
                return detail.to_owned();
            }
            (Some(call), Some(errno), _) => format!("{call}: {errno}"),
            (None, Some(errno), _) => errno.clone(),
            (Some(call), None, _) => format!("{call} failed"),
            (None, None, Some(code)) if detail.starts_with(&format!("exit code {code}")) => {
                return detail.to_owned();
            }
            (None, None, Some(code)) => format!("exit code {code}"),
            (None, None, None) if !detail.is_empty() => return detail.to_owned(),
            (None, None, None) => "failed without saying why".to_owned(),
        },
    };
    if detail.is_empty() {
        head
    } else {
        format!("{head} ({detail})")
    }
}

/// Judges two observations that both ended well by their exit codes and facts.
pub(super) fn compare(native: &Observation, volume: &Observation) -> (Verdict, String) {
    let (guarantees, others): (Vec<_>, Vec<_>) = differences(native, volume)
        .into_iter()
        .filter(|d| d.name != SPEED || d.is(LOST))
        .partition(|d| d.name.starts_with(GUARANTEE_PREFIX));
    if !others.is_empty() {
        (Verdict::Fails, note(&others, "on the volume", "natively"))
    } else if !guarantees.is_empty() {
        (
            Verdict::Degraded,
            note(&guarantees, "on the volume", "natively"),
        )
    } else {
        (Verdict::Works, String::new())
    }
}

/// How repeats of one side disagree, or `None` where they agree. Failures agree whatever their errno, and so do runs
/// of which some were too slow: see [`settled`].
pub(super) fn disagreement(run: &[&Observation]) -> Option<String> {
    let first = run[0];
    if run.iter().any(|o| o.outcome != first.outcome) {
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        for seen in run {
            *ends.entry(describe(seen)).or_default() += 1;
        }
        let ends: Vec<_> = ends
            .into_iter()
            .map(|(end, times)| format!("{times} of {} {end}", run.len()))
            .collect();
        return Some(ends.join(", "));
    }
    if first.outcome != Outcome::Ok {
        return None;
    }
    let mut apart = run.iter().map(|other| {
        let mut found = differences(first, other);
        found.retain(|difference| difference.name != SPEED);
        found
    });
    let found = apart.find(|found| !found.is_empty())?;
    Some(note(&found, "in one", "in another"))
}

/// Which of the repeats that agree stands for all: one that was fast enough, if any was, since speed is lost only when it
/// is lost each time; else the first.
pub(super) fn settled<'a>(run: &[&'a Observation]) -> Option<&'a Observation> {
    let fast = |seen: &&&Observation| seen.facts.get(SPEED).is_none_or(|said| said != LOST);
    run.iter().find(fast).or(run.first()).copied()
}

/// A fact with two values; a side that lacks it has `None`.
struct Difference<'a> {
    name: &'a str,
    left: Option<String>,
    right: Option<String>,
}

impl Difference<'_> {
    /// Whether a side has this value.
    fn is(&self, value: &str) -> bool {
        [&self.left, &self.right]
            .map(Option::as_deref)
            .contains(&Some(value))
    }
}

fn differences<'a>(left: &'a Observation, right: &'a Observation) -> Vec<Difference<'a>> {
    let mut found = Vec::new();
    if left.exit_code != right.exit_code {
        let code = |seen: &Observation| seen.exit_code.map(|code| code.to_string());
        found.push(Difference {
            name: "exit code",
            left: code(left),
            right: code(right),
        });
    }
    let names: std::collections::BTreeSet<&str> = left
        .facts
        .keys()
        .chain(right.facts.keys())
        .map(String::as_str)
        .collect();
    for name in names {
        let (a, b) = (left.facts.get(name), right.facts.get(name));
        if a != b {
            found.push(Difference {
                name,
                left: a.cloned(),
                right: b.cloned(),
            });
        }
    }
    found
}

/// `st_nlink is 1 on the volume, 2 natively; and 3 more differ`. The right-hand side is the volume's.
fn note(differences: &[Difference<'_>], right: &str, left: &str) -> String {
    const NAMED: usize = 2;
    let mut parts: Vec<String> = differences
        .iter()
        .take(NAMED)
        .map(|d| {
            let (a, b) = quoted_pair(d.left.as_deref(), d.right.as_deref());
            format!("{} is {b} {right}, {a} {left}", d.name)
        })
        .collect();
    if differences.len() > NAMED {
        parts.push(format!("and {} more differ", differences.len() - NAMED));
    }
    parts.join("; ")
}

/// Both values quoted, long ones shortened around the first place where they differ, so that the note shows
/// the difference whatever stands before it.
fn quoted_pair(a: Option<&str>, b: Option<&str>) -> (String, String) {
    let same = match (a, b) {
        (Some(a), Some(b)) => a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count(),
        _ => 0,
    };
    (quoted(a, same), quoted(b, same))
}

fn quoted(value: Option<&str>, same: usize) -> String {
    let Some(value) = value else {
        return "absent".to_owned();
    };
    if value.is_empty() {
        return "empty".to_owned();
    }
    let length = value.chars().count();
    if length <= VALUE_LIMIT {
        return value.to_owned();
    }
    let start = same
        .saturating_sub(VALUE_LIMIT / 4)
        .min(length.saturating_sub(VALUE_LIMIT));
    let mut shown: String = value.chars().skip(start).take(VALUE_LIMIT).collect();
    if start > 0 {
        shown.insert(0, '…');
    }
    if start + VALUE_LIMIT < length {
        shown.push('…');
    }
    shown
}
