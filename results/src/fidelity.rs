//! How nearly a stack behaves as another: two reports, compared case by case.
//!
//! A case agrees when its verdict and the errno of its observation on the volume are the reference's. Cases of
//! which one side has no result tell nothing, so they are counted apart and are in no share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CaseKind, Observation, Report, Stack, Verdict};

mod compare;
mod table;

/// The version of the comparison's schema that this library writes.
pub const FIDELITY_SCHEMA_VERSION: u32 = 1;

/// One reference, and how nearly each candidate behaves as it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fidelity {
    /// Version of this schema, [`FIDELITY_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run that the candidates are compared with.
    pub reference: ComparedRun,
    /// The candidates, in the order in which they were given.
    pub candidates: Vec<Agreement>,
    /// The stacks that were to be candidates, and that this machine could not bring up.
    #[serde(default)]
    pub unavailable: Vec<Unavailable>,
}

/// A stack that could not be brought up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unavailable {
    /// Its name, `client/server/profile`.
    pub stack: String,
    /// Why not, and what would bring it.
    pub reason: String,
}

/// How many cases were compared, and on how many verdict and errno are the reference's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// Cases that could be compared.
    pub compared: usize,
    /// Those of them that agree.
    pub agreed: usize,
}

/// A run that takes part in a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComparedRun {
    /// As [`Report::run_id`].
    pub run_id: String,
    /// What was under test.
    pub stack: Stack,
    /// False when the run was interrupted, so that cases are missing.
    pub finished: bool,
}

/// How nearly one candidate behaves as the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Agreement {
    /// The candidate.
    pub candidate: ComparedRun,
    /// How many cases could be compared.
    pub compared: usize,
    /// On how many of them verdict and errno are the reference's.
    pub agreed: usize,
    /// `agreed` divided by `compared`; absent when nothing could be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// The operation cases among them.
    #[serde(default)]
    pub operations: Tally,
    /// The tool cases among them.
    #[serde(default)]
    pub tools: Tally,
    /// The cases on which the two disagree, in the order of the reference's report.
    #[serde(default)]
    pub disagreements: Vec<Disagreement>,
    /// The cases that could not be compared, in the order of the reference's report, the candidate's own last.
    #[serde(default)]
    pub apart: Vec<Apart>,
}

/// A case on which candidate and reference disagree, with what both saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Disagreement {
    /// The case's id.
    pub id: String,
    /// Operation or tool.
    pub kind: CaseKind,
    /// What a program relies on, in one line.
    pub title: String,
    /// Whether the verdicts differ.
    pub verdict_differs: bool,
    /// Whether the errnos differ.
    pub errno_differs: bool,
    /// What the reference saw.
    pub reference: Seen,
    /// What the candidate saw.
    pub candidate: Seen,
}

/// One side's result of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// The volume against native.
    pub verdict: Verdict,
    /// One line for a person, as [`crate::CaseResult::note`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What the case saw on the volume: call, errno, detail, failed calls.
    pub volume: Observation,
}

/// A case that could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Apart {
    /// The case's id.
    pub id: String,
    /// Why not, in words.
    pub reason: String,
}

impl Fidelity {
    /// Compares each candidate's report with the reference's.
    pub fn of(reference: &Report, candidates: &[Report]) -> Self {
        Fidelity {
            schema_version: FIDELITY_SCHEMA_VERSION,
            reference: ComparedRun::of(reference),
            candidates: (candidates.iter())
                .map(|candidate| Agreement::of(reference, candidate))
                .collect(),
            unavailable: Vec::new(),
        }
    }

    /// The comparison as one JSON document, indented, with a line break at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("a comparison holds nothing but strings, numbers and maps of strings");
        text.push('\n');
        text
    }
}

impl ComparedRun {
    pub(crate) fn of(report: &Report) -> Self {
        ComparedRun {
            run_id: report.run_id.clone(),
            stack: report.stack.clone(),
            finished: report.finished.is_some(),
        }
    }
}
