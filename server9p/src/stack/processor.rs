//! One processor for a volume's processes, which take turns.
//!
//! A program on a volume waits for its client, which waits for the server, so that one of them works at a time. On one
//! processor of the host such a turn is a switch; on two it is an interrupt to the other, which may have gone to sleep, and
//! takes many times as long: with all on one, FUSE's small reads are three times as fast. A user-mode kernel, besides, runs
//! every process of its guest under ptrace and has one processor, so that it and they take turns several times for each
//! system call.

use std::{
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// The calling thread, and every process that it starts, on one processor until this is dropped.
#[derive(Debug)]
pub struct Together {
    before: CpuSet,
}

impl Together {
    /// Puts the calling thread on one of its processors; on another for every call and every process, as
    /// nothing that stays on one makes room for others. `None` where there is but one, or the system refuses.
    pub fn enter() -> Option<Together> {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        Together::enter_as(CALLS.fetch_add(1, Ordering::Relaxed))
    }

    /// As [`Together::enter`], on the processor that who has this number gets, in this process and at this time.
    pub fn enter_as(number: usize) -> Option<Together> {
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this).ok()?;
        let may: Vec<usize> = (0..CpuSet::count())
            .filter(|&processor| before.is_set(processor).unwrap_or(false))
            .collect();
        if may.len() < 2 {
            return None;
        }
        let turn = process::id() as usize + number;
        let mut one = CpuSet::new();
        one.set(may[turn % may.len()]).ok()?;
        sched_setaffinity(this, &one).ok()?;
        Some(Together { before })
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        // Those that were allowed before; if they no longer are, the thread stays where it is.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processors() -> usize {
        let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
        (0..CpuSet::count())
            .filter(|&processor| set.is_set(processor).unwrap_or(false))
            .count()
    }

    #[test]
    fn what_is_started_meanwhile_has_one_processor_and_the_thread_gets_its_own_back() {
        let before = processors();
        let together = Together::enter();
        if before < 2 {
            eprintln!("skipped: what_is_started_meanwhile_has_one_processor: this machine has one");
            return;
        }
        assert_eq!(processors(), 1);
        let child = process::Command::new("nproc").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&child.stdout).trim(), "1");
        drop(together);
        assert_eq!(processors(), before);
    }
}
