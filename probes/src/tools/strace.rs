//! What strace saw: the failing calls of a program that cannot record its own.
//!
//! Only failing calls are asked for (`-Z`), so the traces are short; what fails natively too is then taken away,
//! and what is left is the volume's doing.

use std::{collections::HashSet, ffi::OsString, path::Path};

use super::calls::{FailedCall, without_random_names};

/// The words that a command is put behind to be traced into `trace`.
pub fn command(trace: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["strace", "-f", "-qq", "-Z", "-y", "-s", "96", "-o"]
        .map(OsString::from)
        .into();
    words.push(trace.into());
    words.push("--".into());
    words
}

/// Reads a trace: the failing calls that concern files below `dir`, whose names become relative to it.
///
/// What fails on pipes, sockets and the system's own files says nothing of the volume.
pub fn parse(trace: &str, dir: &Path) -> Vec<FailedCall> {
    trace
        .lines()
        .filter_map(|line| parse_line(line, &dir.display().to_string()))
        .collect()
}

/// The calls of `volume` that did not fail natively, and that are no ordinary failures. Sizes and offsets may differ
/// without a reason worth telling, so they are not compared.
pub fn only_on_volume(volume: Vec<FailedCall>, native: &[FailedCall]) -> Vec<FailedCall> {
    let key = |call: &FailedCall| {
        let number = |piece: &&str| {
            piece
                .trim_start_matches('-')
                .chars()
                .all(|c| c.is_ascii_digit())
        };
        let args: Vec<&str> = call
            .args
            .split(", ")
            .filter(|piece| !number(piece))
            .collect();
        (call.call.clone(), args.join(", "), call.errno.clone())
    };
    let usual: HashSet<_> = native.iter().map(key).collect();
    volume
        .into_iter()
        .filter(|call| !usual.contains(&key(call)) && !call.is_ordinary())
        .collect()
}

/// `12 mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, 4</d/db-shm>, 0) = -1 EINVAL (Invalid argument)`
fn parse_line(line: &str, dir: &str) -> Option<FailedCall> {
    let line = line
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .trim_start();
    let (call, rest) = line.split_once('(')?;
    // strace fills up with blanks before the equals sign of a short call.
    let (args, end) = rest.rsplit_once(" = -1 ")?;
    let args = args.trim_end().strip_suffix(')')?;
    // Processes that the script starts work in its directory, so a relative name is one below it; the directory
    // that an absolute name is *not* looked up in says nothing.
    let named = args
        .strip_prefix("AT_FDCWD<")
        .and_then(|rest| rest.split_once(">, "))
        .map_or(args, |(_, rest)| rest);
    let is_relative = |name: &str| name.starts_with('"') && !name.starts_with("\"/");
    // A socket's name stands in its address; one that begins with `@` is no file.
    let socket = named
        .split_once("sun_path=")
        .is_some_and(|(_, name)| is_relative(name));
    let relative_name = is_relative(named) || socket;
    if !named.contains(dir) && !relative_name {
        return None;
    }
    let args = args.replace(&format!("{dir}/"), "").replace(dir, ".");
    let errno = end.split_whitespace().next()?.to_owned();
    Some(FailedCall {
        call: call.to_owned(),
        args: without_random_names(&without_numbers(&args)),
        errno,
        gave_up: None,
    })
}

/// `4<db-shm>` becomes `db-shm`, and an address becomes `ADDRESS`: their numbers differ from run to run.
fn without_numbers(args: &str) -> String {
    let pieces = args.split(", ").map(|piece| {
        if piece
            .strip_prefix("0x")
            .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit()))
        {
            return "ADDRESS".to_owned();
        }
        match piece.split_once('<') {
            Some(("AT_FDCWD", _)) => "AT_FDCWD".to_owned(),
            Some((number, name)) if number.chars().all(|c| c.is_ascii_digit()) => {
                // The name of a file that has none any more is followed by `(deleted)`.
                name.replacen('>', " ", 1)
                    .replace("  ", " ")
                    .trim_end()
                    .to_owned()
            }
            _ => piece.to_owned(),
        }
    });
    pieces.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_failing_call_of_a_traced_child() {
        let line = "812   mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, 4</v/c1/db-shm>, 0) = -1 EINVAL (Invalid argument)";
        let calls = parse(line, Path::new("/v/c1"));
        assert_eq!(
            calls[0].to_string(),
            "mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, db-shm, 0) = EINVAL"
        );
        let call = parse_line(
            "7 fchown(3</v/a>, 5, 5)          = -1 EPERM (Operation not permitted)",
            "/v",
        )
        .unwrap();
        assert_eq!(call.to_string(), "fchown(a, 5, 5) = EPERM");
        let call = parse_line(
            "7 ftruncate(3</v/a>(deleted), 0) = -1 ENOENT (No such file or directory)",
            "/v",
        )
        .unwrap();
        assert_eq!(call.to_string(), "ftruncate(a (deleted), 0) = ENOENT");
        let call = parse_line("unlink(\"a\") = -1 EPERM (Operation not permitted)", "/v").unwrap();
        assert_eq!(call.to_string(), "unlink(\"a\") = EPERM");
        let outside =
            "7 openat(AT_FDCWD</v>, \"/root/.rc\", O_RDONLY) = -1 EACCES (Permission denied)";
        assert!(parse_line(outside, "/v").is_none());
        let inside = outside.replace("/root/.rc", "a");
        assert_eq!(
            parse_line(&inside, "/v").unwrap().to_string(),
            "openat(AT_FDCWD, \"a\", O_RDONLY) = EACCES"
        );
        let bind = "7 bind(6<UNIX-STREAM:[9]>, {sa_family=AF_UNIX, sun_path=\"./s\"}, 110) = -1 ENXIO (No such device or address)";
        assert_eq!(parse_line(bind, "/v").unwrap().errno, "ENXIO");
        for elsewhere in ["@\"s\"", "\"/run/s\""] {
            assert!(parse_line(&bind.replace("\"./s\"", elsewhere), "/v").is_none());
        }
        assert!(parse_line("+++ exited with 1 +++", "/v").is_none());
        assert!(
            parse_line(
                "7 lseek(0<pipe:[9]>, -1, SEEK_CUR) = -1 ESPIPE (Illegal seek)",
                "/v"
            )
            .is_none()
        );
    }

    #[test]
    fn what_fails_natively_too_is_no_evidence() {
        let call = |name: &str, errno: &str| FailedCall {
            call: name.to_owned(),
            args: "a".to_owned(),
            errno: errno.to_owned(),
            gave_up: None,
        };
        let volume = vec![
            FailedCall {
                args: "a, -4096".to_owned(),
                ..call("lseek", "EINVAL")
            },
            call("ioctl", "EINVAL"),
            call("mmap", "EINVAL"),
            call("openat", "ENOENT"),
        ];
        assert_eq!(
            only_on_volume(
                volume,
                &[
                    call("ioctl", "EINVAL"),
                    FailedCall {
                        args: "a, -8192".to_owned(),
                        ..call("lseek", "EINVAL")
                    }
                ]
            ),
            [call("mmap", "EINVAL")]
        );
    }
}
