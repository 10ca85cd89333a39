//! Running a case's script: its environment, its helpers, its end, and the end of everything that it started.
//!
//! Scripts are run by `/bin/sh` with `-eu`, their working directory is the case's. They find
//!
//! - `$PROBE9P_DIR`, the case's directory, and `$PROBE9P_NATIVE`, an empty directory on a local filesystem;
//! - `$TMPDIR` and `$HOME`, empty directories of their own, local unless the case says otherwise;
//! - `$PROBE9P_REMEDY`, the id of the remedy that is being tried, or nothing, and the remedy's variables;
//! - `fact NAME VALUE`, which notes what must be the same natively and on the volume;
//! - `note TEXT…`, which says something that a reader of the result should know;
//! - `fail TEXT…`, which ends the case with that text;
//! - `start NAME`, which starts a service of the recipe and returns when it is ready, `stop NAME`, which asks it to
//!   stop and returns when it has, and `kill9 NAME`, which kills it with all of its processes ([`super::service`]);
//! - `timed COMMAND…`, which runs the command whose time counts when the case is timed, without what prepares it;
//! - `run_as USER COMMAND…`, which runs a program as that user, a name or a number;
//! - `open_root`, which lets other users than root into `/` and into the root of the case's file system;
//! - `owner`, the uid that files in the case's directory have: on a volume the provider's, whoever makes them.
//!
//! As root a script has IPC and mounts of its own, with an empty `/dev/shm`, so that neither outlives it; and what it
//! does to the mode of `/` is undone. Nothing else of the environment but `PATH` is passed on, so that two machines run the same case. Whatever
//! processes a script leaves behind are killed, wherever they went: probe9p makes itself their reaper.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use rustix::process::WaitOptions;

use super::{calls::FailedCall, find, sqlite};

/// What every script begins with.
pub(super) const HELPERS: &str = r#"set -eu
fact() { printf '%s\t%s\n' "$1" "$(printf '%s' "$2" | tr '\n\t' '  ')" >>"$PROBE9P_FACTS"; }
note() { printf '%s\n' "$*" >>"$PROBE9P_NOTES"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }
start() { probe9p-service start "$1"; }
stop() { probe9p-service stop "$1"; }
kill9() { probe9p-service kill9 "$1"; }
timed() { timed_from=$(date +%s%N); "$@"; printf '%s\n' $(($(date +%s%N) - timed_from)) >>"$PROBE9P_TIMES"; }
run_as() {
    as_user=$1; shift
    case $as_user in
        *[!0-9]*) setpriv --reuid="$as_user" --regid="$(id -g "$as_user")" --init-groups -- "$@" ;;
        *) setpriv --reuid="$as_user" --regid="$as_user" --clear-groups -- "$@" ;;
    esac
}
open_root() { chmod a+x / "$(stat -c %m "$PROBE9P_DIR")"; }
owner() { stat -c %u "$PROBE9P_DIR"; }
"#;

/// How much of a script's output is kept, in bytes, counted from its end.
const KEPT_OUTPUT: usize = 64 * 1024;

/// A script to run.
pub struct Job<'a> {
    /// What to begin with, the recipe's own helpers, and the case's script.
    pub text: [&'a str; 3],
    /// The case's directory.
    pub dir: &'a Path,
    /// A local directory that belongs to this run alone.
    pub scratch: &'a Path,
    /// Where `TMPDIR` and `HOME` are made.
    pub homes: &'a Path,
    /// Variables besides the usual ones.
    pub env: Vec<(String, OsString)>,
    /// A program to run the shell under, with its arguments: strace.
    pub under: Vec<OsString>,
    /// After this long all is killed.
    pub limit: Duration,
    /// Called when the script has ended and what it left is still there.
    pub before_the_end: &'a dyn Fn(),
}

/// What a script did.
#[derive(Debug)]
pub struct Ran {
    /// How the shell ended, or nothing when it was killed at its limit.
    pub status: Option<ExitStatus>,
    /// The last of what it wrote to both streams.
    pub output: String,
    /// Its facts, by name.
    pub facts: BTreeMap<String, String>,
    /// Its notes.
    pub notes: String,
    /// Failing calls that a built-in program recorded.
    pub calls: Vec<FailedCall>,
    /// From start to end.
    pub duration: Duration,
    /// The sum of what its `timed` commands took, when it had any.
    pub timed: Option<Duration>,
}

impl Ran {
    /// The signal that ended the script, or the program in it that the shell reports with 128 and its number.
    pub fn signal(&self) -> Option<Signal> {
        let status = self.status?;
        let reported = status
            .code()
            .filter(|code| *code > 128)
            .map(|code| code - 128);
        let fatal = [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGABRT,
            Signal::SIGILL,
            Signal::SIGFPE,
        ];
        let reported = reported
            .and_then(|number| Signal::try_from(number).ok())
            .filter(|signal| fatal.contains(signal));
        status
            .signal()
            .and_then(|number| Signal::try_from(number).ok())
            .or(reported)
    }
}

/// Puts a program where scripts find it first, under the name that they call it by.
pub fn provide(scratch: &Path, name: &str, command: &[&OsStr]) -> io::Result<()> {
    let bin = scratch.join("bin");
    fs::create_dir_all(&bin)?;
    let mut text = OsString::from("#!/bin/sh\nexec");
    for word in command {
        text.push(" ");
        text.push(quoted(word));
    }
    text.push(" \"$@\"\n");
    let file = bin.join(name);
    fs::write(&file, text.as_encoded_bytes())?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
}

/// Quotes a word for the shell.
fn quoted(word: &OsStr) -> OsString {
    let mut quoted = OsString::from("'");
    for (index, part) in word
        .as_encoded_bytes()
        .split(|byte| *byte == b'\'')
        .enumerate()
    {
        if index > 0 {
            quoted.push("'\\''");
        }
        quoted.push(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(part));
    }
    quoted.push("'");
    quoted
}

/// Runs a script to its end, or to its limit, and ends everything that it started.
pub fn run(job: &Job<'_>) -> io::Result<Ran> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let file = |name: &str| job.scratch.join(name);
    let (script, output, facts, notes, calls, times) = (
        file("script"),
        file("output"),
        file("facts"),
        file("notes"),
        file("calls"),
        file("times"),
    );
    fs::write(&script, [&[HELPERS], &job.text[..]].concat().join("\n"))?;
    for made in [&facts, &notes, &calls, &times] {
        File::create(made)?;
    }
    let (temporary, home, native) = (
        job.homes.join("tmp"),
        job.homes.join("home"),
        file("native"),
    );
    for made in [&temporary, &home, &native] {
        fs::create_dir_all(made)?;
    }
    // Other users may have to reach them.
    for (dir, mode) in [(job.scratch, 0o711), (&temporary, 0o1777)] {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode))?;
    }
    let root = fs::metadata("/")?.permissions();
    let out = File::options().append(true).create(true).open(&output)?;
    let path = find::search_path(Some(file("bin")))?;

    let argv: Vec<OsString> = job
        .under
        .iter()
        .cloned()
        .chain(["/bin/sh".into(), script.into_os_string()])
        .collect();
    let began = Instant::now();
    let child = Command::new(&argv[0])
        .args(&argv[1..])
        .current_dir(job.dir)
        .env_clear()
        .env("PATH", path)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("TMPDIR", temporary)
        .env("HOME", home)
        .env("PWD", job.dir)
        .env("PROBE9P_DIR", job.dir)
        .env("PROBE9P_NATIVE", native)
        .env("PROBE9P_FACTS", &facts)
        .env("PROBE9P_NOTES", &notes)
        .env("PROBE9P_TIMES", &times)
        .env(sqlite::RECORD, &calls)
        .envs(job.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .process_group(0)
        .spawn()?;
    let (status, reaper) = wait(&child, job.limit);
    let duration = began.elapsed();
    (job.before_the_end)();
    end_descendants();
    // Were it still there, it would take the end of the next script's shell for somebody else's.
    let _ = reaper.join();
    if fs::metadata("/")?.permissions() != root {
        fs::set_permissions("/", root)?;
    }

    Ok(Ran {
        status,
        output: tail(&output)?,
        facts: lines(&facts)?
            .filter_map(|line| split_fact(&line))
            .collect(),
        notes: lines(&notes)?.collect::<Vec<_>>().join("; "),
        calls: lines(&calls)?
            .filter_map(|line| serde_json::from_str(&line).ok())
            .collect(),
        duration,
        timed: sum(lines(&times)?),
    })
}

/// The sum of times that are given in nanoseconds, one a line.
fn sum(lines: impl Iterator<Item = String>) -> Option<Duration> {
    let times = lines.filter_map(|line| line.parse().ok());
    times
        .map(Duration::from_nanos)
        .reduce(|sum, time| sum + time)
}

/// Waits for the child until its limit; then its status is nothing.
///
/// What loses its parent meanwhile, such as a service that was killed, is reaped as well, also after the child's end: by
/// the thread that is returned, which ends when no child is left.
fn wait(child: &Child, limit: Duration) -> (Option<ExitStatus>, JoinHandle<()>) {
    let shell = child.id();
    let (tell, told) = mpsc::channel();
    let reaper = thread::spawn(move || {
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get() as u32 == shell => {
                    // Nobody listens any more once the limit has passed.
                    let _ = tell.send(ExitStatus::from_raw(status.as_raw()));
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    });
    (told.recv_timeout(limit).ok(), reaper)
}

/// Kills and reaps every process that descends from this one.
fn end_descendants() {
    loop {
        for pid in descendants() {
            // One that ended by itself in the meantime is no error.
            let _ = kill(pid, Signal::SIGKILL);
        }
        match waitpid(None, None::<WaitPidFlag>) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

fn descendants() -> Vec<Pid> {
    descendants_of(Pid::this())
}

/// Every process below `root`.
pub(super) fn descendants_of(root: Pid) -> Vec<Pid> {
    server9p::stack::agent::descendants::below(root)
}

fn lines(path: &PathBuf) -> io::Result<impl Iterator<Item = String> + use<>> {
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    Ok(text
        .lines()
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter())
}

fn split_fact(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('\t')?;
    Some((name.to_owned(), value.trim_end().to_owned()))
}

fn tail(path: &Path) -> io::Result<String> {
    let all = fs::read(path)?;
    let kept = &all[all.len().saturating_sub(KEPT_OUTPUT)..];
    Ok(String::from_utf8_lossy(kept).into_owned())
}
