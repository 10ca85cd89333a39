//! Whether a result's evidence is what a cause is recognised by.

use results::Outcome;
use schemars::JsonSchema;
use serde::Deserialize;

use super::evidence::{Evidence, Failing};

/// What shows a cause. Every condition that is given must hold; `calls`, `errnos`, `args` and `lacks` of one and
/// the same failing call. A pattern may have `*` for any characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names of calls, one of which failed.
    #[serde(default)]
    pub calls: Vec<String>,
    /// Names of errnos, one of which it failed with; `none` for a call that succeeded without its effect.
    #[serde(default)]
    pub errnos: Vec<String>,
    /// Texts that its arguments have, all of them, in any case of letters.
    #[serde(default)]
    pub args: Vec<String>,
    /// Texts that its arguments do not have.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Patterns of facts, one of which differs from native's.
    #[serde(default)]
    pub facts: Vec<String>,
    /// Patterns of that fact's value on the volume, one of which fits.
    #[serde(default)]
    pub values: Vec<String>,
    /// Patterns of cases, one of which this is.
    #[serde(default)]
    pub cases: Vec<String>,
    /// Texts that the volume's words have, all of them, in any case of letters.
    #[serde(default)]
    pub words: Vec<String>,
    /// Signals, one of which ended it.
    #[serde(default)]
    pub signals: Vec<String>,
    /// True when it must not have ended within its limit.
    #[serde(default)]
    pub timeout: bool,
}

impl Rule {
    /// Whether the rule asks for anything that a result shows, besides which case it is.
    pub fn asks_for_evidence(&self) -> bool {
        !(self.calls.is_empty()
            && self.errnos.is_empty()
            && self.facts.is_empty()
            && self.words.is_empty()
            && self.signals.is_empty())
            || self.timeout
    }
}

/// The lines that show it, or nothing when a condition does not hold.
pub fn shown_by(rule: &Rule, case: &str, evidence: &Evidence) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    if !rule.cases.is_empty() && !any(&rule.cases, case) {
        return None;
    }
    if !rule.calls.is_empty() || !rule.errnos.is_empty() {
        lines.push(
            evidence
                .calls
                .iter()
                .find(|call| fits(rule, call))?
                .text
                .clone(),
        );
    }
    if !rule.facts.is_empty() {
        let fact = evidence.facts.iter().find(|fact| {
            let value = fact.volume.as_deref().unwrap_or_default();
            any(&rule.facts, &fact.name) && (rule.values.is_empty() || any(&rule.values, value))
        });
        lines.push(fact?.to_string());
    }
    let detail = evidence.detail.to_lowercase();
    if !rule
        .words
        .iter()
        .all(|word| detail.contains(&word.to_lowercase()))
    {
        return None;
    }
    if !rule.signals.is_empty() {
        let signal = evidence
            .signal
            .as_ref()
            .filter(|signal| rule.signals.contains(signal))?;
        lines.push(format!("ended by {signal}"));
    }
    if rule.timeout {
        if evidence.outcome != Outcome::Timeout {
            return None;
        }
        lines.push("did not end within its limit".to_owned());
    }
    if !evidence.detail.is_empty() && !lines.contains(&evidence.detail) {
        lines.push(evidence.detail.clone());
    }
    Some(lines)
}

fn fits(rule: &Rule, call: &Failing) -> bool {
    let args = call.args.to_lowercase();
    let has = |text: &String| args.contains(&text.to_lowercase());
    let errno = call.errno.as_deref().unwrap_or("none");
    (rule.calls.is_empty() || rule.calls.contains(&call.call))
        && (rule.errnos.is_empty() || rule.errnos.iter().any(|known| known == errno))
        && rule.args.iter().all(has)
        && !rule.lacks.iter().any(has)
}

fn any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

/// Whether a text is what a pattern with `*` describes.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(before) else {
        return false;
    };
    // The shortest match of what is between two asterisks leaves the most for those that follow.
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.into_iter().any(|at| matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_any_characters() {
        for (pattern, text) in [
            ("mmap.*", "mmap.shared_write"),
            ("*.wal", "sqlite.wal"),
            ("a*b*c", "aXbbYc"),
            ("*", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("mmap.*", "xmmap.a"),
            ("*.wal", "sqlite.wall"),
            ("a*b*c", "acb"),
            ("a", "ab"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
