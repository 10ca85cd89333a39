//! The JSON Schemas of what is written, generated from the types, for programs that build on it.

/// The JSON Schema (draft 2020-12) of a report of version [`crate::SCHEMA_VERSION`], indented, with a line break
/// at its end. The same text is committed as `results/schema/report-1.json`.
pub fn json_schema() -> String {
    text(&schemars::schema_for!(crate::Report))
}

/// That of a comparison of version [`crate::FIDELITY_SCHEMA_VERSION`], committed as
/// `results/schema/fidelity-1.json`.
pub fn fidelity_json_schema() -> String {
    text(&schemars::schema_for!(crate::Fidelity))
}

/// That of a difference of version [`crate::DIFF_SCHEMA_VERSION`], committed as `results/schema/diff-1.json`.
pub fn diff_json_schema() -> String {
    text(&schemars::schema_for!(crate::Diff))
}

fn text(schema: &schemars::Schema) -> String {
    let mut text = serde_json::to_string_pretty(schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
