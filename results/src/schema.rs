//! The report that a run writes, which other programs build on.
//!
//! Fields are only added within one `schema_version`; a field's meaning never changes under the same version.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the report's schema that this library writes.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole run: one list of cases on one stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of this schema, [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Unique name of the run: its start in UTC and a random suffix, `20261123T060102Z-9f3a`.
    pub run_id: String,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// When the run ended, RFC 3339 in UTC; absent when it was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// The machine that ran it.
    pub host: Host,
    /// What was under test.
    pub stack: Stack,
    /// The results, in the order of the plan.
    pub cases: Vec<CaseResult>,
    /// Measured throughput, when the run was a bench.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bench: Vec<BenchResult>,
    /// Which part of a plan this is, when the run was of a part only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Digests of what stands above, by which a file that was edited or mixed is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<Integrity>,
}

/// A part of a plan, `run --partition`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// How the plan was divided, and which part this is: `hash:1/4`.
    pub partition: String,
    /// The ids of all cases of the plan, in its order, those of the other parts included.
    pub plan: Vec<String>,
}

/// Digests of a report's content: the first 16 hexadecimal digits of the SHA-256 of each part's JSON with sorted
/// keys and without white space. They guard against mistakes, not against forgery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Integrity {
    /// Of the report without `cases`, `bench` and `integrity`.
    pub head: String,
    /// Of each case, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<String>,
    /// Of each workload, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bench: Vec<String>,
}

/// The machine that a run was made on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Operating system, as `PRETTY_NAME` of os-release says it.
    pub os: String,
    /// Kernel release of the host (`uname -r`).
    pub kernel: String,
    /// Machine architecture (`uname -m`).
    pub arch: String,
    /// Processors that the run could use.
    pub cpus: u32,
    /// File system of the directory that was exported and of the native one (`ext4`, `tmpfs` …).
    pub filesystem: String,
    /// Version of probe9p.
    pub probe9p: String,
}

/// What mounts, what serves, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stack {
    /// What mounts: `fuse`, `kernel`, `uml`, `qemu`, or `path` for a directory that was mounted already.
    pub client: String,
    /// What serves: `server9p`, `qemu`, `diod`, `unpfs`, or `unknown` for a directory mounted already.
    pub server: String,
    /// Whose behaviour and options: `golem`, `qemu`, `posix`.
    pub profile: String,
    /// Cache mode of the client: `none`, `readahead`, `mmap`, `loose`, `fscache`.
    pub cache: String,
    /// The client's kernel: a release for a real one, for the FUSE client the series whose v9fs it behaves as.
    pub kernel: String,
    /// The options of the mount, as the client got them, with the negotiated msize in bytes.
    pub mount_options: String,
    /// Versions of the parts (`server`, `client`, `qemu` …), by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, String>,
}

impl Stack {
    /// The stack's short name, `client/server/profile`.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.client, self.server, self.profile)
    }
}

/// Whether a case makes system calls itself or runs a real program.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum CaseKind {
    /// A few system calls.
    Op,
    /// A real program.
    Tool,
}

/// One case's result: what was seen natively and on the volume, and what follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseResult {
    /// Stable dotted id, `mmap.shared_write`.
    pub id: String,
    /// Operation or tool.
    pub kind: CaseKind,
    /// What a program relies on, in one line.
    pub title: String,
    /// What the case saw in a plain local directory.
    pub native: Observation,
    /// What the case saw on the volume.
    pub volume: Observation,
    /// The volume's observation against the native one.
    pub verdict: Verdict,
    /// One line for a person: which call failed with which errno, or what differed; empty when it works.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Why it does not work, where that is known or evidence was found.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// The changes that were tried.
    #[serde(default)]
    pub remedies: Vec<Remedy>,
    /// How many times each side was run.
    #[serde(default = "one")]
    pub runs: u32,
}

fn one() -> u32 {
    1
}

/// What one execution of a case saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// How it ended.
    pub outcome: Outcome,
    /// Name of the errno of the call that failed, `EINVAL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// The call that failed, `mmap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Exit code of the program, for a tool case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Name of the signal that ended it, `SIGBUS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What happened, in words: the failing step, the program's last lines, or why it was not run.
    #[serde(default)]
    pub detail: String,
    /// Facts to compare with the other side's, by name: file states, return values, outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// Failing calls seen during the run, oldest first (`mmap(db-shm, MAP_SHARED) = EINVAL`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_calls: Vec<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}

/// How one execution ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Ok,
    /// A call or an expectation failed.
    Error,
    /// It did not end within its limit and was stopped.
    Timeout,
    /// A signal ended it.
    Signal,
    /// It was not run; `detail` says why.
    #[default]
    NotRun,
}

/// The volume's observation against native's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As on a local directory.
    Works,
    /// Works, but a stated guarantee or speed is lost.
    Degraded,
    /// Fails as it is; a remedy that was run and verified makes it work.
    Workaround,
    /// Fails on the volume only.
    Fails,
    /// Does not end on the volume within the case's limit.
    Hangs,
    /// A signal, or the death of the guest, ends it on the volume only.
    Crashes,
    /// Repeated runs disagree.
    Unstable,
    /// Was not run, with the reason.
    Skipped,
    /// Fails natively too, so nothing can be said of the volume.
    Invalid,
}

/// Why a case does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// Entry of the catalogue, `mmap-shared-writable`; `unmatched` where no entry fits the evidence.
    pub id: String,
    /// The mechanism in one or two sentences.
    pub summary: String,
    /// What shows it: failing calls, differing facts, messages.
    pub evidence: Vec<String>,
}

/// A change that may make a failing case work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// Stable id, `journal-mode-delete`.
    pub id: String,
    /// The change, as one would do it.
    pub title: String,
    /// True only when the case was run with this change on the same stack and passed.
    pub verified: bool,
    /// What the run with this change showed, or why it was not run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// One workload's throughput on one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchResult {
    /// Stable id of the workload, `seq_read_1m`.
    pub workload: String,
    /// What it does.
    pub title: String,
    /// Unit of the rates: `MiB/s` or `ops/s`.
    pub unit: String,
    /// Rates in the plain directory.
    pub native: Samples,
    /// Rates on the volume, interleaved with the native ones.
    pub volume: Samples,
    /// How long single operations took natively.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_latency: Option<Latency>,
    /// How long single operations took on the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_latency: Option<Latency>,
    /// What went over the wire for the volume's turns, where the server counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<WireCount>,
    /// Median of the volume's rates divided by the median of native's.
    pub ratio: f64,
    /// What makes these figures doubtful, each with what to do about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Messages between client and server in all measured turns of a workload, from the server's counters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WireCount {
    /// Requests that the server received, preparations and ends of turns included.
    pub messages: u64,
    /// Bytes of these requests, headers included.
    pub bytes_to_server: u64,
    /// Bytes of its replies, headers included.
    pub bytes_from_server: u64,
    /// Requests for one operation; what a turn takes without its operations is not counted in.
    pub messages_per_operation: f64,
    /// Bytes in both directions for one operation, likewise.
    pub bytes_per_operation: f64,
    /// The share of the turns' time in which the server was at work, 1 for one thread all the time. Where it is small,
    /// the client and the way between them take the time.
    pub server_busy: f64,
}

/// How long single operations took, microseconds: of each turn's percentile the median over the turns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// Half of the operations took no longer.
    pub p50: f64,
    /// 95 % of the operations took no longer.
    pub p95: f64,
    /// 99 % of the operations took no longer.
    pub p99: f64,
}

/// Rates that were measured, and what they say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Samples {
    /// Every rate, in the order measured.
    pub rates: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// Lower bound of the median's 95 % interval.
    pub low: f64,
    /// Upper bound of the median's 95 % interval.
    pub high: f64,
}
