//! Two small file systems in what a volume's server serves, for cases about full ones and about more than one.
//!
//! They are mounted in the mount namespace where the server runs, below the case's directory, so that the volume's client
//! sees ordinary directories whose room ends soon.

use std::{
    ffi::CString,
    fs::{self, File},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use crate::ops::needs::{SMALL, SMALL_OPTIONS};

/// The mounts, which end with this.
pub struct Small {
    namespace: File,
    points: Vec<PathBuf>,
}

impl Small {
    /// Mounts them in `dir`, for the user whom the directory belongs to when that is another, where the process `server`
    /// sees them.
    ///
    /// # Errors
    /// Why this process cannot, and what would make it able to.
    pub fn mount(dir: &Path, owner: Option<(u32, u32)>, server: u32) -> Result<Small, String> {
        let owner = owner.map_or_else(String::new, |(uid, gid)| format!(",uid={uid},gid={gid}"));
        let options = CString::new(format!("{SMALL_OPTIONS}{owner}")).map_err(|e| e.to_string())?;
        let namespace = File::open(format!("/proc/{server}/ns/mnt")).map_err(|error| {
            format!("probe9p cannot enter where the server runs ({error}); run it as root")
        })?;
        let mut small = Small {
            namespace,
            points: Vec::new(),
        };
        for name in SMALL {
            let at = dir.join(name);
            let cannot = |what: &str, error: &dyn std::fmt::Display| {
                format!("probe9p {what} {} ({error}); run it as root", at.display())
            };
            fs::create_dir(&at).map_err(|error| cannot("cannot make", &error))?;
            let flags = MountFlags::NODEV | MountFlags::NOSUID;
            within(&small.namespace, || {
                mount("tmpfs", &at, "tmpfs", flags, options.as_c_str())
            })
            .map_err(|error| cannot("cannot mount a tmpfs on", &error))?;
            small.points.push(at);
        }
        Ok(small)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // The server may still have a file there open; it may also be gone, and the mounts with it.
        let _ = within(&self.namespace, || {
            for at in &self.points {
                let _ = unmount(at, UnmountFlags::DETACH);
            }
            Ok(())
        });
    }
}

/// Runs `body` in a mount namespace: in a thread of its own, which shares neither root nor working directory with others.
fn within(
    namespace: &File,
    body: impl FnOnce() -> rustix::io::Result<()> + Send,
) -> rustix::io::Result<()> {
    thread::scope(|scope| {
        let entered = scope.spawn(|| {
            // SAFETY: no descriptor table is unshared, and the thread ends after this.
            unsafe { unshare_unsafe(UnshareFlags::FS) }?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
            body()
        });
        entered.join().unwrap_or(Err(rustix::io::Errno::IO))
    })
}
