//! What changed between two runs: regressions first.
//!
//! Two results of a case are the same when their verdict and what was observed on the volume are (how it ended,
//! the call, the errno, exit code, signal), whatever the times, the texts and the causes are: those may name
//! a temporary file or be put in better words.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CaseKind, CaseResult, Observation, Outcome, Report, Verdict,
    fidelity::{ComparedRun, Seen},
};

mod throughput;
mod words;

pub use throughput::{Finding, ThroughputChange, finding};

/// The version of the difference's schema that this library writes.
pub const DIFF_SCHEMA_VERSION: u32 = 1;

/// Two runs, and what is different in the later one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    /// Version of this schema, [`DIFF_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run to compare with.
    pub before: ComparedRun,
    /// The run that is compared.
    pub after: ComparedRun,
    /// Cases whose verdict became worse, the worst first.
    pub regressions: Vec<Change>,
    /// Cases whose verdict became better.
    pub improvements: Vec<Change>,
    /// Cases that changed otherwise: another errno or call, or one side says nothing of the volume.
    pub others: Vec<Change>,
    /// Cases that only the later run has.
    pub added: Vec<OneSided>,
    /// Cases that only the earlier run has.
    pub removed: Vec<OneSided>,
    /// How many cases are the same in both.
    pub unchanged: usize,
    /// Workloads whose intervals do not overlap any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throughput: Vec<ThroughputChange>,
}

/// A case with two different results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The case's id.
    pub id: String,
    /// Operation or tool.
    pub kind: CaseKind,
    /// What a program relies on, in one line.
    pub title: String,
    /// The earlier run's result.
    pub before: Seen,
    /// The later run's result.
    pub after: Seen,
}

/// A case that only one of the runs has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OneSided {
    /// The case's id.
    pub id: String,
    /// Its verdict there.
    pub verdict: Verdict,
}

/// How a case's result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It works less well than before.
    Regression,
    /// It works better than before.
    Improvement,
    /// It changed, and neither way can be said.
    Other,
    /// It did not change.
    Unchanged,
}

/// How `after` differs from `before`.
pub fn compare(before: &CaseResult, after: &CaseResult) -> Kind {
    let says = |case: &CaseResult| !matches!(case.verdict, Verdict::Skipped | Verdict::Invalid);
    if says(before) && says(after) {
        match after.verdict.severity().cmp(&before.verdict.severity()) {
            std::cmp::Ordering::Greater => return Kind::Regression,
            std::cmp::Ordering::Less => return Kind::Improvement,
            std::cmp::Ordering::Equal => {}
        }
    }
    if before.verdict == after.verdict && seen(&before.volume) == seen(&after.volume) {
        Kind::Unchanged
    } else {
        Kind::Other
    }
}

type Essence<'a> = (
    Outcome,
    Option<&'a str>,
    Option<&'a str>,
    Option<i32>,
    Option<&'a str>,
);

fn seen(observation: &Observation) -> Essence<'_> {
    (
        observation.outcome,
        observation.call.as_deref(),
        observation.errno.as_deref(),
        observation.exit_code,
        observation.signal.as_deref(),
    )
}

impl Diff {
    /// What is different in `after`.
    pub fn of(before: &Report, after: &Report) -> Self {
        let mut diff = Diff {
            schema_version: DIFF_SCHEMA_VERSION,
            before: ComparedRun::of(before),
            after: ComparedRun::of(after),
            regressions: Vec::new(),
            improvements: Vec::new(),
            others: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
            unchanged: 0,
            throughput: throughput::changes(before, after),
        };
        let old = by_id(before);
        let new = by_id(after);
        for case in &after.cases {
            match old.get(case.id.as_str()) {
                None => diff.added.push(OneSided::of(case)),
                Some(known) => diff.add(known, case),
            }
        }
        let gone = |case: &&CaseResult| !new.contains_key(case.id.as_str());
        diff.removed = before.cases.iter().filter(gone).map(OneSided::of).collect();
        // Stable, so cases of one severity stay in the order of the run.
        (diff.regressions).sort_by_key(|c| std::cmp::Reverse(c.after.verdict.severity()));
        diff
    }

    fn add(&mut self, before: &CaseResult, after: &CaseResult) {
        let list = match compare(before, after) {
            Kind::Unchanged => {
                self.unchanged += 1;
                return;
            }
            Kind::Regression => &mut self.regressions,
            Kind::Improvement => &mut self.improvements,
            Kind::Other => &mut self.others,
        };
        list.push(Change {
            id: after.id.clone(),
            kind: after.kind,
            title: after.title.clone(),
            before: Seen::of(before),
            after: Seen::of(after),
        });
    }

    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.regressions.is_empty()
            && self.improvements.is_empty()
            && self.others.is_empty()
            && self.added.is_empty()
            && self.removed.is_empty()
            && self.throughput.is_empty()
    }

    /// The difference as one JSON document, indented, with a line break at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("a difference holds nothing but strings, numbers and maps of strings");
        text.push('\n');
        text
    }
}

impl OneSided {
    fn of(case: &CaseResult) -> Self {
        OneSided {
            id: case.id.clone(),
            verdict: case.verdict,
        }
    }
}

fn by_id(report: &Report) -> BTreeMap<&str, &CaseResult> {
    (report.cases.iter())
        .map(|case| (case.id.as_str(), case))
        .collect()
}

/// A form that a difference can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiffFormat {
    /// For a person at a terminal.
    #[default]
    Table,
    /// For a program.
    Json,
    /// For an issue or a pull request.
    Markdown,
}

impl DiffFormat {
    /// Every format, in the order that help texts list them.
    pub const ALL: [DiffFormat; 3] = [DiffFormat::Table, DiffFormat::Json, DiffFormat::Markdown];

    /// The name used on command lines.
    pub fn name(self) -> &'static str {
        match self {
            DiffFormat::Table => "table",
            DiffFormat::Json => "json",
            DiffFormat::Markdown => "markdown",
        }
    }

    /// The difference in this form. `width` is the terminal's, in columns, and matters to the table only.
    pub fn write(self, diff: &Diff, width: usize) -> String {
        match self {
            DiffFormat::Table => diff.table(width),
            DiffFormat::Json => diff.to_json(),
            DiffFormat::Markdown => diff.markdown(),
        }
    }
}

impl fmt::Display for DiffFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DiffFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        (DiffFormat::ALL.into_iter())
            .find(|f| f.name() == text)
            .ok_or_else(|| format!("there is no format {text:?}; take table, json or markdown"))
    }
}
