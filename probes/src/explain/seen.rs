//! Where each cause was seen: runs that were kept, from which the claim follows.
//!
//! `recorded.jsonl` has what cases did on real stacks beside what they did in a plain directory, with the cause that
//! they must be given. Tests give each its cause anew, so none is claimed that its evidence does not show.

use results::Observation;
use serde::{Deserialize, Serialize};

/// A kept run of one case.
#[derive(Debug, Clone, Deserialize)]
pub struct Recorded {
    /// The case.
    pub id: String,
    /// The stack that it ran on, with a cache mode other than none.
    pub stack: String,
    /// The client's kernel.
    pub kernel: String,
    /// The cause that it must be given.
    pub cause: String,
    /// What it did in a plain directory.
    pub native: Observation,
    /// What it did on the volume.
    pub volume: Observation,
}

/// Where a cause was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The stack.
    pub stack: String,
    /// The client's kernel.
    pub kernel: String,
    /// The case.
    pub case: String,
}

/// Every kept run, in the order of the file.
pub fn recorded() -> Vec<Recorded> {
    let lines = include_str!("recorded.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Where the cause of that id was seen.
pub fn seen(id: &str) -> Vec<Seen> {
    let of_cause = recorded().into_iter().filter(|run| run.cause == id);
    let seen = of_cause.map(|run| Seen {
        stack: run.stack,
        kernel: run.kernel,
        case: run.id,
    });
    seen.collect()
}
