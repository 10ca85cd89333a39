//! Embeds every recipe of `tools/`, so that adding a tool is adding a file.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let root = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let dir = Path::new(&root).join("tools");
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut files = fs::read_dir(&dir)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    files.retain(|file| file.extension().is_some_and(|end| end == "toml"));
    files.sort();
    let entries = files.iter().map(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        format!(
            "({:?}, include_str!({:?})),\n",
            format!("probes/tools/{name}"),
            file.display().to_string()
        )
    });
    let text = format!("&[\n{}]", entries.collect::<String>());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("recipes.rs"), text)
}
