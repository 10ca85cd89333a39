//! The Debian kernels that a QEMU guest can boot.
//!
//! `scripts/setup` unpacks them into the user's cache, `linux-5.10` and `linux-6.1`, in their packages' own
//! layout, which is also that of a system's `/`. Beside `vmlinuz` there may be `vmlinux`, the same unpacked: an
//! emulated guest takes seconds to unpack it itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    profile::Profile,
    stack::{
        Series, StackError, cache,
        kernels::{self, KernelWanted, ordered},
    },
};

/// A kernel with its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// What QEMU boots.
    pub image: PathBuf,
    /// Directory of its modules, which holds `modules.dep`.
    pub modules: PathBuf,
    /// Its release, as `uname -r` prints it.
    pub release: String,
}

impl Kernel {
    /// The newest kernel below a root directory: `boot/vmlinuz-RELEASE` with `lib/modules/RELEASE`.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when there is none, or none with a 9p module.
    pub fn below(root: &Path) -> Result<Kernel, StackError> {
        let mut kernels = kernels_below(root);
        kernels.pop().ok_or_else(|| {
            StackError::Unavailable(format!(
                "there is no kernel with 9p below {}: boot/vmlinuz-RELEASE and lib/modules/RELEASE with \
                 modules.dep are looked for (Debian's cloud kernels have no 9p)",
                root.display()
            ))
        })
    }

    /// Whether it is of a series.
    pub fn is_of(&self, series: Series) -> bool {
        kernels::is_of(&self.release, series)
    }

    /// The one at a path: of a directory the newest below it, of a file `ROOT/boot/vmlinuz-RELEASE` that one.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] with what was looked for.
    pub fn given(path: &Path) -> Result<Kernel, StackError> {
        if path.is_dir() {
            return Kernel::below(path);
        }
        let named = || {
            let name = path.file_name()?.to_str()?;
            let release = name
                .strip_prefix("vmlinuz-")
                .or(name.strip_prefix("vmlinux-"))?;
            let mut below = kernels_below(path.parent()?.parent()?).into_iter();
            below.find(|kernel| kernel.release == release)
        };
        named().ok_or_else(|| {
            StackError::Unavailable(format!(
                "{} is no kernel for QEMU guests: give ROOT/boot/vmlinuz-RELEASE with 9p among the modules of \
                 ROOT/lib/modules/RELEASE, or the directory ROOT",
                path.display()
            ))
        })
    }
}

/// Every kernel that this machine has, those of the user's cache first.
pub fn all() -> Vec<Kernel> {
    roots()
        .iter()
        .flat_map(|root| kernels_below(root))
        .collect()
}

/// A kernel of this series.
///
/// # Errors
/// [`StackError::Unavailable`] with what brings it.
pub fn find(series: Series) -> Result<Kernel, StackError> {
    let found = all().into_iter().find(|kernel| kernel.is_of(series));
    found.ok_or_else(|| {
        StackError::Unavailable(format!(
            "there is no Linux {series} for QEMU guests: scripts/setup unpacks Debian's into \
             ~/.cache/probe9p, and --kernel takes a directory with another"
        ))
    })
}

/// The kernel that `--kernel` says; without it the one that the profile means, or another series' where that is not
/// installed.
///
/// # Errors
/// [`StackError::Unavailable`] when it is not there, or there is none at all.
pub fn choose(wanted: Option<&KernelWanted>, profile: Profile) -> Result<Kernel, StackError> {
    match wanted {
        Some(KernelWanted::At(path)) => Kernel::given(path),
        Some(KernelWanted::Series(series)) => find(*series),
        None => find(Series::of(profile)).or_else(|why| {
            let any = [Series::Linux6_1, Series::Linux5_10].map(find);
            any.into_iter().flatten().next().ok_or(why)
        }),
    }
}

fn roots() -> Vec<PathBuf> {
    let mut roots = cache::unpacked("linux-");
    roots.push("/".into());
    roots
}

/// Oldest first.
fn kernels_below(root: &Path) -> Vec<Kernel> {
    let Ok(entries) = fs::read_dir(root.join("boot")) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut releases: Vec<String> = names
        .filter_map(|name| Some(name.to_str()?.strip_prefix("vmlinuz-")?.to_owned()))
        .collect();
    releases.sort_by_key(|release| ordered(release));
    releases
        .into_iter()
        .filter_map(|release| {
            let modules = root.join("lib/modules").join(&release);
            let known = fs::read_to_string(modules.join("modules.dep")).ok()?;
            let unpacked = root.join(format!("boot/vmlinux-{release}"));
            let image = match unpacked.exists() {
                true => unpacked,
                false => root.join(format!("boot/vmlinuz-{release}")),
            };
            known.contains("/9pnet_virtio.ko").then_some(Kernel {
                image,
                modules,
                release,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(root: &Path, release: &str, modules: &str) {
        fs::create_dir_all(root.join("boot")).unwrap();
        let directory = root.join("lib/modules").join(release);
        fs::create_dir_all(&directory).unwrap();
        fs::write(root.join(format!("boot/vmlinuz-{release}")), "").unwrap();
        fs::write(directory.join("modules.dep"), modules).unwrap();
    }

    #[test]
    fn the_newest_kernel_with_9p_is_taken() {
        let tmp = tempfile::tempdir().unwrap();
        let with = "kernel/net/9p/9pnet_virtio.ko: kernel/net/9p/9pnet.ko\n";
        install(tmp.path(), "6.1.0-9-amd64", with);
        install(tmp.path(), "6.1.0-10-amd64", with);
        install(tmp.path(), "6.1.0-11-cloud-amd64", "");
        let kernel = Kernel::below(tmp.path()).unwrap();
        assert_eq!(kernel.release, "6.1.0-10-amd64");
        assert!(kernel.is_of(Series::Linux6_1) && !kernel.is_of(Series::Linux5_10));
        assert!(Kernel::below(Path::new("/nonexistent")).is_err());
        let older = tmp.path().join("boot/vmlinuz-6.1.0-9-amd64");
        assert_eq!(Kernel::given(&older).unwrap().release, "6.1.0-9-amd64");
        let without = tmp.path().join("boot/vmlinuz-6.1.0-11-cloud-amd64");
        let why = Kernel::given(&without).unwrap_err().to_string();
        assert!(why.contains("is no kernel for QEMU guests"), "{why}");
    }
}
