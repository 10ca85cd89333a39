//! The vocabulary that cases are written in: the everyday steps on files, each failing under its name.
//!
//! A case runs with its fresh directory as the working directory, and all paths are relative to it: so it
//! needs no way through the directories above, which a volume's world may close to other users.

use std::{
    ffi::OsString,
    fmt::Display,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, Timespec, Timestamps};

use super::stop::{Call, CaseOutcome, expect};

/// Bits of a mode, from their octal form.
pub fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

/// Opens a file that exists.
pub fn open(path: &str, flags: OFlags) -> CaseOutcome<OwnedFd> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).call("open", Args(path, flags))
}

/// Makes a new file, 0644, open for reading and writing, that holds `bytes`.
pub fn create(path: &str, bytes: &[u8]) -> CaseOutcome<OwnedFd> {
    create_mode(path, 0o644, bytes)
}

/// Makes a new file with these permissions, open for reading and writing, that holds `bytes`.
pub fn create_mode(path: &str, bits: u32, bytes: &[u8]) -> CaseOutcome<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let fd = rustix::fs::open(path, flags | OFlags::CLOEXEC, mode(bits))
        .call("open", Args(path, flags))?;
    write_at(&fd, path, 0, bytes)?;
    Ok(fd)
}

/// Makes a new file that holds `bytes`, and closes it.
pub fn write(path: &str, bytes: &[u8]) -> CaseOutcome {
    create(path, bytes).map(drop)
}

/// Writes all of `bytes` at `offset`.
pub fn write_at(fd: &OwnedFd, name: &str, offset: u64, bytes: &[u8]) -> CaseOutcome {
    let mut done = 0;
    while done < bytes.len() {
        let n =
            rustix::io::pwrite(fd, &bytes[done..], offset + done as u64).call("pwrite", name)?;
        super::stop::ensure(
            "pwrite",
            n > 0,
            format_args!("pwrite({name}) wrote nothing"),
        )?;
        done += n;
    }
    Ok(())
}

/// Reads up to `len` bytes at `offset`, ending early only at the end of the file.
pub fn read_at(fd: &OwnedFd, name: &str, offset: u64, len: usize) -> CaseOutcome<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        match rustix::io::pread(fd, &mut bytes[done..], offset + done as u64).call("pread", name)? {
            0 => break,
            n => done += n,
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// The whole of a file, by its name.
pub fn read(path: &str) -> CaseOutcome<Vec<u8>> {
    std::fs::read(path).call("read", path)
}

/// The file must hold `want`, read anew by its name: the proof that `call` had its effect.
pub fn contents(call: &str, path: &str, want: &[u8]) -> CaseOutcome {
    same_bytes(call, path, &read(path)?, want)
}

/// Compares bytes, and says where they part instead of printing them all.
pub fn same_bytes(call: &str, path: &str, got: &[u8], want: &[u8]) -> CaseOutcome {
    expect(
        call,
        &format!("the length of {path}"),
        got.len(),
        want.len(),
    )?;
    let at = got.iter().zip(want).position(|(a, b)| a != b);
    expect(call, &format!("the first wrong byte of {path}"), at, None)
}

/// Attributes by name, through a symbolic link.
pub fn stat(path: &str) -> CaseOutcome<Stat> {
    rustix::fs::stat(path).call("stat", path)
}

/// Attributes by name, of a symbolic link itself.
pub fn lstat(path: &str) -> CaseOutcome<Stat> {
    rustix::fs::lstat(path).call("lstat", path)
}

/// Attributes of an open file.
pub fn fstat(fd: &OwnedFd, name: &str) -> CaseOutcome<Stat> {
    rustix::fs::fstat(fd).call("fstat", name)
}

/// Device and inode number: what tells one file from another.
pub fn id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// The name under which the process's own descriptor is found.
pub fn proc_fd(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The permission bits of attributes, with set-id and sticky.
pub fn permissions(stat: &Stat) -> String {
    format!("{:04o}", stat.st_mode & 0o7777)
}

/// Makes a directory, 0755.
pub fn mkdir(path: &str) -> CaseOutcome {
    rustix::fs::mkdir(path, mode(0o755)).call("mkdir", path)
}

/// Removes a name that is not a directory's.
pub fn unlink(path: &str) -> CaseOutcome {
    rustix::fs::unlink(path).call("unlink", path)
}

/// Renames, over what has the new name.
pub fn rename(from: &str, to: &str) -> CaseOutcome {
    rustix::fs::rename(from, to).call("rename", format_args!("{from}, {to}"))
}

/// Gives a file a second name.
pub fn link(from: &str, to: &str) -> CaseOutcome {
    rustix::fs::link(from, to).call("link", format_args!("{from}, {to}"))
}

/// Makes a symbolic link `name` that says `target`.
pub fn symlink(target: &str, name: &str) -> CaseOutcome {
    rustix::fs::symlink(target, name).call("symlink", format_args!("{target}, {name}"))
}

/// Sets permission bits by name.
pub fn chmod(path: &str, bits: u32) -> CaseOutcome {
    rustix::fs::chmod(path, mode(bits)).call("chmod", format_args!("{path}, {bits:04o}"))
}

/// Both times of a file at this whole second since 1970.
pub fn both_times(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Whether the name exists, be it a dangling symbolic link.
pub fn exists(path: &str) -> CaseOutcome<bool> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error).call("lstat", path),
    }
}

/// The names in a directory without `.` and `..`, sorted.
pub fn names(path: &str) -> CaseOutcome<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).call("opendir", path)? {
        names.push(entry.call("getdents64", path)?.file_name());
    }
    names.sort();
    Ok(names)
}

/// The directory must hold exactly these names.
pub fn holds(call: &str, path: impl AsRef<Path>, want: &[&str]) -> CaseOutcome {
    let path = path.as_ref().to_string_lossy().into_owned();
    let mut want: Vec<OsString> = want.iter().map(OsString::from).collect();
    want.sort();
    expect(call, &format!("the list of {path}"), names(&path)?, want)
}

/// Lets every user into the case's directory, for what another user does there.
pub fn open_to_all() -> CaseOutcome {
    chmod(".", 0o777)
}

/// The arguments of an open, as strace shows them.
struct Args<'a>(&'a str, OFlags);

impl Display for Args<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, ", self.0)?;
        f.write_str(match self.1 & OFlags::ACCMODE {
            OFlags::WRONLY => "O_WRONLY",
            OFlags::RDWR => "O_RDWR",
            _ => "O_RDONLY",
        })?;
        for (name, _) in (self.1 - OFlags::ACCMODE).iter_names() {
            write!(f, "|O_{name}")?;
        }
        Ok(())
    }
}
