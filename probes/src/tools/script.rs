//! Running a case's script: its environment, its helpers, its end, and the end of everything that it started.
//!
//! Scripts are run by `/bin/sh` with `-eu`, their working directory is the case's. They find
//!
//! - `$PROBE9P_DIR`, the case's directory, and `$PROBE9P_NATIVE`, an empty directory on a local filesystem;
//! - `$TMPDIR` and `$HOME`, empty directories of their own, local unless the case says otherwise;
//! - `$PROBE9P_REMEDY`, the id of the remedy that is being tried, or nothing, and the remedy's variables;
//! - `fact NAME VALUE`, which notes what must be the same natively and on the volume;
//! - `note TEXT…`, which says something that a reader of the result should know;
//! - `fail TEXT…`, which ends the case with that text.
//!
//! Nothing else of the environment but `PATH` is passed on, so that two machines run the same case. Whatever
//! processes a script leaves behind are killed, wherever they went: probe9p makes itself their reaper.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
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
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, pidfd_open},
};

use super::{calls::FailedCall, find, sqlite};

/// What every script begins with.
const HELPERS: &str = r#"set -eu
fact() { printf '%s\t%s\n' "$1" "$(printf '%s' "$2" | tr '\n\t' '  ')" >>"$PROBE9P_FACTS"; }
note() { printf '%s\n' "$*" >>"$PROBE9P_NOTES"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }
"#;

/// Where programs are, when the environment does not say.
pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of a script's output is kept, in bytes, counted from its end.
const KEPT_OUTPUT: usize = 64 * 1024;

/// A script to run.
#[derive(Debug)]
pub struct Job<'a> {
    /// The recipe's own helpers and the case's script.
    pub text: [&'a str; 2],
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
    use std::os::unix::fs::PermissionsExt;
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
    let (script, output, facts, notes, calls) = (
        file("script"),
        file("output"),
        file("facts"),
        file("notes"),
        file("calls"),
    );
    fs::write(&script, [HELPERS, job.text[0], "\n", job.text[1]].concat())?;
    for made in [&facts, &notes, &calls] {
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
    let out = File::options().append(true).create(true).open(&output)?;
    let path = find::search_path(Some(file("bin")))?;

    let argv: Vec<OsString> = job
        .under
        .iter()
        .cloned()
        .chain(["/bin/sh".into(), script.into_os_string()])
        .collect();
    let began = Instant::now();
    let mut child = Command::new(&argv[0])
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
        .env(sqlite::RECORD, &calls)
        .envs(job.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .process_group(0)
        .spawn()?;
    let status = wait(&mut child, job.limit)?;
    let duration = began.elapsed();
    end_descendants();

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
    })
}

/// Waits for the child, without sleeping, until its limit; then nothing.
fn wait(child: &mut std::process::Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = rustix::process::Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs() as _,
            tv_nsec: left.subsec_nanos() as _,
        };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(None),
            Ok(_) => return child.wait().map(Some),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
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
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parents: BTreeMap<i32, i32> = entries
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name stands in parentheses and may hold anything, parentheses too.
            let parent = stat
                .rsplit_once(')')?
                .1
                .split_whitespace()
                .nth(1)?
                .parse()
                .ok()?;
            Some((pid, parent))
        })
        .collect();
    let own = std::process::id() as i32;
    let descends = |mut pid: i32| {
        // A chain cannot be longer than there are processes.
        for _ in 0..parents.len() {
            match parents.get(&pid) {
                Some(parent) if *parent == own => return true,
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    parents
        .keys()
        .copied()
        .filter(|pid| descends(*pid))
        .map(Pid::from_raw)
        .collect()
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
