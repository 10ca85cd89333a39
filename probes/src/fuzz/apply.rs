//! Carries a sequence out in a fresh directory and says, step by step, what it saw.

use std::{
    fmt::Write as _,
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path as FsPath,
};

use rustix::{
    fs::{
        Access, AtFlags, CWD, FileType, Mode as RawMode, OFlags, RawDir, Stat, Timespec,
        Timestamps, UTIME_OMIT, XattrFlags,
    },
    io::Errno,
};

use super::{
    generate::Sequence,
    op::{Flags, HANDLES, Handle, Mode, Op, Whence},
};
use crate::tools::calls::errno_name;

/// Times before this one, in seconds since 1970, were set by an operation.
const SET_BY_HAND: i64 = 2_000_000;

/// How much of a file is read to compare it, in bytes: more than operations make.
const CONTENT: usize = 64 * 1024;

/// What a step returned and left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// The operation's value, what it read, or its errno.
    pub result: String,
    /// The state after it, a line each thing; only the handles' where the sequence is looked at in the end alone.
    pub state: String,
}

/// Carries `sequence` out in `dir`, which is empty, and which becomes the working directory; one step more than there
/// are operations: the last is the whole state at the end.
///
/// # Errors
/// When the directory cannot be prepared.
pub fn apply(sequence: &Sequence, dir: &FsPath) -> io::Result<Vec<Step>> {
    std::env::set_current_dir(dir)?;
    for name in ["a", "b"] {
        fs::create_dir(name)?;
    }
    fs::write("a/x", b"hello")?;
    let mut handles = Handles::default();
    let mut steps = Vec::with_capacity(sequence.ops.len() + 1);
    for (number, op) in sequence.ops.iter().enumerate() {
        let result = match handles.run(op, number) {
            Ok(value) => value,
            Err(errno) => errno_name(errno.raw_os_error()),
        };
        let mut state = handles.state();
        if sequence.every_step {
            tree(".", 0, false, &mut state);
        }
        steps.push(Step { result, state });
    }
    let mut state = handles.state();
    tree(".", 0, true, &mut state);
    steps.push(Step {
        result: "the end".to_owned(),
        state,
    });
    Ok(steps)
}

#[derive(Default)]
struct Handles([Option<OwnedFd>; HANDLES]);

/// What an operation comes to that has no open handle to work on.
const CLOSED: &str = "the handle is closed";

impl Handles {
    fn get(&self, handle: Handle) -> Option<BorrowedFd<'_>> {
        self.0[usize::from(handle.0)].as_ref().map(AsFd::as_fd)
    }

    fn put(&mut self, handle: Handle, opened: Result<OwnedFd, Errno>) -> Result<String, Errno> {
        // Opened first: a handle may be opened anew below itself.
        let fd = opened?;
        self.0[usize::from(handle.0)] = Some(fd);
        Ok("opened".to_owned())
    }

    fn run(&mut self, op: &Op, number: usize) -> Result<String, Errno> {
        macro_rules! fd {
            ($handle:expr) => {
                match self.get(*$handle) {
                    Some(fd) => fd,
                    None => return Ok(CLOSED.to_owned()),
                }
            };
        }
        let done = |()| "done".to_owned();
        let bytes = |count: usize| format!("{count} bytes");
        match op {
            Op::Mkdir(path, mode) => rustix::fs::mkdir(path.text(), raw(*mode)).map(done),
            Op::Rmdir(path) => rustix::fs::rmdir(path.text()).map(done),
            Op::Unlink(path) => rustix::fs::unlink(path.text()).map(done),
            Op::Rename(old, new) => rustix::fs::rename(old.text(), new.text()).map(done),
            Op::Link(old, new) => rustix::fs::link(old.text(), new.text()).map(done),
            Op::Symlink(target, path) => {
                // From the link's directory.
                let up = if path.text().contains('/') { "../" } else { "" };
                rustix::fs::symlink(format!("{up}{}", target.text()), path.text()).map(done)
            }
            Op::Readlink(path) => rustix::fs::readlink(path.text(), Vec::new())
                .map(|target| target.to_string_lossy().into_owned()),
            Op::Open(handle, path, flags, mode) => {
                self.0[usize::from(handle.0)] = None;
                let opened = rustix::fs::open(path.text(), oflags(*flags), raw(*mode));
                self.put(*handle, opened)
            }
            Op::Openat(handle, directory, name, flags, mode) => {
                let opened =
                    rustix::fs::openat(fd!(directory), name.text(), oflags(*flags), raw(*mode));
                self.put(*handle, opened)
            }
            Op::Close(handle) => Ok(match self.0[usize::from(handle.0)].take() {
                Some(_) => "closed".to_owned(),
                None => CLOSED.to_owned(),
            }),
            Op::Read(handle, count) => {
                let mut buffer = vec![0; *count as usize];
                let read = rustix::io::read(fd!(handle), &mut buffer)?;
                Ok(format!("{read} bytes {}", digest(&buffer[..read])))
            }
            Op::Pread(handle, count, offset) => {
                let mut buffer = vec![0; *count as usize];
                let read = rustix::io::pread(fd!(handle), &mut buffer, u64::from(*offset))?;
                Ok(format!("{read} bytes {}", digest(&buffer[..read])))
            }
            Op::Write(handle, count) => {
                rustix::io::write(fd!(handle), &content(number, *count)).map(bytes)
            }
            Op::Pwrite(handle, count, offset) => {
                let data = content(number, *count);
                rustix::io::pwrite(fd!(handle), &data, u64::from(*offset)).map(bytes)
            }
            Op::Seek(handle, offset, whence) => {
                let offset = i64::from(*offset);
                let to = match whence {
                    Whence::Set => rustix::fs::SeekFrom::Start(offset as u64),
                    Whence::Cur => rustix::fs::SeekFrom::Current(offset),
                    Whence::End => rustix::fs::SeekFrom::End(offset),
                };
                // Positions in a directory are the file system's own.
                let is_dir = kind(&rustix::fs::fstat(fd!(handle))?) == FileType::Directory;
                if is_dir {
                    return Ok("a directory".to_owned());
                }
                rustix::fs::seek(fd!(handle), to).map(|at| at.to_string())
            }
            Op::List(handle) => names(fd!(handle)).map(|names| names.join(" ")),
            Op::Ftruncate(handle, size) => {
                rustix::fs::ftruncate(fd!(handle), u64::from(*size)).map(done)
            }
            Op::Truncate(path, size) => nix::unistd::truncate(path.text(), i64::from(*size))
                .map(done)
                .map_err(|errno| Errno::from_raw_os_error(errno as i32)),
            Op::Fchmod(handle, mode) => rustix::fs::fchmod(fd!(handle), raw(*mode)).map(done),
            Op::Chmod(path, mode) => rustix::fs::chmod(path.text(), raw(*mode)).map(done),
            Op::Stat(path) => rustix::fs::stat(path.text()).map(|stat| attributes(&stat)),
            Op::Lstat(path) => rustix::fs::lstat(path.text()).map(|stat| attributes(&stat)),
            Op::Fstat(handle) => rustix::fs::fstat(fd!(handle)).map(|stat| attributes(&stat)),
            Op::Access(path, mode) => {
                let access = Access::from_bits_truncate(u32::from(mode.0));
                rustix::fs::access(path.text(), access).map(done)
            }
            Op::Utimens(path, seconds) => {
                rustix::fs::utimensat(CWD, path.text(), &modified(*seconds), AtFlags::empty())
                    .map(done)
            }
            Op::Futimens(handle, seconds) => {
                rustix::fs::futimens(fd!(handle), &modified(*seconds)).map(done)
            }
            Op::Fsync(handle) => rustix::fs::fsync(fd!(handle)).map(done),
            Op::Setxattr(path, name, size) => {
                let value = content(number, *size);
                rustix::fs::setxattr(path.text(), name.text(), &value, XattrFlags::empty())
                    .map(done)
            }
            Op::Getxattr(path, name) => {
                let mut buffer = vec![0; CONTENT];
                let size = rustix::fs::getxattr(path.text(), name.text(), &mut buffer[..])?;
                Ok(format!("{size} bytes {}", digest(&buffer[..size])))
            }
            Op::Removexattr(path, name) => {
                rustix::fs::removexattr(path.text(), name.text()).map(done)
            }
            Op::Fsetxattr(handle, name, size) => {
                let value = content(number, *size);
                rustix::fs::fsetxattr(fd!(handle), name.text(), &value, XattrFlags::empty())
                    .map(done)
            }
            Op::Copy(from, to, count) => {
                let count = *count as usize;
                rustix::fs::copy_file_range(fd!(from), None, fd!(to), None, count).map(bytes)
            }
            Op::Unlinkat(directory, name) => {
                rustix::fs::unlinkat(fd!(directory), name.text(), AtFlags::empty()).map(done)
            }
            Op::Linkfd(handle, path) => {
                use std::os::fd::AsRawFd as _;
                let name = format!("/proc/self/fd/{}", fd!(handle).as_raw_fd());
                rustix::fs::linkat(CWD, name, CWD, path.text(), AtFlags::SYMLINK_FOLLOW).map(done)
            }
        }
    }

    /// What each open handle shows.
    fn state(&self) -> String {
        let mut text = String::new();
        for (number, fd) in self.0.iter().enumerate() {
            let Some(fd) = fd else { continue };
            let _ = match rustix::fs::fstat(fd) {
                Ok(stat) if kind(&stat) == FileType::Directory => {
                    writeln!(text, "handle {number}: {}", attributes(&stat))
                }
                Ok(stat) => {
                    let at = rustix::fs::tell(fd).map_or_else(
                        |errno| errno_name(errno.raw_os_error()),
                        |at| at.to_string(),
                    );
                    writeln!(text, "handle {number}: {} at {at}", attributes(&stat))
                }
                Err(errno) => writeln!(
                    text,
                    "handle {number}: {}",
                    errno_name(errno.raw_os_error())
                ),
            };
        }
        text
    }
}

fn raw(mode: Mode) -> RawMode {
    RawMode::from_raw_mode(u32::from(mode.0))
}

fn oflags(flags: Flags) -> OFlags {
    OFlags::from_bits_retain(flags.0 as u32) | OFlags::CLOEXEC | OFlags::NONBLOCK
}

fn modified(seconds: u32) -> Timestamps {
    let omitted = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    Timestamps {
        last_access: omitted,
        last_modification: Timespec {
            tv_sec: i64::from(seconds),
            tv_nsec: 0,
        },
    }
}

/// What the step of that number writes: known by its letter.
fn content(number: usize, count: u32) -> Vec<u8> {
    vec![b'A' + (number % 26) as u8; count as usize]
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Type, mode, links, size, and the time of modification if an operation set it.
fn attributes(stat: &Stat) -> String {
    let kind = kind(stat);
    let name = match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        _ => "special",
    };
    let mode = stat.st_mode & 0o7777;
    let mut text = format!("{name} {mode:o} links {}", stat.st_nlink);
    if kind != FileType::Directory {
        let _ = write!(text, " size {}", stat.st_size);
    }
    if stat.st_mtime < SET_BY_HAND {
        let _ = write!(text, " modified {}", stat.st_mtime);
    }
    text
}

/// Bytes in a few characters: runs of one letter and how often, `A3 B100`.
fn digest(bytes: &[u8]) -> String {
    let mut runs: Vec<(u8, usize)> = Vec::new();
    for &byte in bytes {
        match runs.last_mut() {
            Some((last, count)) if *last == byte => *count += 1,
            _ => runs.push((byte, 1)),
        }
    }
    let shown = runs.iter().map(|(byte, count)| match count {
        1 => byte.escape_ascii().to_string(),
        _ => format!("{}*{count}", byte.escape_ascii()),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The names in an open directory, sorted.
fn names(fd: BorrowedFd) -> Result<Vec<String>, Errno> {
    rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(0))?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut dir = RawDir::new(fd, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = dir.next() {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// All that is below `path`, a line each; with contents and user xattrs when `whole`.
fn tree(path: &str, depth: usize, whole: bool, text: &mut String) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listed = rustix::fs::open(path, flags, RawMode::empty()).and_then(|fd| names(fd.as_fd()));
    let names = match listed {
        Ok(names) => names,
        Err(errno) => {
            let _ = writeln!(
                text,
                "{path}: not listed: {}",
                errno_name(errno.raw_os_error())
            );
            return;
        }
    };
    for name in names.iter().filter(|name| !matches!(&***name, "." | "..")) {
        let path = match path {
            "." => name.clone(),
            path => format!("{path}/{name}"),
        };
        let stat = match rustix::fs::lstat(&*path) {
            Ok(stat) => stat,
            Err(errno) => {
                let _ = writeln!(text, "{path}: {}", errno_name(errno.raw_os_error()));
                continue;
            }
        };
        let _ = write!(text, "{path}: {}", attributes(&stat));
        match kind(&stat) {
            FileType::Symlink => {
                let target = rustix::fs::readlink(&*path, Vec::new());
                let _ = write!(
                    text,
                    " to {}",
                    target.map_or_else(
                        |errno| errno_name(errno.raw_os_error()),
                        |target| target.to_string_lossy().into_owned(),
                    )
                );
            }
            FileType::RegularFile if whole => {
                let _ = write!(text, " has {}", held(&path));
            }
            _ => {}
        }
        if whole && kind(&stat) != FileType::Symlink {
            let _ = write!(text, "{}", xattrs(&path));
        }
        text.push('\n');
        if kind(&stat) == FileType::Directory && depth < 4 {
            tree(&path, depth + 1, whole, text);
        }
    }
}

/// What a file holds.
fn held(path: &str) -> String {
    let read = || {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, RawMode::empty())?;
        let mut bytes = vec![0; CONTENT];
        let mut length = 0;
        loop {
            match rustix::io::read(&fd, &mut bytes[length..])? {
                0 => break,
                more => length += more,
            }
        }
        Ok(digest(&bytes[..length]))
    };
    read().unwrap_or_else(|errno: Errno| errno_name(errno.raw_os_error()))
}

fn xattrs(path: &str) -> String {
    let mut list = vec![0; CONTENT];
    let length = match rustix::fs::listxattr(path, &mut list[..]) {
        Ok(length) => length,
        Err(errno) => return format!(" xattrs: {}", errno_name(errno.raw_os_error())),
    };
    let mut names: Vec<String> = list[..length]
        .split(|&byte| byte == 0)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| name.starts_with("user."))
        .collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        let mut value = vec![0; CONTENT];
        let _ = match rustix::fs::getxattr(path, &*name, &mut value[..]) {
            Ok(size) => write!(text, " {name}={}", digest(&value[..size])),
            Err(errno) => write!(text, " {name}: {}", errno_name(errno.raw_os_error())),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_bytes_are_told_shortly() {
        assert_eq!(digest(b"hello"), "h e l*2 o");
        assert_eq!(digest(&[0, 0, 0, b'A']), "\\x00*3 A");
        assert_eq!(digest(b""), "");
    }
}
