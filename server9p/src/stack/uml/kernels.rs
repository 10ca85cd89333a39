//! The user-mode Linux kernels that this machine has.
//!
//! Debian's package puts its kernel at `/usr/bin/linux.uml` and its modules under `/usr/lib/uml/modules`; the
//! same layout, unpacked under `~/.cache/probe9p/uml-*`, is how another series is had beside it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    profile::Profile,
    stack::{
        Series, StackError, cache,
        kernels::{self, KernelWanted},
    },
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

    /// The one at a path: of a directory in the package's layout its newest, of a program that with the modules
    /// of its release beside it, `BINARY:MODULES` for modules elsewhere.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] with what was looked for.
    pub fn given(path: &Path) -> Result<Kernel, StackError> {
        if path.is_dir() {
            let mut found = below(path);
            found.sort_by_key(|kernel| kernels::ordered(&kernel.release));
            return found.pop().ok_or_else(|| {
                StackError::Unavailable(format!(
                    "there is no user-mode Linux below {}: usr/bin/linux.uml and usr/lib/uml/modules/RELEASE with \
                     modules.dep are looked for, as Debian's package has them",
                    path.display()
                ))
            });
        }
        if let Some((binary, modules)) = path.to_str().and_then(|text| text.split_once(':')) {
            return Kernel::at(Path::new(binary), Path::new(modules));
        }
        let release = release_of(path)?;
        let prefix = path.parent().and_then(Path::parent);
        let modules = prefix.unwrap_or(Path::new("/")).join("lib/uml/modules");
        Kernel::at(path, &modules.join(release))
    }

    /// Whether it is of a series.
    pub fn is_of(&self, series: Series) -> bool {
        kernels::is_of(&self.release, series)
    }
}

/// What a user-mode Linux says of its release.
fn release_of(binary: &Path) -> Result<String, StackError> {
    let output = Command::new(binary)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    let no_kernel = |why: String| {
        StackError::Unavailable(format!(
            "{} is no user-mode Linux ({why}): give its program, or the directory with usr/bin/linux.uml",
            binary.display()
        ))
    };
    let output = output.map_err(|err| no_kernel(err.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let release = text.trim();
    match release.starts_with(|c: char| c.is_ascii_digit())
        && !release.contains(char::is_whitespace)
    {
        true => Ok(release.to_owned()),
        false => Err(no_kernel("it does not say its release".into())),
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

/// The kernel that `--kernel` says; without it the one that the profile means, or another where that is not
/// installed.
///
/// # Errors
/// [`StackError::Unavailable`] when it is not there, or there is none at all.
pub fn choose(wanted: Option<&KernelWanted>, profile: Profile) -> Result<Kernel, StackError> {
    match wanted {
        Some(KernelWanted::At(path)) => Kernel::given(path),
        Some(KernelWanted::Series(series)) => find(*series),
        None => find(Series::of(profile)).or_else(|why| all().into_iter().next().ok_or(why)),
    }
}

fn roots() -> Vec<PathBuf> {
    let mut roots = cache::unpacked("uml-");
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
    fn a_kernel_by_its_path_has_its_modules_with_it() {
        let tmp = tempfile::tempdir().unwrap();
        let modules = tmp.path().join("usr/lib/uml/modules/6.2.1");
        fs::create_dir_all(&modules).unwrap();
        fs::create_dir_all(tmp.path().join("usr/bin")).unwrap();
        let binary = tmp.path().join("usr/bin/linux.uml");
        fs::write(&binary, "").unwrap();
        let why = Kernel::given(tmp.path()).unwrap_err().to_string();
        assert!(why.contains("modules.dep are looked for"), "{why}");
        fs::write(modules.join("modules.dep"), "").unwrap();
        assert_eq!(Kernel::given(tmp.path()).unwrap().release, "6.2.1");
        let both = format!("{}:{}", binary.display(), modules.display());
        assert_eq!(Kernel::given(both.as_ref()).unwrap().release, "6.2.1");
        let why = Kernel::given(&binary).unwrap_err().to_string();
        assert!(why.contains("is no user-mode Linux"), "{why}");
    }
}
