//! What strace sees of a program: the one mechanism by which system calls become evidence.
//!
//! [`command`] is how a program is put behind strace, [`attached`] how strace is put beside one, [`line`] reads what it wrote, [`normal`] takes out of a call
//! what differs from run to run (descriptors, pids, addresses, times, the directory's own name), [`failing`] keeps the
//! calls that fail on the volume alone, and [`align`] lays two whole traces side by side and finds where they part.

pub mod align;
pub mod failing;
pub mod line;
pub mod normal;

use std::{ffi::OsString, path::Path};

/// Which calls a trace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Those that fail, without their times: short, and enough for evidence.
    Failing,
    /// All of them, each with the time at which it began and what it took.
    All,
}

/// The words that a command is put behind to be traced into `trace`.
pub fn command(trace: &Path, calls: Calls) -> Vec<OsString> {
    let mut words = attached(calls);
    words.extend(["-qq".into(), "-o".into(), trace.into(), "--".into()]);
    words
}

/// The words of a strace that is attached to a command ([`server9p::stack::CommandSpec::tracer`]).
pub fn attached(calls: Calls) -> Vec<OsString> {
    let which: &[&str] = match calls {
        Calls::Failing => &["-Z"],
        Calls::All => &["-ttt", "-T"],
    };
    let words = ["strace", "-f", "-y", "-s", "96"];
    words.iter().chain(which).map(OsString::from).collect()
}
