//! What a result shows: the calls that failed on the volume and not natively, the facts that differ, how it ended.

use std::collections::HashSet;

use results::{CaseResult, Observation, Outcome};

/// A call that failed on the volume, or did not have its effect there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failing {
    /// The call's name.
    pub call: String,
    /// Name of the errno; nothing when the call succeeded without its effect.
    pub errno: Option<String>,
    /// Its arguments, or the sentence that names them.
    pub args: String,
    /// The same for a reader.
    pub text: String,
}

/// A fact that is not the same natively and on the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing {
    /// The fact's name.
    pub name: String,
    /// Its value natively, if it is there.
    pub native: Option<String>,
    /// Its value on the volume, if it is there.
    pub volume: Option<String>,
}

/// All that a result shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The failing calls: first the one that the case stopped at, then the others, oldest first.
    pub calls: Vec<Failing>,
    /// The facts that differ, by name.
    pub facts: Vec<Differing>,
    /// How the volume's side ended.
    pub outcome: Outcome,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// What the volume's side said.
    pub detail: String,
}

impl Evidence {
    /// Gathers what a result shows.
    pub fn of(result: &CaseResult) -> Self {
        let usual: HashSet<Failing> = failing(&result.native).into_iter().collect();
        let calls = failing(&result.volume)
            .into_iter()
            .filter(|call| !usual.contains(call))
            .collect();
        let (native, volume) = (&result.native.facts, &result.volume.facts);
        // A case that stopped early lacks facts, which says nothing more.
        let compared = result.volume.outcome == Outcome::Ok;
        let names: std::collections::BTreeSet<&String> =
            native.keys().chain(volume.keys()).collect();
        let facts = names
            .into_iter()
            .filter(|name| compared && native.get(*name) != volume.get(*name));
        let facts = facts.map(|name| Differing {
            name: name.clone(),
            native: native.get(name).cloned(),
            volume: volume.get(name).cloned(),
        });
        Evidence {
            calls,
            facts: facts.collect(),
            outcome: result.volume.outcome,
            signal: result.volume.signal.clone(),
            detail: result.volume.detail.clone(),
        }
    }

    /// The same without the calls that the case did not stop at.
    pub fn at_the_stop(&self) -> Self {
        let calls = self.calls.iter().take(1).cloned().collect();
        Evidence {
            calls,
            ..self.clone()
        }
    }

    /// All of it, in lines for a reader.
    pub fn whole(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.calls.iter().map(|call| call.text.clone()).collect();
        lines.extend(self.facts.iter().map(Differing::to_string));
        if let Some(signal) = &self.signal {
            lines.push(format!("ended by {signal}"));
        }
        if self.outcome == Outcome::Timeout {
            lines.push("did not end within its limit".to_owned());
        }
        if !self.detail.is_empty() && !lines.contains(&self.detail) {
            lines.push(self.detail.clone());
        }
        lines
    }
}

impl std::fmt::Display for Differing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = |value: &Option<String>| {
            value
                .as_ref()
                .map_or("absent".to_owned(), |value| format!("`{value}`"))
        };
        write!(
            f,
            "{} is {} natively and {} on the volume",
            self.name,
            value(&self.native),
            value(&self.volume)
        )
    }
}

/// The calls that an observation says failed, each once.
fn failing(seen: &Observation) -> Vec<Failing> {
    let listed: Vec<Failing> = seen
        .failed_calls
        .iter()
        .filter_map(|text| listed(text))
        .collect();
    let stopped_at = seen.call.as_ref().map(|call| {
        // The list has the arguments of the very call, where there is a list.
        let same = listed
            .iter()
            .rev()
            .find(|other| other.call == *call && other.errno == seen.errno);
        same.cloned().unwrap_or_else(|| Failing {
            call: call.clone(),
            errno: seen.errno.clone(),
            args: seen.detail.clone(),
            text: seen.detail.clone(),
        })
    });
    let mut calls: Vec<Failing> = stopped_at.into_iter().collect();
    for call in listed {
        if !calls.contains(&call) {
            calls.push(call);
        }
    }
    calls
}

/// `mmap(db-shm, MAP_SHARED) = EINVAL`
fn listed(text: &str) -> Option<Failing> {
    let (call, rest) = text.split_once('(')?;
    let (args, errno) = rest.rsplit_once(") = ")?;
    Some(Failing {
        call: call.to_owned(),
        errno: Some(errno.to_owned()),
        args: args.to_owned(),
        text: text.to_owned(),
    })
}
