//! How far the kernel reads ahead in files.
//!
//! Its default for any FUSE mount is 128 KiB, so that a read of 1 MiB became eight requests. With one message's data it is
//! as fast as with windows of several MiB, and asks the server for little that nobody reads.

use std::{fs, path::Path};

use crate::stack::mounts;

/// Gives the mount at this place a window of one message's data, in bytes, in whole pages. It must be mounted and answered by
/// now: what is agreed on at the beginning only makes the window smaller.
pub(super) fn set(mountpoint: &Path, message: u32) {
    let page = rustix::param::page_size() as u32;
    let window = (message / page).max(1) * page;
    if let Some(mount) = mounts::at(mountpoint) {
        // Only root of the machine may; what others have suffices for messages of 128 KiB and more.
        let _ = fs::write(
            format!("/sys/class/bdi/0:{}/read_ahead_kb", mount.minor),
            (window / 1024).to_string(),
        );
    }
}
