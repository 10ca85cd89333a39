//! What a directory holds, in words that are the same for the same tree: names, types, modes, sizes, contents by
//! their hash, which names are links of one file, targets of symbolic links, user xattrs.
//!
//! Owners, times and inode numbers are left out: two runs of one command differ in them on one filesystem already,
//! or on every volume.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::{Deserialize, Serialize};
use server9p::stack::StackError;
use sha2::{Digest, Sha256};

use crate::{runner::side::Side, tools::calls::errno_name};

/// How much of a listing one child prints, in bytes: a world keeps 1 MiB of a command's output.
const PAGE: usize = 600 * 1024;

/// A directory's content: what each name in it is, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// By the name's path below the directory.
    pub entries: BTreeMap<String, String>,
}

/// A part of a listing.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    entries: BTreeMap<String, String>,
    /// How many names came before the next part, if there is one.
    next: Option<usize>,
}

/// Lists a directory of the side's world.
///
/// # Errors
/// What [`super::child`] returns.
pub fn list(side: &Side, dir: &Path) -> Result<Tree, StackError> {
    let mut tree = Tree::default();
    let mut from = 0;
    loop {
        let page: Page = super::child(
            side,
            dir,
            "@exec-tree",
            &[dir.into(), from.to_string().into()],
        )?;
        tree.entries.extend(page.entries);
        match page.next {
            Some(next) => from = next,
            None => return Ok(tree),
        }
    }
}

/// The child: `@exec-tree DIR FROM`; prints a [`Page`].
pub fn main(args: &[OsString]) -> ExitCode {
    let parsed = match args {
        [dir, from] => from
            .to_str()
            .and_then(|from| from.parse().ok())
            .map(|from| (dir, from)),
        _ => None,
    };
    let Some((dir, from)) = parsed else {
        eprintln!("@exec-tree needs a directory and a number.");
        return ExitCode::from(2);
    };
    super::tell(&page(Path::new(dir), from, PAGE))
}

/// All of a directory, listed in this process.
#[cfg(test)]
pub fn whole(dir: &Path) -> Tree {
    Tree {
        entries: page(dir, 0, usize::MAX).entries,
    }
}

fn page(dir: &Path, from: usize, most: usize) -> Page {
    let found = walk(dir);
    // Which names are one file.
    let mut links: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    for (name, data) in &found {
        if let Ok(data) = data
            && data.nlink() > 1
            && !data.is_dir()
        {
            links
                .entry((data.dev(), data.ino()))
                .or_default()
                .push(shown(name));
        }
    }
    let mut page = Page {
        entries: BTreeMap::new(),
        next: None,
    };
    let mut size = 0;
    for (index, (name, data)) in found.iter().enumerate().skip(from) {
        if size > most {
            page.next = Some(index);
            break;
        }
        let name_shown = shown(name);
        let text = match data {
            Ok(data) => {
                let others = links.get(&(data.dev(), data.ino()));
                describe(
                    &dir.join(name),
                    data,
                    others.map_or(&[], Vec::as_slice),
                    &name_shown,
                )
            }
            Err(error) => format!("cannot be looked at ({})", error_name(error)),
        };
        size += name_shown.len() + text.len() + 8;
        page.entries.insert(name_shown, text);
    }
    page
}

/// Every name below a directory, in order of their bytes.
fn walk(dir: &Path) -> BTreeMap<PathBuf, io::Result<Metadata>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(inner) = pending.pop() {
        let entries = match fs::read_dir(dir.join(&inner)) {
            Ok(entries) => entries,
            Err(error) => {
                found.insert(inner, Err(error));
                continue;
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) => {
                    let name = inner.join(entry.file_name());
                    let data = fs::symlink_metadata(dir.join(&name));
                    if data.as_ref().is_ok_and(Metadata::is_dir) {
                        pending.push(name.clone());
                    }
                    found.insert(name, data);
                }
                Err(error) => {
                    found.insert(inner.clone(), Err(error));
                    break;
                }
            }
        }
    }
    found
}

/// One entry in words.
fn describe(path: &Path, data: &Metadata, links: &[String], name: &str) -> String {
    let kind = data.file_type();
    let mode = data.mode() & 0o7777;
    let mut text = if kind.is_symlink() {
        match fs::read_link(path) {
            Ok(target) => format!("symbolic link to {}", shown(&target)),
            Err(error) => format!("symbolic link that cannot be read ({})", error_name(&error)),
        }
    } else if kind.is_dir() {
        format!("directory, mode {mode:04o}")
    } else if kind.is_file() {
        let content = match digest(path) {
            Ok(digest) => format!("sha256 {digest}"),
            Err(error) => format!("content cannot be read ({})", error_name(&error)),
        };
        format!("file, mode {mode:04o}, {} bytes, {content}", data.len())
    } else {
        let kind = match () {
            () if kind.is_fifo() => "FIFO",
            () if kind.is_socket() => "socket",
            () if kind.is_block_device() => "block device",
            () => "character device",
        };
        format!("{kind}, mode {mode:04o}")
    };
    let others: Vec<&str> = links
        .iter()
        .map(String::as_str)
        .filter(|other| *other != name)
        .collect();
    if !others.is_empty() {
        text.push_str(&format!(", the same file as {}", others.join(" and ")));
    } else if data.nlink() > 1 && !kind.is_dir() {
        text.push_str(&format!(", {} links", data.nlink()));
    }
    for (attribute, value) in user_xattrs(path) {
        let digest = format!("{:x}", HexOf(&Sha256::digest(&value)));
        text.push_str(&format!(
            ", xattr {} of {} bytes, sha256 {}",
            shown(Path::new(&attribute)),
            value.len(),
            &digest[..16]
        ));
    }
    text
}

/// The user xattrs of a path, by name; none where they cannot be listed.
pub fn user_xattrs(path: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut names = vec![0u8; 65_536];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return Vec::new();
    };
    let mut found: Vec<(OsString, Vec<u8>)> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| name.starts_with(b"user."))
        .filter_map(|name| {
            let name = OsStr::from_bytes(name).to_owned();
            let mut value = vec![0u8; 65_536];
            let length = rustix::fs::lgetxattr(path, &*name, &mut value[..]).ok()?;
            value.truncate(length);
            Some((name, value))
        })
        .collect();
    found.sort();
    found
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(format!("{:x}", HexOf(&hasher.finalize()))[..16].to_owned())
}

/// Writes bytes as hexadecimal digits.
struct HexOf<'a>(&'a [u8]);

impl std::fmt::LowerHex for HexOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A digest of bytes, short enough to be compared by eye.
pub fn short_digest(bytes: &[u8]) -> String {
    format!("{:x}", HexOf(&Sha256::digest(bytes)))[..16].to_owned()
}

/// A name as text: bytes that are no UTF-8 are escaped, so that different names stay different.
fn shown(name: &Path) -> String {
    match name.to_str() {
        Some(text) => text.to_owned(),
        None => name.as_os_str().as_bytes().escape_ascii().to_string(),
    }
}

fn error_name(error: &io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| error.to_string(), errno_name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_tree_is_told_apart_by_each_of_its_properties() {
        let make = |change: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path();
            fs::write(path.join("a"), "one").unwrap();
            fs::hard_link(path.join("a"), path.join("b")).unwrap();
            fs::create_dir(path.join("d")).unwrap();
            symlink("a", path.join("l")).unwrap();
            change(path);
            whole(path)
        };
        let plain = make(&|_| {});
        assert_eq!(plain, make(&|_| {}));
        assert!(
            plain.entries["a"].contains("the same file as b"),
            "{plain:#?}"
        );
        let mode = |bits| <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(bits);
        let changes: [&dyn Fn(&Path); 6] = [
            &|path| fs::write(path.join("a"), "two").unwrap(),
            &|path| fs::set_permissions(path.join("d"), mode(0o700)).unwrap(),
            &|path| fs::write(path.join("c"), "").unwrap(),
            &|path| {
                fs::remove_file(path.join("b")).unwrap();
                fs::write(path.join("b"), "one").unwrap();
            },
            &|path| {
                fs::remove_file(path.join("l")).unwrap();
                symlink("b", path.join("l")).unwrap();
            },
            &|path| {
                fs::remove_dir(path.join("d")).unwrap();
                fs::write(path.join("d"), "").unwrap();
            },
        ];
        for (index, change) in changes.iter().enumerate() {
            assert_ne!(plain, make(change), "change {index}");
        }
    }

    #[test]
    fn a_long_listing_comes_in_parts_that_make_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..50 {
            fs::write(dir.path().join(format!("file{number}")), "").unwrap();
        }
        let mut entries = BTreeMap::new();
        let (mut from, mut parts) = (0, 0);
        loop {
            let part = page(dir.path(), from, 500);
            entries.extend(part.entries);
            parts += 1;
            match part.next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert!(parts > 3);
        assert_eq!(Tree { entries }, whole(dir.path()));
    }
}
