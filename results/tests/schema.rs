//! The committed JSON Schemas are those that the types give.

mod common;

use common::committed;

#[test]
fn the_report_s_committed_schema_is_up_to_date() {
    let name = format!("schema/report-{}.json", results::SCHEMA_VERSION);
    committed(&name, &results::json_schema());
}

#[test]
fn the_comparison_s_committed_schema_is_up_to_date() {
    let name = format!("schema/fidelity-{}.json", results::FIDELITY_SCHEMA_VERSION);
    committed(&name, &results::fidelity_json_schema());
}

#[test]
fn the_matrix_s_committed_schema_is_up_to_date() {
    let name = format!(
        "schema/matrix-{}.json",
        results::forms::MATRIX_SCHEMA_VERSION
    );
    committed(&name, &results::forms::matrix_schema());
}

#[test]
fn the_difference_s_committed_schema_is_up_to_date() {
    let name = format!("schema/diff-{}.json", results::DIFF_SCHEMA_VERSION);
    committed(&name, &results::diff_json_schema());
}
