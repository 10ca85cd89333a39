//! The machine that a run is made on, for its report.

use std::{fs, os::unix::ffi::OsStrExt as _, path::Path, thread};

use results::Host;

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
    let table = fs::read("/proc/self/mountinfo").ok()?;
    // Later lines lie over earlier ones, so the last of the longest wins.
    table
        .split(|&byte| byte == b'\n')
        .filter_map(mount)
        .filter(|(point, _)| dir.starts_with(Path::new(std::ffi::OsStr::from_bytes(point))))
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind)
}

/// Mount point and type of one line of mountinfo (proc_pid_mountinfo(5)).
fn mount(line: &[u8]) -> Option<(Vec<u8>, String)> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let dash = fields.iter().position(|&field| field == b"-")?;
    let kind = String::from_utf8_lossy(fields.get(dash + 1)?).into_owned();
    Some((unescape(fields.get(4)?), kind))
}

/// Undoes the octal escapes (`\040`) of the table of mounts.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = (byte == b'\\').then(|| tail.get(..3)).flatten();
        let value = code
            .and_then(|code| std::str::from_utf8(code).ok())
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match value {
            Some(value) => {
                out.push(value);
                rest = &tail[3..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo_are_read_with_their_escapes() {
        let line = br"36 35 98:0 /mnt1 /mnt/a\040b rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount(line), Some((b"/mnt/a b".to_vec(), "ext3".into())));
        assert_eq!(mount(b""), None);
    }

    #[test]
    fn proc_is_found_to_be_proc() {
        assert_eq!(filesystem(Path::new("/proc/self")).as_deref(), Some("proc"));
    }
}
