//! What one side sees of the other's changes: the host works on the exported directory itself, without the
//! volume's client between. Natively both are one directory.

mod data;
mod names;
mod to_host;

use super::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const SOURCE: &str =
    "linux Documentation/filesystems/9p.rst: cache=none reads and asks the server each time";

/// The case's directory as the host sees it.
fn host(name: &str) -> CaseOutcome<PathBuf> {
    match std::env::var_os(crate::ops::needs::HOST_DIR) {
        Some(dir) => Ok(PathBuf::from(dir).join(name)),
        None => Err(Stop::NotRun(
            "needs the host's view of the directory".into(),
        )),
    }
}

/// The host writes a file that the volume's users may change too.
fn host_write(name: &str, bytes: &[u8]) -> CaseOutcome {
    let path = host(name)?;
    fs::write(&path, bytes).call("write", format_args!("{name}, by the host"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))
        .call("chmod", format_args!("{name}, by the host"))
}
