//! The user-mode Linux kernels that this machine has.
//!
//! Debian's package puts its kernel at `/usr/bin/linux.uml` and its modules under `/usr/lib/uml/modules`; the
//! same layout, unpacked under `~/.cache/probe9p/uml-*`, is how another series is had beside it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    profile::Profile,
    stack::{Series, StackError},
};

/// A user-mode Linux with its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The program.
    pub binary: PathBuf,
    /// Directory of its modules, which holds `modules.dep`.
    pub modules: PathBuf,
    /// Its release, `6.1.176`.
    pub release: String,
}

impl Kernel {
    /// The one whose program and directory of modules these are.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when one of them does not exist.
    pub fn at(binary: &Path, modules: &Path) -> Result<Kernel, StackError> {
        for needed in [binary, &modules.join("modules.dep")] {
            if !needed.exists() {
                return Err(StackError::Unavailable(format!(
                    "there is no {}: a UML kernel is a program and the directory of its modules",
                    needed.display()
                )));
            }
        }
        let release = modules.file_name().unwrap_or_default().to_string_lossy();
        Ok(Kernel {
            binary: binary.to_owned(),
            modules: modules.to_owned(),
            release: release.into_owned(),
        })
    }

    /// Whether it is of a series.
    pub fn is_of(&self, series: Series) -> bool {
        let rest = self.release.strip_prefix(series.name());
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }
}

/// Every kernel installed, those of the user's cache first.
pub fn all() -> Vec<Kernel> {
    roots().iter().flat_map(|root| below(root)).collect()
}

/// A kernel of this series.
///
/// # Errors
/// [`StackError::Unavailable`] with what brings it.
pub fn find(series: Series) -> Result<Kernel, StackError> {
    let found = all().into_iter().find(|kernel| kernel.is_of(series));
    found.ok_or_else(|| {
        StackError::Unavailable(match series {
            Series::Linux6_1 => {
                "user-mode Linux 6.1 is not installed: `apt install user-mode-linux` (Debian 12) brings it".into()
            }
            Series::Linux5_10 => {
                "user-mode Linux 5.10 is not installed: scripts/setup unpacks Debian 11's into ~/.cache/probe9p".into()
            }
        })
    })
}

/// The kernel that a profile means, or another where that one is not installed.
///
/// # Errors
/// [`StackError::Unavailable`] when there is none at all.
pub fn preferred(profile: Profile) -> Result<Kernel, StackError> {
    find(Series::of(profile)).or_else(|_| {
        let any = all().into_iter().next();
        any.ok_or_else(|| {
            StackError::Unavailable(
                "user-mode Linux is not installed: `apt install user-mode-linux` (Debian 12) brings it".into(),
            )
        })
    })
}

fn roots() -> Vec<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let mut roots: Vec<PathBuf> = cache
        .and_then(|cache| fs::read_dir(cache.join("probe9p")).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(b"uml-")
        })
        .collect();
    roots.sort();
    roots.push("/".into());
    roots
}

fn below(root: &Path) -> Vec<Kernel> {
    let binary = root.join("usr/bin/linux.uml");
    let Ok(modules) = fs::read_dir(root.join("usr/lib/uml/modules")) else {
        return Vec::new();
    };
    let directories = modules.flatten().map(|entry| entry.path());
    directories
        .filter_map(|directory| Kernel::at(&binary, &directory).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_not_the_beginning_of_another() {
        let kernel = |release: &str| Kernel {
            binary: PathBuf::new(),
            modules: PathBuf::new(),
            release: release.into(),
        };
        assert!(kernel("6.1.176").is_of(Series::Linux6_1));
        assert!(!kernel("6.12.3").is_of(Series::Linux6_1));
        assert!(kernel("5.10.46").is_of(Series::Linux5_10));
    }
}
