//! What `scripts/setup` unpacked for this user, and only for him: `${XDG_CACHE_HOME:-~/.cache}/probe9p`.

use std::{env, fs, path::PathBuf};

/// The directory, whether or not it is there; none for a user without a home.
pub fn directory() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|cache| cache.is_absolute())
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("probe9p"))
}

/// What is there under a name that begins so, in the names' order.
pub fn unpacked(prefix: &str) -> Vec<PathBuf> {
    let entries = directory().and_then(|directory| fs::read_dir(directory).ok());
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_bytes())
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}
