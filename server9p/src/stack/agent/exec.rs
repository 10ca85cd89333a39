//! From a fork to a command's first instruction.
//!
//! A command of our own goes on in the forked process: the agent is this very program, has one thread and
//! little memory, so that nothing tells the child from one that was started anew but the time it takes.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    fmt::Display,
    io::{self, Write},
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    path::Path,
    process::ExitCode,
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
        stat::{Mode, umask},
    },
    unistd::{Gid, Uid, chdir, execve, getppid, setgroups, setresgid, setresuid, setsid},
};

use super::tracer;
use crate::{
    helper,
    stack::{CommandSpec, SELF},
};

/// Exit code of a command that was found but could not be started, as shells have it.
const CANNOT_START: i32 = 126;
/// Exit code of a command that was not found, as shells have it.
const NOT_FOUND: i32 = 127;
/// Exit code of a command of our own that failed: they say no more than that.
const OWN_FAULT: i32 = 70;

/// Becomes the command, with these as standard output and error output; on failure writes a sentence to its standard error
/// and exits as shells do. With `line` its standard input is what this process's is. With `word` it says there that it is
/// about to begin, and waits for an answer.
pub fn run(
    spec: &CommandSpec,
    line: bool,
    outputs: [BorrowedFd; 2],
    word: Option<UnixStream>,
    supervisor: u32,
) -> ! {
    let (code, why) = match become_command(spec, line, outputs, word, supervisor) {
        Ok(never) => match never {},
        Err(failed) => failed,
    };
    let text = format!("probe9p: {why}\n");
    // SAFETY: writes from a live buffer to standard error, then ends this process without running anything
    // that was copied from the agent.
    unsafe {
        libc::write(2, text.as_ptr().cast(), text.len());
        libc::_exit(code)
    }
}

enum Never {}

fn become_command(
    spec: &CommandSpec,
    line: bool,
    [stdout, stderr]: [BorrowedFd; 2],
    word: Option<UnixStream>,
    supervisor: u32,
) -> Result<Never, (i32, String)> {
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(failed("open /dev/null"))?;
    let input = (!line).then_some((null.as_raw_fd(), 0));
    let outputs = [(stderr.as_raw_fd(), 2), (stdout.as_raw_fd(), 1)];
    for (from, to) in outputs.into_iter().chain(input) {
        // SAFETY: duplicates an open descriptor onto a standard one, which nothing else here owns.
        Errno::result(unsafe { libc::dup2(from, to) }).map_err(failed("redirect"))?;
    }
    setsid().map_err(failed("make a session"))?;
    let _ = SigSet::all().thread_unblock();
    umask(Mode::from_bits_truncate(spec.umask.unwrap_or(0o022)));
    if spec.fresh {
        std::fs::create_dir(&spec.cwd).map_err(failed(format_args!(
            "make directory {}",
            spec.cwd.display()
        )))?;
    }
    chdir(&spec.cwd).map_err(failed(format_args!(
        "enter directory {}",
        spec.cwd.display()
    )))?;
    if let Some((uid, gid)) = spec.user {
        become_user(uid, gid)?;
    }
    // After the change of user, which clears it.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("tie to the supervisor"))?;
    if getppid().as_raw() as u32 != supervisor {
        return Err((CANNOT_START, "the supervisor died".into()));
    }
    if let Some(word) = word {
        tracer::await_word(word);
    }
    if let Some(code) = own(spec) {
        // What main's end does, and no more: destructors would fault many pages in, to no end.
        let _ = io::stdout().flush();
        // SAFETY: ends this process without running anything.
        unsafe { libc::_exit(code) }
    }
    reset_signals();
    Err(exec(spec))
}

/// Runs a command of our own in this process and says its exit code; `None` when it has to be started anew.
fn own(spec: &CommandSpec) -> Option<i32> {
    // A process that became another user is hidden from that user in /proc until it starts a program. Signals are as
    // Rust has them in every program.
    if spec.user.is_some() || spec.argv.first()? != SELF {
        return None;
    }
    // SAFETY: closes what is not for the command; this process uses none of it any more.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if spec.clear_env {
        for (name, _) in env::vars_os() {
            // SAFETY: this process has one thread.
            unsafe { env::remove_var(name) };
        }
    }
    for (name, value) in &spec.env {
        // SAFETY: as above.
        unsafe { env::set_var(name, value) };
    }
    let ended = helper::run_own(&spec.argv[1..])?;
    Some(match ended {
        ExitCode::SUCCESS => 0,
        _ => OWN_FAULT,
    })
}

/// Rust ignores SIGPIPE, and commands of others do not expect it.
fn reset_signals() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        // SAFETY: restores the default; no handler is installed.
        let _ = unsafe { sigaction(signal, &default) };
    }
}

fn become_user(uid: u32, gid: u32) -> Result<(), (i32, String)> {
    let to = format!("become user {uid} and group {gid}");
    let hint = |err: Errno| {
        let remedy = match err {
            Errno::EINVAL => {
                "; this user namespace does not map them: install uidmap and give your user a range in \
                 /etc/subuid and /etc/subgid, or run as root"
            }
            _ => "",
        };
        (CANNOT_START, format!("cannot {to}: {}{remedy}", err.desc()))
    };
    match setgroups(&[]) {
        // A namespace that maps one group only forbids it.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(err) => return Err(hint(err)),
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setresgid(gid, gid, gid).map_err(hint)?;
    setresuid(uid, uid, uid).map_err(hint)
}

fn exec(spec: &CommandSpec) -> (i32, String) {
    let Some(program) = spec.argv.first() else {
        return (NOT_FOUND, "an empty command was given".into());
    };
    let strings = |list: Vec<OsString>| -> Result<Vec<CString>, _> {
        list.into_iter()
            .map(|s| CString::new(s.into_encoded_bytes()))
            .collect()
    };
    let environment = environment(spec);
    let path = environment
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map_or(
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            |(_, path)| path.clone(),
        );
    let candidates = candidates(program, &path);
    let mut variables = Vec::new();
    for (mut name, value) in environment {
        name.push("=");
        name.push(value);
        variables.push(name);
    }
    let mut argv = spec.argv.clone();
    if program == SELF {
        argv[0] = env::current_exe().map_or("probe9p".into(), OsString::from);
    }
    let (Ok(argv), Ok(variables)) = (strings(argv), strings(variables)) else {
        return (
            CANNOT_START,
            "an argument or variable holds a zero byte".into(),
        );
    };
    let mut outcome = Errno::ENOENT;
    for candidate in candidates {
        let Ok(file) = CString::new(candidate.into_encoded_bytes()) else {
            continue;
        };
        let Err(err) = execve(&file, &argv, &variables);
        // As execvp: one that may not be run does not end the search, but is what is reported.
        if err != Errno::ENOENT && err != Errno::ENOTDIR {
            outcome = err;
        }
    }
    let code = match outcome {
        Errno::ENOENT => NOT_FOUND,
        _ => CANNOT_START,
    };
    let program = Path::new(program).display();
    (code, format!("cannot run {program}: {}", outcome.desc()))
}

fn candidates(program: &OsStr, path: &OsStr) -> Vec<OsString> {
    if program == SELF {
        // Reached whatever its path is here: the link needs no permission on the directories above.
        return vec!["/proc/self/exe".into()];
    }
    if program.as_bytes().contains(&b'/') {
        return vec![program.to_owned()];
    }
    env::split_paths(path)
        .map(|directory| directory.join(program).into_os_string())
        .collect()
}

fn environment(spec: &CommandSpec) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = if spec.clear_env {
        Vec::new()
    } else {
        env::vars_os().collect()
    };
    for (name, value) in &spec.env {
        all.retain(|(old, _)| old != name);
        all.push((name.clone(), value.clone()));
    }
    all
}

fn failed<E: Into<io::Error>>(what: impl Display) -> impl FnOnce(E) -> (i32, String) {
    move |err| (CANNOT_START, format!("cannot {what}: {}", err.into()))
}
