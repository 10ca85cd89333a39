//! Linux's own 9p client, in a guest or on this host: mounting with it, what it says when it will not, and what
//! the mount turned out to be.

use std::{
    ffi::CString,
    fs,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

use super::{Mounted, mounts};

/// There when v9fs was built with CONFIG_9P_FSCACHE (`v9fs_sysfs_init`). Without it cache=fscache is accepted all
/// the same, and is cache=loose.
const FSCACHE: &str = "/sys/fs/9p/caches";

/// Mounts. With `connection` that is where the server is, for options that begin with `trans=fd`.
///
/// # Errors
/// A sentence that names the kernel and the options.
pub fn mount_volume(
    source: &str,
    point: &Path,
    options: &str,
    connection: Option<BorrowedFd>,
) -> Result<(), String> {
    let descriptors = connection.map_or(String::new(), |connection| {
        let fd = connection.as_raw_fd();
        format!(",rfdno={fd},wfdno={fd}")
    });
    let all = format!("{options}{descriptors}");
    mount(
        Some(source),
        point,
        Some("9p"),
        MsFlags::empty(),
        Some(all.as_str()),
    )
    .map_err(|err| refusal(options, err))?;
    if has(options, "cache=fscache") && !Path::new(FSCACHE).exists() {
        let _ = umount2(point, MntFlags::MNT_DETACH);
        return Err(format!(
            "v9fs of Linux {} was built without CONFIG_9P_FSCACHE, so cache=fscache would be cache=loose: take that",
            release()
        ));
    }
    Ok(())
}

fn has(options: &str, option: &str) -> bool {
    options.split(',').any(|one| one == option)
}

fn refusal(options: &str, err: Errno) -> String {
    let release = release();
    match err {
        Errno::EINVAL if has(options, "cache=readahead") => format!(
            "v9fs of Linux {release} has no cache=readahead, which came with 6.4: it has none, mmap, loose and fscache"
        ),
        Errno::ENODEV => no_9p(),
        _ => format!(
            "v9fs of Linux {release} does not mount the volume with options {options}: {}",
            err.desc()
        ),
    }
}

/// A kernel without 9p.
pub fn no_9p() -> String {
    format!(
        "Linux {} has no 9p, neither built in nor as a module that can be loaded",
        release()
    )
}

/// The running kernel's release.
pub fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// What a mount that was made with these options turned out to be.
pub fn describe(client: &str, point: &Path, options: &str) -> Mounted {
    let mount = mounts::at(point);
    let options = mount.map_or_else(|| options.to_owned(), |m| m.options);
    let msize = options
        .split(',')
        .find_map(|option| option.strip_prefix("msize=")?.parse().ok());
    Mounted {
        client: client.into(),
        kernel: release(),
        options,
        msize,
        ..Mounted::default()
    }
}

/// Has the client give up on its server, so that whoever waits goes on with an error. The caller has one thread.
pub fn abort(point: &Path) {
    let Ok(point) = CString::new(point.as_os_str().as_encoded_bytes()) else {
        return;
    };
    // In a child: to look the mount point up may wait for the very server that does not answer.
    // SAFETY: the caller has one thread; the child makes two system calls.
    unsafe {
        if libc::fork() == 0 {
            libc::umount2(point.as_ptr(), libc::MNT_FORCE);
            libc::_exit(0);
        }
    }
}
