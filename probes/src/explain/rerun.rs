//! A case once more under strace, on one side: a child in the side's world runs it between two marks.
//!
//! The marks are directories that the child makes on the volume: the server's trace has them too, so the messages of
//! just this run are known, and a guest's clock is set against the host's.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Serialize};
use server9p::stack::{CommandSpec, SELF, StackError};

use super::messages::Message;
use crate::{
    ops::{self, needs::Need, prepared::PREPARED},
    runner::side::{Side, VOLUME},
    strace::{
        self, Calls,
        align::{Step, steps},
        line,
    },
};

/// The first argument of the child.
pub const ARGUMENT: &str = "@explain-trace";

/// What the marks are called.
const MARKS: [&str; 2] = ["probe9p-mark-begin", "probe9p-mark-end"];

/// How often the first mark is synchronised: the quickest time tells most of the clocks.
const BEATS: usize = 6;

/// The name of the case's own directory.
const CASE: &str = "case";

/// How many bytes of a trace are read: a program that makes more calls has failed long before.
const MOST: usize = 64 << 20;

/// What the child tells.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    /// Whether strace is installed there.
    strace: bool,
    /// Whether the case was killed at its limit.
    timed_out: bool,
    /// By its clock, before and after it synchronised the first mark, again and again: in seconds since 1970.
    beats: Vec<(f64, f64)>,
}

/// A traced run.
pub struct Traced {
    /// The calls that concern the case's directory; nothing where strace is missing.
    pub steps: Option<Vec<Step>>,
    /// Whether it was killed at its limit.
    pub timed_out: bool,
    /// The name of its directory below the export's root.
    pub place: String,
    beats: Vec<(f64, f64)>,
}

/// Runs the case that `child_args` mean once more, traced where strace is installed.
///
/// # Errors
/// What [`server9p::stack::World::run`] returns, and [`StackError::Unavailable`] when the child tells nothing.
pub fn run(
    side: &Side,
    id: &str,
    child_args: &[OsString],
    limit: Duration,
) -> Result<Traced, StackError> {
    let (here, there) = side.fresh(&format!("explain-{id}"))?;
    let argv = [
        SELF.into(),
        ARGUMENT.into(),
        limit.as_millis().to_string().into(),
        there.clone().into(),
    ];
    let argv = argv.into_iter().chain(child_args.iter().cloned());
    // As natively on both sides: a failing tool case on the volume would start a strace of its own.
    let argv = argv.chain(["--side".into(), "native".into()]);
    let mut command = CommandSpec::new(argv, there.clone()).limit(limit + Duration::from_secs(20));
    let needs = ops::find(id).map_or(&[][..], |case| case.needs);
    let [place, seen] = [&here, &there].map(|dir| dir.join(CASE));
    let hand = side.hand_for(needs, &place, &seen, limit, &mut command);
    // A trace of making 100,000 files says nothing, and takes longest.
    if side.name == VOLUME || needs.contains(&Need::ManyEntries) {
        command = command.env(PREPARED, "a case that is explained is given none");
    }
    if let Some(dir) = &side.local {
        command = command.env("TMPDIR", dir);
    }
    let finished = side.world.run(&command)?;
    drop(hand);
    let told: Told = serde_json::from_slice(finished.stdout.trim_ascii()).map_err(|_| {
        StackError::Unavailable(format!(
            "{id} could not be run again on the {} side ({:?}); it said: {}",
            side.name,
            finished.ended,
            String::from_utf8_lossy(&finished.stderr).trim()
        ))
    })?;
    let steps = told.strace.then(|| {
        let trace = fs::read(here.join("trace")).unwrap_or_default();
        let text = String::from_utf8_lossy(&trace[..trace.len().min(MOST)]);
        steps(&line::read(&text), &there.join(CASE))
    });
    if !side.keep && !told.timed_out {
        let _ = fs::remove_dir_all(&here);
    }
    let name = here.file_name().unwrap_or_default().to_string_lossy();
    Ok(Traced {
        steps,
        timed_out: told.timed_out,
        place: format!("/{name}/{CASE}"),
        beats: told.beats,
    })
}

impl Traced {
    /// The messages of this run, with its own clock's times and paths from the case's directory; nothing where the
    /// server's trace has no marks.
    pub fn messages(&self, all: &[Message]) -> Option<Vec<Message>> {
        let mark = |name: &str| {
            let named = format!("name={name} ");
            let spaced = format!("name {name} ");
            let is = |message: &&Message| {
                let detail = message.detail.as_deref().unwrap_or_default();
                message.kind == "Tmkdir" && (detail.contains(&named) || detail.contains(&spaced))
            };
            all.iter().rposition(|message| is(&message))
        };
        let (begin, end) = (mark(MARKS[0])?, mark(MARKS[1])?);
        let between = all.get(begin + 1..end)?;
        // The mark at the end is looked for before it is made.
        let is_mark = |message: &&Message| {
            let detail = message.detail.as_deref().unwrap_or_default();
            MARKS.iter().any(|mark| detail.contains(mark))
        };
        let is_beat = |message: &&Message| message.kind == "Tfsync";
        let got = between.iter().filter(is_beat).map(|message| message.begun);
        let offset = offset(&self.beats, got.clone());
        let ready = got
            .take(self.beats.len())
            .last()
            .unwrap_or(all[begin].begun);
        let own = between.iter().filter(|m| m.begun > ready && !is_mark(m));
        let own = own.map(|message| Message {
            begun: message.begun + offset,
            path: message.path.as_deref().map(|path| self.shortened(path)),
            ..message.clone()
        });
        Some(own.collect())
    }

    fn shortened(&self, path: &str) -> String {
        match path.strip_prefix(&self.place) {
            Some("") => ".".to_owned(),
            Some(rest) => rest.trim_start_matches('/').to_owned(),
            None => path.to_owned(),
        }
    }
}

/// By how much the child's clock is ahead of the host's, from what both say of the same messages: each must have been
/// got while the child waited for it. A shared clock is ahead by nothing.
fn offset(beats: &[(f64, f64)], got: impl Iterator<Item = f64>) -> f64 {
    let bounds = beats.iter().zip(got);
    let bounds = bounds.map(|(&(before, after), host)| (before - host, after - host));
    let (low, high) = bounds.fold((f64::NEG_INFINITY, f64::INFINITY), |(low, high), bound| {
        (low.max(bound.0), high.min(bound.1))
    });
    if !low.is_finite() || (low <= 0.0 && 0.0 <= high) {
        return 0.0;
    }
    (low + high) / 2.0
}

/// The child: `@explain-trace MILLISECONDS DIR ARGS…`, where `ARGS` are those of a case's child without its directory.
pub fn main(args: &[OsString]) -> ExitCode {
    let told = match args {
        [limit, dir, case @ ..] => {
            let limit = limit.to_str().and_then(|text| text.parse().ok());
            traced(
                Path::new(dir),
                case,
                Duration::from_millis(limit.unwrap_or(60_000)),
            )
        }
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    };
    match told.map(|told| serde_json::to_string(&told)) {
        Ok(Ok(text)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("The case could not be run under strace: {error}.");
    ExitCode::from(70)
}

fn traced(dir: &Path, case: &[OsString], limit: Duration) -> io::Result<Told> {
    let scratch = tempfile::Builder::new()
        .prefix("probe9p-trace-")
        .tempdir()?;
    let trace = scratch.path().join("trace");
    let own = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let place = dir.join(CASE);
    fs::create_dir(&place)?;
    let mut words: Vec<OsString> = Vec::new();
    let program = strace_program();
    let strace = program.is_some();
    if let Some(program) = program {
        words = strace::command(&trace, Calls::All);
        words[0] = program.into();
    }
    words.push(own.into());
    words.extend_from_slice(case);
    words.extend(["--dir".into(), place.into()]);
    fs::create_dir(dir.join(MARKS[0]))?;
    let beats = beats(&fs::File::open(dir.join(MARKS[0]))?)?;
    let timed_out = run_for(&words, limit)?;
    fs::create_dir(dir.join(MARKS[1]))?;
    if strace {
        // Where the host finds it, whichever world this is; after the mark, so that it is no part of the run.
        fs::copy(&trace, dir.join("trace"))?;
    }
    Ok(Told {
        strace,
        timed_out,
        beats,
    })
}

/// strace, from PATH, or where programs are for a command that has none.
fn strace_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut places = std::env::split_paths(&path).map(|dir| dir.join("strace"));
    places.find(|place| place.is_file())
}

/// Synchronises the mark, which is one message and no other call's, and says when.
fn beats(mark: &fs::File) -> io::Result<Vec<(f64, f64)>> {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |time| time.as_secs_f64())
    };
    let beat = |_| {
        let before = now();
        mark.sync_all()?;
        Ok((before, now()))
    };
    (0..BEATS).map(beat).collect()
}

/// Runs a command for so long at most; says whether it had to be killed.
fn run_for(words: &[OsString], limit: Duration) -> io::Result<bool> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let timed_out = !ends_within(&child, limit)?;
    if timed_out {
        // strace writes what it has seen and lets the case go, which the world then ends.
        let pid = Pid::from_raw(child.id() as i32);
        let _ = kill(pid, Signal::SIGTERM);
        if !ends_within(&child, Duration::from_secs(3))? {
            child.kill()?;
        }
    }
    child.wait()?;
    Ok(timed_out)
}

fn ends_within(child: &Child, limit: Duration) -> io::Result<bool> {
    let pidfd = pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty())?;
    let limit = Timespec {
        tv_sec: limit.as_secs() as i64,
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    Ok(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_set_against_each_other_by_what_both_saw() {
        // The guest is an hour ahead; its second beat was the quickest.
        let beats = [(3600.0, 3600.9), (3601.30, 3601.34), (3602.0, 3602.8)];
        let got = [0.2, 1.32, 2.5];
        assert!((offset(&beats, got.into_iter()) - 3600.0).abs() < 0.03);
        assert_eq!(
            offset(&[(1.0, 2.0), (3.0, 4.0)], [1.5, 3.1].into_iter()),
            0.0
        );
        assert_eq!(offset(&[], std::iter::empty()), 0.0);
    }
}
