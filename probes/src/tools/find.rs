//! Whether a tool is on this machine, its version, and what would bring it.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use super::{recipe::Variant, script, sqlite};

/// Says why a variant's cases cannot be run here, with the command that changes that.
pub fn present(variant: &Variant) -> Result<(), String> {
    let missing: Vec<&str> = variant
        .programs
        .iter()
        .map(String::as_str)
        .filter(|program| !on_path(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (noun, verb) = if missing.len() == 1 {
        ("the program", "is")
    } else {
        ("the programs", "are")
    };
    let remedy = match variant.packages.install_command() {
        Some(command) => format!("`{command}` brings what is missing"),
        None => "its recipe does not say which package brings it".to_owned(),
    };
    Err(format!(
        "{} needs {noun} {}, which {verb} not installed; {remedy}.",
        variant.name.get_ref(),
        missing.join(", ")
    ))
}

/// The variant's version, where it says one.
pub fn version(variant: &Variant) -> Option<String> {
    if variant.builtin.is_some() {
        return Some(sqlite::version());
    }
    let output = Command::new("/bin/sh")
        .arg("-c")
        .arg(variant.version.as_deref()?)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// True when a program of this name can be executed from `PATH`, or is at this absolute path.
pub fn on_path(program: &str) -> bool {
    let executable = |path: &Path| {
        path.metadata()
            .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return executable(Path::new(program));
    }
    // A guest's first process has no PATH; its scripts get this one.
    let path = std::env::var_os("PATH").unwrap_or_else(|| script::DEFAULT_PATH.into());
    std::env::split_paths(&path).any(|dir| executable(&dir.join(program)))
}
