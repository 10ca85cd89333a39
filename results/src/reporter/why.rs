//! What stands under a case that does not work: why, and what helps.
//!
//! Few causes and remedies stand behind many cases. What each is is told in full where a table first names it, and after
//! that the name alone, so that a run of hundreds of cases can be read.

use std::collections::HashSet;

use crate::{CaseResult, Cause, Remedy};

/// The id of a cause that is in no catalogue; all of its evidence is shown.
const UNMATCHED: &str = "unmatched";

/// What a table has told already.
#[derive(Default)]
pub struct Told {
    causes: HashSet<String>,
    remedies: HashSet<(String, String)>,
}

/// A line under a case.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// What it begins with; further lines are indented as far.
    pub label: &'static str,
    /// Whether it says what helps.
    pub helps: bool,
    /// The rest.
    pub text: String,
}

const CAUSE: &str = "cause: ";
const SEEN: &str = "  seen: ";
const VERIFIED: &str = "✓ verified remedy: ";
const NOT_VERIFIED: &str = "- not verified: ";

impl Told {
    /// The lines under a case; with `whole` all of the evidence, else the first piece that the note does not hold.
    pub fn lines(&mut self, case: &CaseResult, whole: bool) -> Vec<Line> {
        let mut lines = vec![line("", case.note.clone())];
        if let Some(cause) = &case.cause {
            lines.extend(self.cause(cause, &case.note, whole));
        }
        lines.extend(self.remedies(&case.remedies));
        lines
    }

    fn cause(&mut self, cause: &Cause, note: &str, whole: bool) -> Vec<Line> {
        let most = match whole || cause.id == UNMATCHED {
            true => usize::MAX,
            false => 1,
        };
        let evidence = cause.evidence.iter();
        let mut evidence = evidence
            .filter(|piece| !note.contains(piece.as_str()))
            .take(most);
        let name = match self.causes.insert(cause.id.clone()) {
            true => line(CAUSE, format!("{}: {}", cause.id, cause.summary)),
            false => match most {
                1 => {
                    let seen = evidence.next().map(|piece| format!("; seen: {piece}"));
                    line(CAUSE, cause.id.clone() + &seen.unwrap_or_default())
                }
                _ => line(CAUSE, cause.id.clone()),
            },
        };
        let seen = evidence.map(|piece| line(SEEN, piece.clone()));
        [name].into_iter().chain(seen).collect()
    }

    fn remedies(&mut self, remedies: &[Remedy]) -> Vec<Line> {
        let mut lines = Vec::new();
        // Those that help come first.
        let (verified, others): (Vec<_>, Vec<_>) = remedies.iter().partition(|r| r.verified);
        let mut named = Vec::new();
        for remedy in verified {
            match self.remedies.insert(key(remedy)) {
                true => lines.push(Line {
                    helps: true,
                    ..line(VERIFIED, remedy.title.clone())
                }),
                false => named.push(remedy.id.as_str()),
            }
        }
        if !named.is_empty() {
            lines.push(Line {
                helps: true,
                ..line(VERIFIED, named.join(", "))
            });
        }
        for remedy in others {
            let why = match remedy.detail.as_str() {
                "" => "no detail",
                detail => detail,
            };
            let name = match self.remedies.contains(&key(remedy)) {
                true => &remedy.id,
                false => &remedy.title,
            };
            lines.push(line(NOT_VERIFIED, format!("{name} ({why})")));
        }
        lines
    }
}

fn line(label: &'static str, text: String) -> Line {
    Line {
        label,
        helps: false,
        text,
    }
}

fn key(remedy: &Remedy) -> (String, String) {
    (remedy.id.clone(), remedy.title.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CaseKind, Observation, Verdict};

    fn failing(cause: &str, evidence: &[&str]) -> CaseResult {
        let remedy = |id: &str, verified| Remedy {
            id: id.into(),
            title: format!("take {id} instead"),
            verified,
            detail: String::new(),
        };
        CaseResult {
            id: "a.b".into(),
            kind: CaseKind::Op,
            title: String::new(),
            native: Observation::default(),
            volume: Observation::default(),
            verdict: Verdict::Workaround,
            note: "mkfifo failed".into(),
            cause: Some(Cause {
                id: cause.into(),
                summary: "It does so.".into(),
                evidence: evidence.iter().map(|&piece| piece.into()).collect(),
            }),
            remedies: vec![
                remedy("ram", true),
                remedy("loose", false),
                remedy("storage", true),
            ],
            runs: 2,
        }
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        let text = |line: &Line| format!("{}{}", line.label, line.text);
        lines.iter().map(text).collect()
    }

    #[test]
    fn a_cause_and_its_remedies_are_told_in_full_once() {
        let mut told = Told::default();
        let case = failing(
            "special",
            &["mkfifo failed", "mknodat() = ENXIO", "stat() = 0"],
        );
        assert_eq!(
            texts(&told.lines(&case, false)),
            [
                "mkfifo failed",
                "cause: special: It does so.",
                "  seen: mknodat() = ENXIO",
                "✓ verified remedy: take ram instead",
                "✓ verified remedy: take storage instead",
                "- not verified: take loose instead (no detail)",
            ]
        );
        assert_eq!(
            texts(&told.lines(&case, false)),
            [
                "mkfifo failed",
                "cause: special; seen: mknodat() = ENXIO",
                "✓ verified remedy: ram, storage",
                "- not verified: take loose instead (no detail)",
            ]
        );
    }

    #[test]
    fn all_evidence_is_shown_where_it_is_asked_for_or_no_cause_is_known() {
        let evidence = ["one", "two", "three"];
        let seen = |id: &str, whole| {
            let lines = Told::default().lines(&failing(id, &evidence), whole);
            lines.iter().filter(|line| line.label == SEEN).count()
        };
        assert_eq!(seen("special", false), 1);
        assert_eq!(seen("special", true), 3);
        assert_eq!(seen("unmatched", false), 3);
    }
}
