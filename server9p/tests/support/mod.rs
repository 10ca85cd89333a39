//! Looking at processes and mounts from outside, and waiting for them without sleeping.
#![allow(dead_code)]

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Longer than anything here takes, on any machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A number of seconds that `sleep` takes and nobody else sleeps for.
pub fn mark(of: u32) -> String {
    format!("{}.{of}", 100_000 + std::process::id())
}

/// A process's command line.
pub fn command_line(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).into_owned();
    line.split('\0').map(str::to_owned).collect()
}

/// Every process of this machine.
pub fn all() -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Processes that have `mark` as one of their arguments.
pub fn marked(mark: &str) -> Vec<u32> {
    let has = |pid: &u32| command_line(*pid).iter().any(|argument| argument == mark);
    all().into_iter().filter(has).collect()
}

/// Every server process of ours for this directory, which its arguments name.
pub fn servers(export: &Path) -> Vec<u32> {
    let export = export.to_string_lossy();
    let serves = |pid: &u32| {
        let line = command_line(*pid);
        line.iter().any(|argument| argument == "@serve")
            && line.iter().any(|argument| argument.contains(&*export))
    };
    all().into_iter().filter(serves).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}

/// Every process below `root`.
pub fn below(root: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = all()
        .into_iter()
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let of = found[next];
        found.extend(all.iter().filter(|(_, up)| *up == of).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// A process below `root` with this argument; of several the first, which is the outermost.
pub fn helper(root: u32, name: &str) -> u32 {
    let is = |pid: &u32| {
        command_line(*pid)
            .get(1)
            .is_some_and(|argument| argument == name)
    };
    let found = below(root).into_iter().find(is);
    found.unwrap_or_else(|| panic!("no {name} below process {root}"))
}

/// Waits for something that is bound to become true.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "waited in vain: {what}");
        thread::yield_now();
    }
}

/// Processes that are held, so that their numbers cannot become others'.
pub fn hold(pids: impl IntoIterator<Item = u32>) -> Vec<(u32, OwnedFd)> {
    let hold = |pid: u32| {
        let id = Pid::from_raw(pid as i32)?;
        Some((pid, pidfd_open(id, PidfdFlags::empty()).ok()?))
    };
    pids.into_iter().filter_map(hold).collect()
}

/// Waits for the end of every one of them.
pub fn wait_gone(held: &[(u32, OwnedFd)]) {
    for (pid, fd) in held {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::try_from(DEADLINE).unwrap()).unwrap();
        let line = command_line(*pid).join(" ");
        assert_eq!(ready, 1, "process {pid} is still there: {line}");
    }
}

/// Mounts that this process sees under a directory.
pub fn mounts_under(directory: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let directory = directory.to_str().unwrap();
    let under = table.lines().filter(|line| line.contains(directory));
    under.map(str::to_owned).collect()
}

/// Kills a process as nobody can resist.
pub fn kill(pid: u32) {
    let pid = Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
