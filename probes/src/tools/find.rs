//! Whether a tool is on this machine, its version, and what would bring it.

use std::{
    ffi::OsString,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    recipe::{Recipe, Variant},
    script, sqlite,
};

/// Names the directory of [`installed`] to a child whose world has not this user's environment.
pub const TOOLS_DIR: &str = "PROBE9P_TOOLS";

/// Where `scripts/setup --tools` links the programs that it brings from elsewhere than Debian, in the user's cache.
pub fn installed() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(TOOLS_DIR) {
        return Some(dir.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|cache| cache.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("probe9p/tools/bin"))
}

/// Where programs are looked for, in this order: `first`, `PATH` (a guest's first process has none), [`installed`].
pub fn search_path(first: Option<PathBuf>) -> io::Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| script::DEFAULT_PATH.into());
    std::env::join_paths(
        first
            .into_iter()
            .chain(std::env::split_paths(&path))
            .chain(installed()),
    )
    .map_err(io::Error::other)
}

/// Says why a variant's cases cannot be run here, with the command that changes that.
pub fn present(recipe: &Recipe, variant: &Variant) -> Result<(), String> {
    let programs = variant.programs.iter().filter(|name| !on_path(name));
    let files = variant
        .files
        .iter()
        .filter(|file| !Path::new(file).exists());
    let missing: Vec<&str> = programs.chain(files).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let verb = if missing.len() == 1 { "is" } else { "are" };
    let setup = format!("`scripts/setup --tools {}`", recipe.name.get_ref());
    let remedy = match (
        super::is_built_in(recipe.name.get_ref()),
        variant.packages.install_command(),
    ) {
        (true, Some(command)) => format!("{setup} brings what is missing (as does `{command}`)"),
        (true, None) => format!("{setup} brings what is missing"),
        (false, Some(command)) => format!("`{command}` brings what is missing"),
        (false, None) => "its recipe does not say which package brings it".to_owned(),
    };
    Err(format!(
        "{} needs {}, which {verb} not installed; {remedy}.",
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
        .env("PATH", search_path(None).ok()?)
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
    search_path(None)
        .is_ok_and(|path| std::env::split_paths(&path).any(|dir| executable(&dir.join(program))))
}
