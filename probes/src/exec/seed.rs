//! Filling a command's directory: a copy of a tree, made through the volume, as a transfer to it would be.
//!
//! Names, contents, modes, times of modification, symbolic links, hard links within the tree and user xattrs are
//! kept. Owners are not: what is made on a volume belongs to whom the server makes it belong.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use serde::{Deserialize, Serialize};

use crate::tools::calls::errno_name;

/// What could not be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The call that failed.
    pub call: String,
    /// Name of its errno.
    pub errno: String,
    /// The object, within the seed.
    pub name: String,
}

/// The child: `@exec-seed FROM TO`; prints what was refused, or `null`.
pub fn main(args: &[OsString]) -> ExitCode {
    let [from, to] = args else {
        eprintln!("@exec-seed needs two directories.");
        return ExitCode::from(2);
    };
    super::tell(&copy(Path::new(from), Path::new(to)).err())
}

/// A failed call on an object.
fn refused<E: Into<std::io::Error>>(call: &str, name: &Path) -> impl FnOnce(E) -> Refused {
    move |error| {
        let errno = error.into().raw_os_error().unwrap_or(0);
        Refused {
            call: call.to_owned(),
            errno: errno_name(errno),
            name: name.display().to_string(),
        }
    }
}

/// Copies the content of `from` into the directory `to`, which exists.
fn copy(from: &Path, to: &Path) -> Result<(), Refused> {
    let mut links: HashMap<(u64, u64), PathBuf> = HashMap::new();
    // Directories get their modes and times last, when nothing is made in them any more.
    let mut directories: Vec<(PathBuf, fs::Metadata)> = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(inner) = pending.pop() {
        let entries = fs::read_dir(from.join(&inner)).map_err(refused("readdir", &inner))?;
        for entry in entries {
            let entry = entry.map_err(refused("readdir", &inner))?;
            let name = inner.join(entry.file_name());
            let (source, target) = (from.join(&name), to.join(&name));
            let data = fs::symlink_metadata(&source).map_err(refused("lstat", &name))?;
            if data.is_dir() {
                fs::create_dir(&target).map_err(refused("mkdir", &name))?;
                directories.push((name.clone(), data));
                pending.push(name);
                continue;
            }
            if data.nlink() > 1 {
                if let Some(first) = links.get(&(data.dev(), data.ino())) {
                    fs::hard_link(to.join(first), &target).map_err(refused("link", &name))?;
                    continue;
                }
                links.insert((data.dev(), data.ino()), name.clone());
            }
            if data.is_symlink() {
                let leads = fs::read_link(&source).map_err(refused("readlink", &name))?;
                std::os::unix::fs::symlink(leads, &target).map_err(refused("symlink", &name))?;
                times(&target, &data, &name)?;
                continue;
            }
            if data.is_file() {
                // Not fs::copy: it would set the mode before the content is there.
                let mut content = fs::File::open(&source).map_err(refused("open", &name))?;
                let mut file = fs::File::create_new(&target).map_err(refused("open", &name))?;
                std::io::copy(&mut content, &mut file).map_err(refused("write", &name))?;
            } else {
                let kind = data.file_type();
                let call = if kind.is_fifo() { "mkfifo" } else { "mknod" };
                let mode = nix::sys::stat::Mode::from_bits_truncate(data.mode());
                let made = nix::sys::stat::SFlag::from_bits_truncate(data.mode());
                let device = if kind.is_char_device() || kind.is_block_device() {
                    data.rdev()
                } else {
                    0
                };
                nix::sys::stat::mknod(&target, made, mode, device).map_err(refused(call, &name))?;
            }
            finish(&source, &target, &data, &name)?;
        }
    }
    for (name, data) in directories.iter().rev() {
        finish(&from.join(name), &to.join(name), data, name)?;
    }
    Ok(())
}

/// Gives a copy the xattrs, mode and times of its original.
fn finish(source: &Path, target: &Path, data: &fs::Metadata, name: &Path) -> Result<(), Refused> {
    for (attribute, value) in super::tree::user_xattrs(source) {
        rustix::fs::setxattr(target, &*attribute, &value, XattrFlags::empty())
            .map_err(refused("setxattr", name))?;
    }
    let mode = fs::Permissions::from_mode(data.mode() & 0o7777);
    fs::set_permissions(target, mode).map_err(refused("chmod", name))?;
    times(target, data, name)
}

fn times(target: &Path, data: &fs::Metadata, name: &Path) -> Result<(), Refused> {
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time(data.atime(), data.atime_nsec()),
        last_modification: time(data.mtime(), data.mtime_nsec()),
    };
    rustix::fs::utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(refused("utimensat", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_what_its_original_has() {
        let dirs = tempfile::tempdir().unwrap();
        let (from, to) = (dirs.path().join("from"), dirs.path().join("to"));
        fs::create_dir_all(from.join("inner")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("a"), "content").unwrap();
        fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o4640)).unwrap();
        fs::hard_link(from.join("a"), from.join("inner/b")).unwrap();
        std::os::unix::fs::symlink("nowhere", from.join("inner/l")).unwrap();
        fs::set_permissions(from.join("inner"), fs::Permissions::from_mode(0o555)).unwrap();
        copy(&from, &to).unwrap();
        let (original, copied) = (
            super::super::tree::whole(&from),
            super::super::tree::whole(&to),
        );
        assert_eq!(original, copied);
        assert_eq!(copied.entries.len(), 4, "{copied:#?}");
    }

    #[test]
    fn what_is_refused_is_named() {
        let dirs = tempfile::tempdir().unwrap();
        let (from, to) = (dirs.path().join("from"), dirs.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("a"), "").unwrap();
        fs::write(to.join("a"), "").unwrap();
        let refused = copy(&from, &to).unwrap_err();
        assert_eq!(
            (
                refused.call.as_str(),
                refused.errno.as_str(),
                refused.name.as_str()
            ),
            ("open", "EEXIST", "a")
        );
    }
}
