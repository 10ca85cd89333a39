//! The committed JSON Schemas are those that the types give.

use std::{env, fs, path::Path};

fn committed_is(name: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schema")
        .join(name);
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} is not what the types give; look at what changed for those who read it, then run \
         `UPDATE_SCHEMA=1 cargo test -p results --test schema`",
        path.display()
    );
}

#[test]
fn the_report_s_committed_schema_is_up_to_date() {
    let name = format!("report-{}.json", results::SCHEMA_VERSION);
    committed_is(&name, &results::json_schema());
}

#[test]
fn the_comparison_s_committed_schema_is_up_to_date() {
    let name = format!("fidelity-{}.json", results::FIDELITY_SCHEMA_VERSION);
    committed_is(&name, &results::fidelity_json_schema());
}
