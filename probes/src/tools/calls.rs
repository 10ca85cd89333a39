//! System calls that failed while a tool ran, however they were seen: by the built-in SQLite's own hooks, or by
//! strace.
//!
//! They are the evidence from which a cause is found, so they are written the same way on both sides: names
//! below the case's directory are relative to it, and numbers that say nothing (addresses, pids) are left out.

use std::{collections::HashSet, fmt, path::Path};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FailedCall {
    /// The call's name, `mmap`.
    pub call: String,
    /// Its arguments, in the call's order, the file first where the call takes a descriptor.
    pub args: String,
    /// Name of the errno, `EINVAL`.
    pub errno: String,
    /// What the program made of it, where it gave up because of this call: `SQLITE_IOERR_SHMMAP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave_up: Option<String>,
}

impl fmt::Display for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}) = {}", self.call, self.args, self.errno)
    }
}

impl FailedCall {
    /// True for failures that every program provokes on purpose, looking for files or waiting for locks.
    pub fn is_ordinary(&self) -> bool {
        match self.errno.as_str() {
            "ENOENT" => matches!(
                self.call.as_str(),
                "access"
                    | "faccessat"
                    | "faccessat2"
                    | "stat"
                    | "lstat"
                    | "newfstatat"
                    | "statx"
                    | "readlink"
                    | "readlinkat"
                    | "open"
                    | "openat"
                    | "unlink"
                    | "unlinkat"
                    | "execve"
                    | "connect"
            ),
            // Looking whether a name is a symbolic link.
            "EINVAL" => matches!(self.call.as_str(), "readlink" | "readlinkat"),
            // Making each directory of a path, whichever of them are there.
            "EEXIST" => matches!(self.call.as_str(), "mkdir" | "mkdirat"),
            // Copying from another file system by the means of one.
            "EXDEV" => matches!(self.call.as_str(), "ioctl" | "copy_file_range"),
            // Go's run time offers every file that it opens to its poller, and epoll takes no regular file anywhere.
            "EPERM" => self.call == "epoll_ctl",
            // Waiting for a service.
            "ECONNREFUSED" => self.call == "connect",
            "EAGAIN" | "EINTR" | "ECHILD" => true,
            "ENOTTY" => self.call == "ioctl",
            _ => false,
        }
    }
}

/// The name of an errno, or its number in words where it has none.
pub fn errno_name(number: i32) -> String {
    match Errno::from_raw(number) {
        Errno::UnknownErrno => format!("errno {number}"),
        // Linux has one number for both names; the manual pages of the calls that we test say EOPNOTSUPP.
        errno => format!("{errno:?}"),
    }
}

/// Names below `base` become relative to it.
pub fn relative<'a>(name: &'a Path, base: &Path) -> &'a Path {
    name.strip_prefix(base)
        .ok()
        .filter(|rest| !rest.as_os_str().is_empty())
        .unwrap_or(name)
}

/// Replaces the random part of temporary files' names, `etilqs_3708c8ee8c5c6c36`: evidence is compared.
pub fn without_random_names(args: &str) -> String {
    let mut text = String::with_capacity(args.len());
    let mut rest = args;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let tail = &rest[start..];
        let length = tail
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(tail.len());
        text.push_str(&rest[..start]);
        text.push_str(if length >= 12 { "*" } else { &tail[..length] });
        rest = &tail[length..];
    }
    text + rest
}

/// Each call once, oldest first, and at most `most` of them.
pub fn distinct(calls: Vec<FailedCall>, most: usize) -> Vec<FailedCall> {
    let mut seen = HashSet::new();
    calls
        .into_iter()
        .filter(|call| seen.insert((call.call.clone(), call.args.clone(), call.errno.clone())))
        .take(most)
        .collect()
}

/// The call that a program failed by: the one that it gave up on, else the last that no program provokes on
/// purpose.
pub fn decisive(calls: &[FailedCall]) -> Option<&FailedCall> {
    let gave_up = calls.iter().rev().find(|call| call.gave_up.is_some());
    gave_up.or_else(|| calls.iter().rev().find(|call| !call.is_ordinary()))
}

/// The call that a program complained about: the last whose errno its words name, be it in small letters, else the last.
pub fn complained_of<'a>(calls: &'a [FailedCall], words: &str) -> Option<&'a FailedCall> {
    let words = words.to_lowercase();
    let named = |call: &&FailedCall| {
        let numbers = (1..=133).map(Errno::from_raw);
        let errno = numbers
            .into_iter()
            .find(|errno| format!("{errno:?}") == call.errno);
        errno.is_some_and(|errno| words.contains(&errno.desc().to_lowercase()))
    };
    calls.iter().rev().find(named).or(calls.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_look_the_same() {
        assert_eq!(
            without_random_names("etilqs_3708c8ee8c5c6c36 (deleted), 0"),
            "etilqs_* (deleted), 0"
        );
        assert_eq!(without_random_names("db-shm, 32768"), "db-shm, 32768");
    }

    #[test]
    fn the_call_that_the_words_name_decides() {
        let call = |call: &str, errno: &str| FailedCall {
            call: call.to_owned(),
            args: String::new(),
            errno: errno.to_owned(),
            gave_up: None,
        };
        let calls = [call("fchown", "EPERM"), call("fsetxattr", "EOPNOTSUPP")];
        let words = "error setting owner: Operation not permitted";
        assert_eq!(complained_of(&calls, words).unwrap().call, "fchown");
        // As Go has it.
        let words = "open one: operation not permitted";
        assert_eq!(complained_of(&calls, words).unwrap().call, "fchown");
        assert_eq!(
            complained_of(&calls, "it failed").unwrap().call,
            "fsetxattr"
        );
    }

    #[test]
    fn the_call_that_was_given_up_on_decides() {
        let call = |call: &str, errno: &str, gave_up: Option<&str>| FailedCall {
            call: call.to_owned(),
            args: String::new(),
            errno: errno.to_owned(),
            gave_up: gave_up.map(str::to_owned),
        };
        let mut calls = vec![call("mmap", "EINVAL", None), call("stat", "ENOENT", None)];
        assert_eq!(decisive(&calls).unwrap().call, "mmap");
        // Nobody failed by what epoll says of every regular file.
        calls.push(call("epoll_ctl", "EPERM", None));
        assert_eq!(decisive(&calls).unwrap().call, "mmap");
        calls.insert(
            0,
            call("ftruncate", "ENOENT", Some("SQLITE_IOERR_TRUNCATE")),
        );
        assert_eq!(decisive(&calls).unwrap().call, "ftruncate");
    }
}
