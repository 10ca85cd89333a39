//! What strace saw: the failing calls of a program that cannot record its own.
//!
//! Only failing calls are asked for (`-Z`), so the traces are short; what fails natively too is then taken away,
//! and what is left is the volume's doing.

use std::{collections::HashSet, ffi::OsString, path::Path};

use super::calls::FailedCall;

/// The words that a command is put behind to be traced into `trace`.
pub fn command(trace: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["strace", "-f", "-qq", "-Z", "-y", "-s", "96", "-o"]
        .map(OsString::from)
        .into();
    words.push(trace.into());
    words.push("--".into());
    words
}

/// Reads a trace. `places` are directories with the words to write in their stead.
pub fn parse(trace: &str, places: &[(&Path, &str)]) -> Vec<FailedCall> {
    trace
        .lines()
        .filter_map(|line| parse_line(line, places))
        .collect()
}

/// The calls of `volume` that did not fail natively, and that are no ordinary failures.
pub fn only_on_volume(volume: Vec<FailedCall>, native: &[FailedCall]) -> Vec<FailedCall> {
    let usual: HashSet<&FailedCall> = native.iter().collect();
    volume
        .into_iter()
        .filter(|call| !usual.contains(call) && !call.is_ordinary())
        .collect()
}

/// `12 mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, 4</d/db-shm>, 0) = -1 EINVAL (Invalid argument)`
fn parse_line(line: &str, places: &[(&Path, &str)]) -> Option<FailedCall> {
    let line = line
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .trim_start();
    let (call, rest) = line.split_once('(')?;
    let (args, end) = rest.rsplit_once(") = -1 ").or_else(|| {
        // strace fills up with blanks before the equals sign of a short call.
        let (args, end) = rest.rsplit_once(" = -1 ")?;
        Some((args.trim_end().strip_suffix(')')?, end))
    })?;
    let errno = end.split_whitespace().next()?.to_owned();
    let mut args = args.to_owned();
    for (place, word) in places {
        args = args.replace(&format!("{}/", place.display()), word);
        args = args.replace(&place.display().to_string(), word.trim_end_matches('/'));
    }
    let file = descriptor(&args);
    Some(FailedCall {
        call: call.to_owned(),
        args: without_numbers(&args, file.is_some()),
        errno,
        gave_up: None,
    })
}

/// The name that `-y` writes after a descriptor.
fn descriptor(args: &str) -> Option<&str> {
    let (_, rest) = args.split_once('<')?;
    rest.split_once('>').map(|(name, _)| name)
}

/// `4<db-shm>` becomes `db-shm`, and an address becomes `ADDRESS`: their numbers differ from run to run.
fn without_numbers(args: &str, descriptors: bool) -> String {
    let pieces = args.split(", ").map(|piece| {
        if piece.starts_with("0x") && piece[2..].chars().all(|c| c.is_ascii_hexdigit()) {
            return "ADDRESS".to_owned();
        }
        if descriptors && let Some((number, name)) = piece.split_once('<') {
            let plain = number.chars().all(|c| c.is_ascii_digit()) || number == "AT_FDCWD";
            if plain && let Some(name) = name.strip_suffix('>') {
                return if number == "AT_FDCWD" {
                    number.to_owned()
                } else {
                    name.to_owned()
                };
            }
        }
        piece.to_owned()
    });
    pieces.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_failing_call_of_a_traced_child() {
        let line = "812   mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, 4</v/c1/db-shm>, 0) = -1 EINVAL (Invalid argument)";
        let calls = parse(line, &[(Path::new("/v/c1"), "")]);
        assert_eq!(
            calls[0].to_string(),
            "mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, db-shm, 0) = EINVAL"
        );
        let call = parse_line(
            "7 fchown(3</v/a>, 5, 5)          = -1 EPERM (Operation not permitted)",
            &[],
        )
        .unwrap();
        assert_eq!(call.to_string(), "fchown(/v/a, 5, 5) = EPERM");
        assert!(parse_line("+++ exited with 1 +++", &[]).is_none());
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
            call("ioctl", "EINVAL"),
            call("mmap", "EINVAL"),
            call("openat", "ENOENT"),
        ];
        assert_eq!(
            only_on_volume(volume, &[call("ioctl", "EINVAL")]),
            [call("mmap", "EINVAL")]
        );
    }
}
