//! How far the kernel reads ahead in files that it caches.
//!
//! Its default for any FUSE mount is 128 KiB, so that a read of 1 MiB became eight requests. As far as the mount's own
//! requests go is as far as reading ahead pays.

use std::{fs, path::Path};

use crate::stack::mounts;

/// KiB: the largest request of a mount.
const WINDOW: &str = "1024";

/// Widens the window of the mount at this place. It must be mounted and answered by now: what is agreed on at the
/// beginning only makes the window smaller.
pub(super) fn widen(mountpoint: &Path) {
    let mount = mounts::all()
        .into_iter()
        .rfind(|mount| mount.point == mountpoint);
    if let Some(mount) = mount {
        // Only root of the machine may, and it is only faster.
        let _ = fs::write(
            format!("/sys/class/bdi/0:{}/read_ahead_kb", mount.minor),
            WINDOW,
        );
    }
}
