//! What end-to-end tests share: running the built program in a temporary directory of its own.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use serde_json::Value;

/// A temporary directory for one test, which every run of it uses as TMPDIR.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Place {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The program with these arguments, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_probe9p"));
        let tmp = self.path().join("tmp");
        fs::create_dir_all(&tmp).unwrap();
        command
            .args(args)
            .env("TMPDIR", tmp)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Names of what runs left in TMPDIR.
    pub fn left(&self) -> Vec<String> {
        entries(&self.path().join("tmp"))
    }
}

/// The names in a directory.
pub fn entries(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let names: BTreeSet<_> = names
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.into_iter().collect()
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Standard output as one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the exit code and the one sentence on standard error.
    pub fn says(&self, code: i32, sentence: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(
            self.stderr.contains(sentence),
            "{sentence:?} is not in {self:?}"
        );
    }
}

/// A run whose events are read as they come.
pub struct Running {
    pub child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts the program, whose arguments must make it print JSON lines.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines }
    }

    /// Reads events until one is called `name`.
    pub fn until(&mut self, name: &str) -> Value {
        for line in self.lines.by_ref() {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if event["event"] == name {
                return event;
            }
        }
        panic!("the run ended without {name}");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let rest: Vec<String> = self.lines.by_ref().map(Result::unwrap).collect();
        let mut output = self.child.wait_with_output().unwrap();
        output.stdout = rest.join("\n").into_bytes();
        Ran::of(output)
    }
}

/// Every process below `root`, at whatever depth.
pub fn descendants(root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let pid = found[next].as_raw_nonzero();
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.filter_map(Result::ok) {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| Pid::from_raw(pid.parse().ok()?)),
            );
        }
    }
    found.split_off(1)
}

/// Handles of processes, by which their ends can be waited for.
pub fn handles(pids: &[Pid]) -> Vec<OwnedFd> {
    pids.iter()
        .filter_map(|&pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        .collect()
}

/// Whether all of these processes end within `limit`.
pub fn all_end(handles: &[OwnedFd], limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).unwrap();
    handles.iter().all(|handle| {
        let mut wanted = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
        poll(&mut wanted, Some(&limit)).unwrap() == 1
    })
}

/// Lines of this namespace's table of mounts that mention `dir`.
pub fn mounts(dir: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = dir.to_str().unwrap();
    table
        .lines()
        .filter(|line| line.contains(dir))
        .map(str::to_owned)
        .collect()
}

/// Whether /dev/fuse can be used here; says why not, by the test's name.
pub fn fuse(test: &str) -> bool {
    match File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => true,
        Err(error) => {
            skipped(test, &format!("/dev/fuse cannot be opened ({error})"));
            false
        }
    }
}

/// Says that a test is skipped, and why.
pub fn skipped(test: &str, why: &str) {
    eprintln!("skipped: {test}: {why}");
}

/// Whether a program is on PATH.
pub fn has(program: impl AsRef<OsStr>) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program.as_ref()).is_file())
}
