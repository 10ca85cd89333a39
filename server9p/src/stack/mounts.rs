//! Reading the table of mounts.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use super::Mounted;

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// Minor number of its device: for FUSE, the number of its connection in `/sys/fs/fuse/connections`.
    pub minor: u32,
    /// File system, `9p`.
    pub fs_type: String,
    /// What is mounted.
    pub source: String,
    /// Options of the mount and of the file system.
    pub options: String,
}

/// The mounts that this process sees, in the order they were made.
pub fn all() -> Vec<Mount> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|&byte| byte == b'\n')
        .filter_map(parse)
        .collect()
}

/// The uppermost mount at a place.
pub fn at(point: &Path) -> Option<Mount> {
    all().into_iter().rfind(|mount| mount.point == point)
}

fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let text = |at: usize| Some(String::from_utf8_lossy(fields.get(at)?).into_owned());
    let minor = text(2)?.split_once(':')?.1.parse().ok()?;
    // Optional fields end with a hyphen.
    let hyphen = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    Some(Mount {
        point: PathBuf::from(unescape(fields[4])),
        minor,
        fs_type: text(hyphen + 1)?,
        source: text(hyphen + 2)?,
        options: merged(&text(5)?, &text(hyphen + 3)?),
    })
}

/// Options of a mount with those of its file system that it does not have itself.
fn merged(mount: &str, file_system: &str) -> String {
    let mut all: Vec<&str> = mount.split(',').collect();
    for option in file_system.split(',') {
        if !all.contains(&option) {
            all.push(option);
        }
    }
    all.join(",")
}

/// Blanks, tabs, newlines and backslashes stand as `\ooo`.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| byte == b'\\');
        let code = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(plain)
}

/// The mount that a path lies on, by the table alone: the path itself is not touched.
pub fn of(path: &Path) -> Option<Mount> {
    let mounts = all().into_iter().filter(|m| path.starts_with(&m.point));
    // The longest, and of several in one place the last.
    mounts.max_by_key(|m| m.point.as_os_str().as_bytes().len())
}

/// What the mount is that a path lies on, as far as its options tell.
pub fn describe(path: &Path) -> Mounted {
    let Some(mount) = of(path) else {
        return Mounted::default();
    };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let msize = mount
        .options
        .split(',')
        .find_map(|option| option.strip_prefix("msize=")?.parse().ok());
    Mounted {
        client: "path".into(),
        server: "unknown".into(),
        kernel: release.trim().into(),
        options: format!("{} {}", mount.fs_type, mount.options),
        msize,
        ..Mounted::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_may_hold_blanks() {
        let line =
            br"36 35 0:53 / /mnt/a\040b rw,noatime master:1 shared:2 - 9p mnt0 rw,msize=512000";
        let mount = parse(line).unwrap();
        assert_eq!(mount.point, Path::new("/mnt/a b"));
        assert_eq!((mount.minor, mount.fs_type.as_str()), (53, "9p"));
        assert_eq!(mount.options, "rw,noatime,msize=512000");
    }
}
