//! Killing a process with everything that it started.
//!
//! A program may daemonise, so neither its process group nor its session holds all of it. A subreaper does:
//! whatever loses its parent becomes the subreaper's child, so that nothing is left exactly when the
//! subreaper has no child any more.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// Every process below `root`, parents first.
pub fn below(root: Pid) -> Vec<Pid> {
    let mut found = children(root);
    let mut next = 0;
    while next < found.len() {
        found.extend(children(found[next]));
        next += 1;
    }
    found
}

fn children(of: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{of}/task")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => found.extend(list.split_whitespace().filter_map(pid)),
            // A kernel without CONFIG_PROC_CHILDREN.
            Err(_) => return children_by_scan(of),
        }
    }
    found
}

fn children_by_scan(of: Pid) -> Vec<Pid> {
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    all.flatten()
        .filter_map(|entry| pid(entry.file_name().to_str()?))
        .filter(|&candidate| parent(candidate) == Some(of))
        .collect()
}

fn parent(of: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{of}/stat")).ok()?;
    // The name stands in parentheses and may hold any byte, a parenthesis too.
    let (_, after_name) = stat.rsplit_once(')')?;
    pid(after_name.split_whitespace().nth(1)?)
}

fn pid(text: &str) -> Option<Pid> {
    text.parse().ok().map(Pid::from_raw)
}

/// Kills the children of this process, with all below them, that are not in `known`.
pub fn kill_strays(known: &[Pid]) {
    for child in children(Pid::this()) {
        if !known.contains(&child) {
            for process in below(child).into_iter().chain([child]) {
                let _ = kill(process, Signal::SIGKILL);
            }
        }
    }
}

/// Collects the ended children of this process; `seen` gets each. Says whether any child is left.
pub fn reap(mut seen: impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(status) => {
                if let Some(pid) = status.pid() {
                    seen(pid, status);
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

/// Kills everything below this process, a subreaper, and waits for the end of it all, at most for `grace`;
/// `pause` waits a little for the next end. Says whether nothing is left.
pub fn kill_all(
    grace: Duration,
    mut seen: impl FnMut(Pid, WaitStatus),
    mut pause: impl FnMut(),
) -> bool {
    let started = Instant::now();
    loop {
        if !reap(&mut seen) {
            return true;
        }
        if started.elapsed() >= grace {
            return false;
        }
        for process in below(Pid::this()) {
            // Gone already, or of a user that this one may not kill: the grace decides.
            let _ = kill(process, Signal::SIGKILL);
        }
        pause();
    }
}
