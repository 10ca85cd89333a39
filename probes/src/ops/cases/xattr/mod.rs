//! Extended attributes: user, trusted, security and ACL ones, their sizes, lists and flags.

mod system;
mod user;

use super::prelude::*;
use rustix::fs::XattrFlags;

fn set(path: &str, name: &str, value: &[u8], flags: XattrFlags) -> CaseOutcome {
    rustix::fs::setxattr(path, name, value, flags).call(
        "setxattr",
        format_args!("{path}, {name}, {} bytes", value.len()),
    )
}

fn get(path: &str, name: &str) -> CaseOutcome<Vec<u8>> {
    let mut value = vec![0; 65_536];
    let n = rustix::fs::getxattr(path, name, &mut value[..])
        .call("getxattr", format_args!("{path}, {name}"))?;
    value.truncate(n);
    Ok(value)
}
