//! Which kernel a client is to have: one of a series, or a certain one by its path.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{Series, StackError, cache};

/// What `--kernel` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelWanted {
    /// Any of this series.
    Series(Series),
    /// The one at this path: a directory as `scripts/setup` unpacks it, or the kernel's own file. A name of another
    /// series means that directory in the user's cache.
    At(PathBuf),
}

impl KernelWanted {
    /// The series, for a client that runs no kernel of its own.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] for a path, with the clients that take one.
    pub fn series(&self, client: &str) -> Result<Series, StackError> {
        match self {
            KernelWanted::Series(series) => Ok(*series),
            KernelWanted::At(path) => Err(StackError::Unavailable(format!(
                "client {client} boots no kernel, so it cannot take {}: give --kernel 5.10 or 6.1, or take client \
                 uml or qemu",
                path.display()
            ))),
        }
    }
}

impl fmt::Display for KernelWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelWanted::Series(series) => series.fmt(f),
            KernelWanted::At(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for KernelWanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(series) = text.parse() {
            return Ok(KernelWanted::Series(series));
        }
        // One that scripts/setup unpacked beside those two, `linux-6.12`.
        let named = cache::directory().map(|cache| cache.join(format!("linux-{text}")));
        if let Some(unpacked) = named.filter(|dir| !text.contains('/') && dir.is_dir()) {
            return Ok(KernelWanted::At(unpacked));
        }
        if text.contains('/') || Path::new(text).exists() {
            return Ok(KernelWanted::At(text.into()));
        }
        Err(format!(
            "there is no kernel series {text:?} here; take 5.10 or 6.1, or 6.12 after scripts/setup \
             --kernel 6.12, or give the path of a kernel or of the directory that one was unpacked into"
        ))
    }
}

/// Whether a release, `6.1.0-56-amd64`, is of a series.
pub fn is_of(release: &str, series: Series) -> bool {
    let rest = release.strip_prefix(series.name());
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The numbers in a release, by which releases are ordered.
pub fn ordered(release: &str) -> Vec<u64> {
    let numbers = release.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_not_the_beginning_of_another() {
        assert!(is_of("6.1.176", Series::Linux6_1));
        assert!(!is_of("6.12.3", Series::Linux6_1));
        assert!(is_of("5.10.0-46-amd64", Series::Linux5_10));
    }

    #[test]
    fn a_kernel_is_named_by_its_series_or_its_path() {
        assert_eq!("5.10".parse(), Ok(KernelWanted::Series(Series::Linux5_10)));
        assert_eq!(
            "/boot/vmlinuz".parse(),
            Ok(KernelWanted::At("/boot/vmlinuz".into()))
        );
        let why = "6.13".parse::<KernelWanted>().unwrap_err();
        assert!(why.contains("take 5.10 or 6.1"), "{why}");
        let why = KernelWanted::At("/k".into()).series("fuse").unwrap_err();
        assert!(
            why.to_string().contains("client fuse boots no kernel"),
            "{why}"
        );
    }
}
