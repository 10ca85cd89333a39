//! The JSON Schema of the report, generated from the types, for programs that build on it.

/// The JSON Schema (draft 2020-12) of a report of version [`crate::SCHEMA_VERSION`], indented, with a line break
/// at its end. The same text is committed as `results/schema/report-1.json`.
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(crate::Report);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
