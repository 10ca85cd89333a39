//! A call without what differs from run to run: descriptors, pids, addresses, times, and the name of the directory
//! that the program works in.

use std::path::Path;

use super::line::{Call, End};
use crate::tools::calls::without_random_names;

/// Whether a call concerns files below `dir`: it names one, has one open, or looks a relative name up, since
/// processes work in that directory. What is not called by a path (notifications, mappings of them, signals) counts.
pub fn concerns(call: &Call, dir: &Path) -> bool {
    let dir = dir.to_string_lossy();
    if call.end == End::Signal {
        return matches!(&*call.name, "SIGBUS" | "SIGSEGV" | "SIGXFSZ" | "SIGIO");
    }
    // The directory that an absolute name is *not* looked up in says nothing.
    let named = call
        .args
        .strip_prefix("AT_FDCWD<")
        .and_then(|rest| rest.split_once(">, "))
        .map_or(&*call.args, |(_, rest)| rest);
    // Looking for a program says nothing of the files that are its arguments.
    let named = match &*call.name {
        "execve" => named.split_once(", ").map_or(named, |(program, _)| program),
        _ => named,
    };
    let is_relative = |name: &str| name.starts_with('"') && !name.starts_with("\"/");
    // A socket's name stands in its address; one that begins with `@` is no file.
    let socket = named
        .split_once("sun_path=")
        .is_some_and(|(_, name)| is_relative(name));
    let relative_name = is_relative(named) || socket;
    named.contains(&*dir)
        || (relative_name && !matches!(&*call.name, "execve" | "getrandom"))
        || named.contains("<anon_inode:inotify>")
        || named.contains("<anon_inode:[fanotify]>")
        || named.contains("<anon_inode:[io_uring]>")
        || matches!(&call.end, End::Value(value) if value.contains(&*dir))
}

/// The arguments, or a value that was returned, as they would be in any run.
pub fn text(raw: &str, dir: &Path) -> String {
    let dir = dir.to_string_lossy();
    let raw = raw.replace(&format!("{dir}/"), "").replace(&*dir, ".");
    without_random_names(&without_numbers(&without_times(&raw)))
}

/// `4<db-shm>` becomes `db-shm`, and an address becomes `ADDRESS`: their numbers differ from run to run.
fn without_numbers(args: &str) -> String {
    let pieces = args.split(", ").map(|piece| {
        let piece = piece.trim();
        if is_address(piece) {
            return "ADDRESS".to_owned();
        }
        // Addresses of members: `{si_addr=0x7f00}`, and of what has a comment: `0x7f00 /* 20 vars */`.
        if let Some((before, value)) = piece.split_once("=0x")
            && value
                .trim_end_matches(['}', ']'])
                .chars()
                .all(|c| c.is_ascii_hexdigit())
        {
            let end = value.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            return format!("{before}=ADDRESS{end}");
        }
        if let Some((address, comment)) = piece.split_once(' ')
            && is_address(address)
        {
            return format!("ADDRESS {comment}");
        }
        // The numbers of processes.
        for member in ["si_pid=", "child_tidptr=", "parent_tid="] {
            if piece.contains(member) {
                return format!("{member}PID");
            }
        }
        let (bracket, piece) = match piece.strip_prefix(['[', '{']) {
            Some(rest) => piece.split_at(piece.len() - rest.len()),
            None => ("", piece),
        };
        let named = match piece.split_once('<') {
            Some(("AT_FDCWD", _)) => "AT_FDCWD".to_owned(),
            Some((number, name))
                if !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) =>
            {
                // The name of a file that has none any more is followed by `(deleted)`.
                name.replacen('>', " ", 1)
                    .replace("  ", " ")
                    .trim_end()
                    .to_owned()
            }
            _ => piece.to_owned(),
        };
        format!("{bracket}{named}")
    });
    pieces.collect::<Vec<_>>().join(", ")
}

fn is_address(piece: &str) -> bool {
    piece
        .strip_prefix("0x")
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_hexdigit()))
}

/// `{tv_sec=1795424881, tv_nsec=5} /* 2026-… */` becomes `TIME`, unless it asks for none (`UTIME_NOW`) or is a time
/// that a program set by itself (before 2001 or after 2100).
fn without_times(args: &str) -> String {
    const OPENING: &str = "{tv_sec=";
    let mut text = String::with_capacity(args.len());
    let mut rest = args;
    while let Some(at) = rest.find(OPENING) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let Some(end) = from.find('}') else {
            text.push_str(from);
            return text;
        };
        let inside = &from[OPENING.len()..end];
        let seconds = inside.split(',').next().and_then(|s| s.parse::<i64>().ok());
        let now = seconds.is_some_and(|s| (1_000_000_000..4_102_444_800).contains(&s));
        text.push_str(if now { "TIME" } else { &from[..=end] });
        rest = &from[end + 1..];
        // strace says the date behind it.
        if let Some(comment) = rest.strip_prefix(" /*")
            && let Some(end) = comment.find("*/")
        {
            rest = &comment[end + 2..];
        }
    }
    text + rest
}

/// A name that differs from run to run for the sake of being unique, `tmp.Ab3dE9` or `tmpx1y2z3w4`: what keys of
/// calls must not have. Shown texts keep it.
pub fn without_unique_names(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        out.push_str(if looks_unique(&word) { "*" } else { &word });
        word.clear();
        out.push(c);
    }
    out.pop();
    out
}

fn looks_unique(word: &str) -> bool {
    let word = word.strip_prefix("tmp").unwrap_or(word);
    let has = |kind: fn(&char) -> bool| word.chars().any(|c| kind(&c));
    let mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase);
    let lettered = has(char::is_ascii_digit) && has(char::is_ascii_lowercase);
    (6..=12).contains(&word.len()) && (mixed || lettered) && !word.starts_with("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(raw: &str) -> String {
        text(raw, Path::new("/v/c1"))
    }

    #[test]
    fn what_differs_from_run_to_run_is_left_out() {
        for (raw, normal) in [
            (
                "NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, 4</v/c1/db-shm>, 0",
                "NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, db-shm, 0",
            ),
            (
                "AT_FDCWD</v/c1>, \"/v/c1/a\", O_RDWR",
                "AT_FDCWD, \"a\", O_RDWR",
            ),
            ("3</v/c1/a>(deleted), 0", "a (deleted), 0"),
            ("0x7f0012340000, 4096", "ADDRESS, 4096"),
            (
                "AT_FDCWD</v/c1>, \"a\", [{tv_sec=1795424881, tv_nsec=5} /* 2026-11-23T09:00:00 */, UTIME_OMIT], 0",
                "AT_FDCWD, \"a\", [TIME, UTIME_OMIT], 0",
            ),
            (
                "4</v/c1/a>, [{tv_sec=5, tv_nsec=500}, {tv_sec=6, tv_nsec=0}], 0",
                "a, [{tv_sec=5, tv_nsec=500}, {tv_sec=6, tv_nsec=0}], 0",
            ),
            (
                "{si_signo=SIGBUS, si_code=BUS_ADRERR, si_addr=0x7f00}",
                "{si_signo=SIGBUS, si_code=BUS_ADRERR, si_addr=ADDRESS}",
            ),
        ] {
            assert_eq!(of(raw), normal);
        }
    }

    #[test]
    fn unique_names_are_one_key() {
        let key = |text: &str| without_unique_names(text);
        assert_eq!(key("\"tmp.Ab3dE9\", O_RDWR"), "\"tmp.*\", O_RDWR");
        assert_eq!(key("\"tmpx1y2z3w4\""), "\"*\"");
        assert_eq!(
            key("\"database\", 32768, 0644"),
            "\"database\", 32768, 0644"
        );
    }

    #[test]
    fn calls_elsewhere_do_not_concern_the_directory() {
        let concerns = |line: &str| {
            let calls = super::super::line::read(line);
            super::concerns(&calls[0], Path::new("/v/c1"))
        };
        assert!(concerns(
            "7 openat(AT_FDCWD</v/c1>, \"a\", O_RDONLY) = 3</v/c1/a>"
        ));
        assert!(concerns(
            "7 mmap(NULL, 1, PROT_READ, MAP_SHARED, 3</v/c1/a>, 0) = 0x7f00"
        ));
        assert!(concerns("7 mkdir(\"x\", 0777) = 0"));
        assert!(!concerns(
            "7 openat(AT_FDCWD</v/c1>, \"/etc/passwd\", O_RDONLY) = 3</etc/passwd>"
        ));
        assert!(!concerns("7 write(1</dev/null>, \"x\", 1) = 1"));
    }
}
