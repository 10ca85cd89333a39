//! What happens during a run, as the runner says it.
//!
//! A runner only emits these; the terminal display, the JSON-lines file, JUnit, TAP and the report are
//! independent consumers of them. Written one JSON object a line they are the JSON-lines file, from which a run
//! that was interrupted, or killed, can still be read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BenchResult, CaseResult, Host, Stack};

/// One thing that happened. In JSON, the member `event` tells which (`case_finished` …).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The stack is up and the plan is made. Always the first event, and only once.
    RunStarted(Box<RunStarted>),
    /// A case began to run.
    CaseStarted {
        /// The case's id.
        id: String,
    },
    /// A case has its verdict, its remedies tried and its cause found.
    CaseFinished(Box<CaseResult>),
    /// A workload was measured on both sides.
    BenchFinished(Box<BenchResult>),
    /// All that was planned is done. Always the last event.
    RunFinished {
        /// When, RFC 3339 in UTC.
        finished: String,
    },
    /// The run ended before its plan was done; what was emitted until now is valid. Always the last event.
    RunInterrupted {
        /// Why, in a sentence: the user's signal, or what was lost.
        reason: String,
    },
}

/// What is known when a run begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunStarted {
    /// Version of the schema that the events follow, [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// As [`crate::Report::run_id`].
    pub run_id: String,
    /// When, RFC 3339 in UTC.
    pub started: String,
    /// The machine that runs it.
    pub host: Host,
    /// What is under test.
    pub stack: Stack,
    /// The ids of the cases (or of the workloads) that will be run, in their order.
    pub planned: Vec<String>,
    /// As [`crate::Report::part`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<crate::Part>,
}
