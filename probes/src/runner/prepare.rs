//! File systems in what a volume's server serves, for cases that need them in their directory (`ops::prepared`).
//!
//! They are mounted in the mount namespace where the server runs, so that the volume's client sees ordinary directories.

use std::{
    fs::{self, File},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    mount::{UnmountFlags, unmount},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use crate::ops::prepared::Prepared;

/// The mounts, which end with this.
pub struct Mounts {
    namespace: File,
    points: Vec<PathBuf>,
}

impl Mounts {
    /// Makes them in `dir`, for the user whom the directory belongs to when that is another, where the process `server`
    /// sees them.
    ///
    /// # Errors
    /// Why this process cannot, and what would make it able to.
    pub fn make(
        what: Prepared,
        dir: &Path,
        owner: Option<(u32, u32)>,
        server: u32,
    ) -> Result<Mounts, String> {
        let open = |process: &str| {
            File::open(format!("/proc/{process}/ns/mnt")).map_err(|error| {
                format!("probe9p cannot enter where the server runs ({error}); run it as root")
            })
        };
        let namespace = open(&server.to_string())?;
        let home = open("self")?;
        let mut mounts = Mounts {
            namespace,
            points: Vec::new(),
        };
        for name in what.names() {
            let at = dir.join(name);
            fs::create_dir(&at).map_err(|error| {
                format!(
                    "probe9p cannot make {} ({error}); run it as root",
                    at.display()
                )
            })?;
            mounts.points.push(at);
        }
        within(&mounts.namespace, || {
            what.mount(dir, owner, Some(home.as_fd()))
        })
        .map_err(|error| {
            format!("probe9p cannot enter where the server runs ({error}); run it as root")
        })??;
        Ok(mounts)
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // The server may still have a file there open; it may also be gone, and the mounts with it.
        let _ = within(&self.namespace, || {
            for at in &self.points {
                let _ = unmount(at, UnmountFlags::DETACH);
            }
        });
    }
}

/// Runs `body` in a mount namespace: in a thread of its own, which shares neither root nor working directory with others.
fn within<T: Send>(namespace: &File, body: impl FnOnce() -> T + Send) -> rustix::io::Result<T> {
    thread::scope(|scope| {
        let entered = scope.spawn(|| {
            // SAFETY: no descriptor table is unshared, and the thread ends after this.
            unsafe { unshare_unsafe(UnshareFlags::FS) }?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
            Ok(body())
        });
        entered.join().unwrap_or(Err(rustix::io::Errno::IO))
    })
}
