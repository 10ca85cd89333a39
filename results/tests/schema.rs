//! The committed JSON Schema is the one that the types give.

use std::{env, fs, path::Path};

#[test]
fn the_committed_schema_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("schema/report-{}.json", results::SCHEMA_VERSION));
    let generated = results::json_schema();
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} is not what the types give; look at what changed for those who read reports, then run \
         `UPDATE_SCHEMA=1 cargo test -p results --test schema`",
        path.display()
    );
}
