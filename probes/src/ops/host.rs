//! The host's hand: what a case has the host do to its directory, without the volume's client between.
//!
//! A case may run in a guest that sees nothing of the host's directories, so it does not reach there itself. It asks
//! over a line, its standard input, and a process of the host ([`serve`]) does it: on every stack the same, and as the
//! user to whom the volume's directory belongs, the provider. Natively both are one directory and one user.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    mem::ManuallyDrop,
    os::{
        fd::{AsFd, FromRawFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::ExitCode,
};

use nix::{errno::Errno, fcntl::FcntlArg};
use rustix::fs::{AtFlags, CWD, FlockOperation};
use serde::{Deserialize, Serialize};
use server9p::stack::agent::frame;

use super::stop::{Call, CaseOutcome, HasErrno, Stop};

/// The first argument of the process that is the host's hand; the second is the case's directory.
pub const ARGUMENT: &str = "@host";
/// The variable of a case's child that says whether a hand is at the other end of its standard input: [`HERE`], or why
/// not.
pub const HAND: &str = "PROBE9P_HOST";
/// What it says when there is one.
pub const HERE: &str = "here";

/// Something that the host does. Names are relative to the case's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Makes the file, or replaces what it holds by the bytes that follow; everybody may change it afterwards.
    Write(String),
    /// Adds the bytes that follow.
    Append(String),
    /// Tells what the file holds.
    Read(String),
    /// Cuts it, or makes it longer.
    Truncate(String, u64),
    /// Gives it a mode.
    Chmod(String, u32),
    /// Sets both its times, in seconds since 1970.
    Touch(String, i64),
    /// Tells of it, without following a symbolic link.
    Stat(String),
    /// Gives it another name.
    Rename(String, String),
    /// Removes a name of a file.
    Unlink(String),
    /// Makes a symbolic link of this target and name.
    Symlink(String, String),
    /// Makes a directory.
    Mkdir(String),
    /// Removes a directory with all that is in it.
    RemoveAll(String),
    /// Tells the names in a directory.
    List(String),
    /// Locks the whole file without waiting, and holds it until the case ends.
    Lock(String, Kind),
}

/// How a file is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// By fcntl, F_WRLCK.
    Posix,
    /// By fcntl for the open file description, F_WRLCK.
    Ofd,
    /// By flock, LOCK_EX.
    Flock,
}

/// What the host says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Type and mode, as `st_mode` has them.
    pub mode: u32,
    /// In bytes.
    pub size: i64,
    /// When it was changed last, in seconds since 1970.
    pub mtime: i64,
}

/// What came of an act; what was read follows.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Done,
    Seen(Seen),
    Names(Vec<OsString>),
    Refused(i32),
}

/// Has the host do this: what it read, which for most acts is nothing.
///
/// # Errors
/// The act's own, as a call of the host's; [`Stop::NotRun`] where there is no hand.
pub fn act(act: Act) -> CaseOutcome<Vec<u8>> {
    with(act, b"")
}

/// Has the host write these bytes.
///
/// # Errors
/// As [`act`].
pub fn write(name: &str, bytes: &[u8]) -> CaseOutcome {
    with(Act::Write(name.into()), bytes).map(drop)
}

/// Has the host add these bytes.
///
/// # Errors
/// As [`act`].
pub fn append(name: &str, bytes: &[u8]) -> CaseOutcome {
    with(Act::Append(name.into()), bytes).map(drop)
}

/// What the host sees under this name; nothing when it sees none.
///
/// # Errors
/// As [`act`].
pub fn stat(name: &str) -> CaseOutcome<Option<Seen>> {
    let act = Act::Stat(name.into());
    match ask(&act, b"")? {
        (Answer::Seen(seen), _) => Ok(Some(seen)),
        (Answer::Refused(errno), _) if errno == Errno::ENOENT as i32 => Ok(None),
        (answer, _) => Err(refusal(&act, &answer)),
    }
}

/// The names that the host sees in a directory, sorted.
///
/// # Errors
/// As [`act`].
pub fn list(name: &str) -> CaseOutcome<Vec<OsString>> {
    let act = Act::List(name.into());
    match ask(&act, b"")? {
        (Answer::Names(names), _) => Ok(names),
        (answer, _) => Err(refusal(&act, &answer)),
    }
}

/// Has the host try a lock: what it got.
///
/// # Errors
/// As [`act`], but for the lock's own refusal.
pub fn lock(name: &str, kind: Kind) -> CaseOutcome<Result<(), Errno>> {
    let act = Act::Lock(name.into(), kind);
    match ask(&act, b"")? {
        (Answer::Done, _) => Ok(Ok(())),
        (Answer::Refused(errno), _) if errno == Errno::EAGAIN as i32 => Ok(Err(Errno::EAGAIN)),
        (answer, _) => Err(refusal(&act, &answer)),
    }
}

fn with(act: Act, bytes: &[u8]) -> CaseOutcome<Vec<u8>> {
    match ask(&act, bytes)? {
        (Answer::Done, read) => Ok(read),
        (answer, _) => Err(refusal(&act, &answer)),
    }
}

fn ask(act: &Act, bytes: &[u8]) -> CaseOutcome<(Answer, Vec<u8>)> {
    if std::env::var_os(HAND).is_none_or(|said| said != HERE) {
        return Err(Stop::NotRun(
            "needs the host's view of the directory".into(),
        ));
    }
    // SAFETY: the standard input is open for as long as the process is, and is not closed here.
    let mut line = ManuallyDrop::new(unsafe { fs::File::from_raw_fd(0) });
    frame::write(&mut *line, act, bytes)
        .and_then(|()| frame::read(&mut *line))
        .call("read", "the host's answer")
}

/// The host's failure, as a call's.
fn refusal(act: &Act, answer: &Answer) -> Stop {
    let Answer::Refused(errno) = answer else {
        return Stop::broken("read", format!("the host answered {answer:?} to {act:?}"));
    };
    let (call, what) = act.named();
    let failed: Result<(), _> = Err(Errno::from_raw(*errno));
    let told = failed.call(call, format_args!("{what}, by the host"));
    told.expect_err("it failed")
}

impl Act {
    /// The call that it is, and what of.
    fn named(&self) -> (&'static str, String) {
        match self {
            Act::Write(name) | Act::Append(name) => ("write", name.clone()),
            Act::Read(name) => ("read", name.clone()),
            Act::Truncate(name, size) => ("truncate", format!("{name}, {size}")),
            Act::Chmod(name, mode) => ("chmod", format!("{name}, {mode:04o}")),
            Act::Touch(name, _) => ("utimensat", name.clone()),
            Act::Stat(name) => ("stat", name.clone()),
            Act::Rename(from, to) => ("rename", format!("{from}, {to}")),
            Act::Unlink(name) => ("unlink", name.clone()),
            Act::Symlink(target, name) => ("symlink", format!("{target}, {name}")),
            Act::Mkdir(name) => ("mkdir", name.clone()),
            Act::RemoveAll(name) => ("rmdir", name.clone()),
            Act::List(name) => ("getdents64", name.clone()),
            Act::Lock(name, Kind::Posix) => ("fcntl", format!("{name}, F_SETLK, F_WRLCK")),
            Act::Lock(name, Kind::Ofd) => ("fcntl", format!("{name}, F_OFD_SETLK, F_WRLCK")),
            Act::Lock(name, Kind::Flock) => ("flock", format!("{name}, LOCK_EX|LOCK_NB")),
        }
    }
}

/// Is the hand when `args` say so; `None` when they do not. Ends with its line, and lets go of its locks then.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let [first, dir] = args else { return None };
    if first != ARGUMENT {
        return None;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // SAFETY: the standard input is this process's own, and is taken only here.
    let line = ManuallyDrop::new(unsafe { fs::File::from_raw_fd(0) });
    Some(match serve(&line, Path::new(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn serve(mut line: &fs::File, dir: &Path) -> io::Result<()> {
    let mut held = Vec::new();
    loop {
        let (act, bytes) = match frame::read(&mut line) {
            Ok(asked) => asked,
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(err) => return Err(err),
        };
        let (answer, read) = match perform(dir, &act, &bytes, &mut held) {
            Ok(done) => done,
            Err(err) => (Answer::Refused(err.to_errno() as i32), Vec::new()),
        };
        frame::write(&mut line, &answer, &read)?;
    }
}

fn perform(
    dir: &Path,
    act: &Act,
    bytes: &[u8],
    held: &mut Vec<fs::File>,
) -> io::Result<(Answer, Vec<u8>)> {
    let at = |name: &str| -> PathBuf { dir.join(name) };
    let mode = fs::Permissions::from_mode;
    match act {
        Act::Write(name) => {
            fs::write(at(name), bytes)?;
            fs::set_permissions(at(name), mode(0o666))?;
        }
        Act::Append(name) => {
            let mut file = fs::OpenOptions::new().append(true).open(at(name))?;
            file.write_all(bytes)?;
        }
        Act::Read(name) => return Ok((Answer::Done, fs::read(at(name))?)),
        Act::Truncate(name, size) => nix::unistd::truncate(&at(name), *size as i64)?,
        Act::Chmod(name, bits) => fs::set_permissions(at(name), mode(*bits))?,
        Act::Touch(name, seconds) => {
            let times = super::files::both_times(*seconds);
            rustix::fs::utimensat(CWD, at(name), &times, AtFlags::empty())?;
        }
        Act::Stat(name) => {
            let stat = rustix::fs::lstat(at(name))?;
            let seen = Seen {
                mode: stat.st_mode,
                size: stat.st_size,
                mtime: stat.st_mtime,
            };
            return Ok((Answer::Seen(seen), Vec::new()));
        }
        Act::Rename(from, to) => fs::rename(at(from), at(to))?,
        Act::Unlink(name) => fs::remove_file(at(name))?,
        Act::Symlink(target, name) => std::os::unix::fs::symlink(target, at(name))?,
        Act::Mkdir(name) => fs::create_dir(at(name))?,
        Act::RemoveAll(name) => fs::remove_dir_all(at(name))?,
        Act::List(name) => {
            let entries = fs::read_dir(at(name))?;
            let mut names: Vec<_> = entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<io::Result<_>>()?;
            names.sort();
            return Ok((Answer::Names(names), Vec::new()));
        }
        Act::Lock(name, kind) => {
            let file = fs::File::options().read(true).write(true).open(at(name))?;
            match kind {
                Kind::Posix => take(&file)?,
                Kind::Ofd => nix::fcntl::fcntl(&file, FcntlArg::F_OFD_SETLK(&WHOLE)).map(drop)?,
                Kind::Flock => {
                    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
                }
            }
            held.push(file);
        }
    }
    Ok((Answer::Done, Vec::new()))
}

/// Locks a whole file for writing by fcntl, without waiting.
///
/// # Errors
/// The call's.
pub fn take(file: impl AsFd) -> Result<(), Errno> {
    nix::fcntl::fcntl(file, FcntlArg::F_SETLK(&WHOLE)).map(drop)
}

/// A lock for writing of the whole file.
pub const WHOLE: libc::flock = libc::flock {
    l_type: libc::F_WRLCK as _,
    l_whence: libc::SEEK_SET as _,
    l_start: 0,
    l_len: 0,
    l_pid: 0,
};
