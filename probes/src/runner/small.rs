//! Two small file systems in what a volume's server serves, for cases about full ones and about more than one.
//!
//! They are mounted where the server runs, below the case's directory, so that the volume's client sees ordinary
//! directories whose room ends soon.

use std::{
    ffi::CString,
    fs,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::ops::needs::{SMALL, SMALL_OPTIONS};

/// The mounts, which end with this.
pub struct Small(Vec<PathBuf>);

impl Small {
    /// Mounts them in `dir`, for the user whom the directory belongs to when that is another.
    ///
    /// # Errors
    /// Why this process cannot, and what would make it able to.
    pub fn mount(dir: &Path, owner: Option<(u32, u32)>) -> Result<Small, String> {
        let mut small = Small(Vec::new());
        let owner = owner.map_or_else(String::new, |(uid, gid)| format!(",uid={uid},gid={gid}"));
        let options = CString::new(format!("{SMALL_OPTIONS}{owner}")).map_err(|e| e.to_string())?;
        for name in SMALL {
            let at = dir.join(name);
            let cannot = |what: &str, error: &dyn std::fmt::Display| {
                format!("probe9p {what} {} ({error}); run it as root", at.display())
            };
            fs::create_dir(&at).map_err(|error| cannot("cannot make", &error))?;
            let flags = MountFlags::NODEV | MountFlags::NOSUID;
            mount("tmpfs", &at, "tmpfs", flags, options.as_c_str())
                .map_err(|error| cannot("cannot mount a tmpfs on", &error))?;
            small.0.push(at);
        }
        Ok(small)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        for at in &self.0 {
            // The server may still have a file there open.
            let _ = unmount(at, UnmountFlags::DETACH);
        }
    }
}
