//! `matrix.json`: the matrix as data that others may vendor, in the manner of MDN's browser-compat-data.
//!
//! Stacks stand once, by a stable id; tools and operations nest to cases, each with a `__compat` object whose
//! `support` has a statement for each stack. Ids of stacks and cases keep their meaning.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CaseKind, Matrix, Verdict,
    matrix::{Column, Group, Placed, Row, name_in_family, series},
};

/// The version of `matrix.json`'s schema that this library writes.
pub const MATRIX_SCHEMA_VERSION: u32 = 1;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MatrixFile {
    /// What the file is.
    #[serde(rename = "__meta")]
    pub meta: Meta,
    /// The stacks, by id.
    pub stacks: BTreeMap<String, StackStatement>,
    /// Tools, and below each its cases by what follows the tool's name in their ids.
    pub tools: BTreeMap<String, BTreeMap<String, Feature>>,
    /// Families of operations, and below each its cases.
    pub operations: BTreeMap<String, BTreeMap<String, Feature>>,
}

/// What the file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Meta {
    /// Version of this schema, [`MATRIX_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The latest run in it, RFC 3339 in UTC.
    pub timestamp: String,
    /// The runs that it is made of.
    pub runs: Vec<String>,
}

/// A stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StackStatement {
    /// What mounts.
    pub client: String,
    /// What serves.
    pub server: String,
    /// Whose behaviour and options.
    pub profile: String,
    /// Cache mode of the client.
    pub cache: String,
    /// Series of the client's kernel, `5.10`.
    pub kernel: String,
    /// File system of the host.
    pub filesystem: String,
}

/// A case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Feature {
    /// What is known of it.
    #[serde(rename = "__compat")]
    pub compat: Compat,
}

/// What is known of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compat {
    /// What a program relies on, in one line.
    pub description: String,
    /// A statement for each stack that has a result, by the stack's id.
    pub support: BTreeMap<String, Support>,
}

/// How a case does on a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Support {
    /// The verdict.
    pub verdict: Verdict,
    /// The date of the first run of the unbroken row of runs with this verdict.
    pub since: String,
    /// Why, in one line; absent when it works.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Entry of the catalogue of causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Remedies that were run and verified, by id, with what to do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub remedies: BTreeMap<String, String>,
}

/// The JSON Schema (draft 2020-12) of `matrix.json`, indented, with a line break at its end. The same text is
/// committed as `results/schema/matrix-1.json`.
pub fn matrix_schema() -> String {
    let schema = schemars::schema_for!(MatrixFile);
    serde_json::to_string_pretty(&schema).expect("a schema is plain JSON") + "\n"
}

impl MatrixFile {
    /// The matrix as data.
    pub fn of(matrix: &Matrix<'_>) -> Self {
        let mut runs: Vec<_> = matrix.stacks.iter().flat_map(|stack| &stack.runs).collect();
        runs.sort_by_key(|run| (&run.started, &run.run_id));
        let of_kind = |kind: CaseKind| {
            let groups = matrix.groups.iter().filter(|group| group.kind == kind);
            groups
                .map(|group| (group.name.to_owned(), features(matrix, group)))
                .collect()
        };
        MatrixFile {
            meta: Meta {
                schema_version: MATRIX_SCHEMA_VERSION,
                timestamp: runs
                    .last()
                    .map(|run| run.started.clone())
                    .unwrap_or_default(),
                runs: runs.iter().map(|run| run.run_id.clone()).collect(),
            },
            stacks: (matrix.stacks.iter())
                .map(|column| (column.id.clone(), statement(column)))
                .collect(),
            tools: of_kind(CaseKind::Tool),
            operations: of_kind(CaseKind::Op),
        }
    }

    /// The file: compact, with a line a case, so that a change of one is a change of one line.
    pub fn to_json(&self) -> String {
        let map = |cases: &BTreeMap<String, Feature>| {
            let lines: Vec<String> = (cases.iter())
                .map(|(name, case)| format!("{}:{}", text(name), text(case)))
                .collect();
            format!("{{\n{}\n}}", lines.join(",\n"))
        };
        let kind = |groups: &BTreeMap<String, BTreeMap<String, Feature>>| {
            let groups: Vec<String> = (groups.iter())
                .map(|(name, cases)| format!("{}:{}", text(name), map(cases)))
                .collect();
            format!("{{\n{}\n}}", groups.join(",\n"))
        };
        format!(
            "{{\"__meta\":{},\n\"stacks\":{},\n\"tools\":{},\n\"operations\":{}}}\n",
            text(&self.meta),
            text(&self.stacks),
            kind(&self.tools),
            kind(&self.operations),
        )
    }
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a matrix is plain JSON")
}

fn statement(column: &Column<'_>) -> StackStatement {
    let (stack, host) = (&column.latest().stack, &column.latest().host);
    StackStatement {
        client: stack.client.clone(),
        server: stack.server.clone(),
        profile: stack.profile.clone(),
        cache: stack.cache.clone(),
        kernel: series(&stack.kernel),
        filesystem: host.filesystem.clone(),
    }
}

fn features(matrix: &Matrix<'_>, group: &Group<'_>) -> BTreeMap<String, Feature> {
    (group.rows.iter())
        .map(|row| (name_in_family(row.id).to_owned(), feature(matrix, row)))
        .collect()
}

fn feature(matrix: &Matrix<'_>, row: &Row<'_>) -> Feature {
    let statements = matrix.stacks.iter().zip(&row.cells);
    Feature {
        compat: Compat {
            description: row.title.to_owned(),
            support: statements
                .filter_map(|(column, placed)| Some((column.id.clone(), support(&(*placed)?))))
                .collect(),
        },
    }
}

fn support(placed: &Placed<'_>) -> Support {
    let case = placed.case;
    let verified = case.remedies.iter().filter(|remedy| remedy.verified);
    let day = placed.since.started.split('T').next().unwrap_or_default();
    Support {
        verdict: case.verdict,
        since: day.to_owned(),
        notes: case.note.clone(),
        cause: case.cause.as_ref().map(|cause| cause.id.clone()),
        remedies: verified
            .map(|remedy| (remedy.id.clone(), remedy.title.clone()))
            .collect(),
    }
}
