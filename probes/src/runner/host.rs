//! The machine that a run is made on, for its report.

use std::{fs, path::Path, thread};

use results::Host;
use server9p::stack::mounts;

/// Describes this machine, and the file system that `dir` is on.
pub fn describe(dir: &Path) -> Host {
    let uname = rustix::system::uname();
    Host {
        os: os_release().unwrap_or_else(|| uname.sysname().to_string_lossy().into_owned()),
        kernel: uname.release().to_string_lossy().into_owned(),
        arch: uname.machine().to_string_lossy().into_owned(),
        cpus: thread::available_parallelism().map_or(1, |n| n.get() as u32),
        filesystem: filesystem(dir).unwrap_or_else(|| "unknown".into()),
        probe9p: env!("CARGO_PKG_VERSION").into(),
    }
}

fn os_release() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches(['"', '\'']).to_owned())
}

/// The type of the file system that a directory is on, as the table of mounts names it.
pub fn filesystem(dir: &Path) -> Option<String> {
    let dir = fs::canonicalize(dir).ok()?;
    mounts::of(&dir).map(|mount| mount.fs_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_found_to_be_proc() {
        assert_eq!(filesystem(Path::new("/proc/self")).as_deref(), Some("proc"));
    }
}
