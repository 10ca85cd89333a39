//! The failing calls of a program that cannot record its own.
//!
//! Only failing calls are asked for, so the traces are short; what fails natively too is then taken away, and what is
//! left is the volume's doing.

use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
};

use super::{
    line::{self, Call, End},
    normal,
};
use crate::tools::calls::FailedCall;

/// Names longer than this are told by their beginning and end, in characters: programs try names that are too long on
/// purpose.
const LONGEST: usize = 120;

/// Reads a trace: the failing calls that concern files below `dir`, whose names become relative to it. Of those that
/// differ in a generated name, a size or an offset alone, the first is kept.
///
/// What fails on pipes, sockets and the system's own files says nothing of the volume.
pub fn parse(trace: &str, dir: &Path) -> Vec<FailedCall> {
    let mut seen = BTreeSet::new();
    line::read(trace)
        .iter()
        .filter_map(|call| failed(call, dir))
        .filter(|call| seen.insert(shape(call)))
        .collect()
}

fn failed(call: &Call, dir: &Path) -> Option<FailedCall> {
    let End::Errno(errno) = &call.end else {
        return None;
    };
    normal::concerns(call, dir).then(|| FailedCall {
        call: call.name.clone(),
        args: shortened(&normal::text(&call.args, dir)),
        errno: errno.clone(),
        gave_up: None,
    })
}

/// The calls of `volume` that did not fail natively, and that are no ordinary failures.
pub fn only_on_volume(volume: Vec<FailedCall>, native: &[FailedCall]) -> Vec<FailedCall> {
    let usual: HashSet<_> = native.iter().map(shape).collect();
    volume
        .into_iter()
        .filter(|call| !usual.contains(&shape(call)) && !call.is_ordinary())
        .collect()
}

/// What of a call is the same in every run of a program. Sizes and offsets may differ without a reason worth telling,
/// and names may be generated anew each time.
fn shape(call: &FailedCall) -> (String, String, String) {
    let number = |piece: &&str| {
        piece
            .trim_start_matches('-')
            .chars()
            .all(|c| c.is_ascii_digit())
    };
    let args: Vec<String> = call
        .args
        .split(", ")
        .filter(|piece| !number(piece))
        .map(without_generated_names)
        .collect();
    (call.call.clone(), args.join(", "), call.errno.clone())
}

/// Replaces each word that looks as mkstemp makes them: at least six letters and digits, of which at least three
/// follow one of another kind (lower case, upper case, digit). Names that programs write in camel case look so
/// too, so this is for comparing, not for showing.
fn without_generated_names(text: &str) -> String {
    let kind = |c: char| (c.is_ascii_digit(), c.is_ascii_uppercase());
    let mut out = String::with_capacity(text.len());
    for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let changes = word
            .chars()
            .zip(word.chars().skip(1))
            .filter(|(a, b)| kind(*a) != kind(*b))
            .count();
        let generated = word.len() >= 6 && changes >= 3;
        out.push_str(if generated { "*" } else { word });
        out.push_str(&part[word.len()..]);
    }
    out
}

/// The arguments with each long name cut in its middle.
fn shortened(args: &str) -> String {
    let pieces = args.split('"').map(|piece| {
        let length = piece.chars().count();
        if length <= LONGEST {
            return piece.to_owned();
        }
        let from = |n: usize| {
            piece
                .char_indices()
                .nth(n)
                .map_or(piece.len(), |(at, _)| at)
        };
        format!("{}…{}", &piece[..from(40)], &piece[from(length - 20)..])
    });
    pieces.collect::<Vec<_>>().join("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str, dir: &str) -> Option<FailedCall> {
        parse(line, Path::new(dir)).into_iter().next()
    }

    #[test]
    fn reads_a_failing_call_of_a_traced_child() {
        let line = "812   mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, 4</v/c1/db-shm>, 0) = -1 EINVAL (Invalid argument)";
        let calls = parse(line, Path::new("/v/c1"));
        assert_eq!(
            calls[0].to_string(),
            "mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, db-shm, 0) = EINVAL"
        );
        let call = one(
            "7 fchown(3</v/a>, 5, 5)          = -1 EPERM (Operation not permitted)",
            "/v",
        )
        .unwrap();
        assert_eq!(call.to_string(), "fchown(a, 5, 5) = EPERM");
        let call = one(
            "7 ftruncate(3</v/a>(deleted), 0) = -1 ENOENT (No such file or directory)",
            "/v",
        )
        .unwrap();
        assert_eq!(call.to_string(), "ftruncate(a (deleted), 0) = ENOENT");
        let call = one("unlink(\"a\") = -1 EPERM (Operation not permitted)", "/v").unwrap();
        assert_eq!(call.to_string(), "unlink(\"a\") = EPERM");
        let outside =
            "7 openat(AT_FDCWD</v>, \"/root/.rc\", O_RDONLY) = -1 EACCES (Permission denied)";
        assert!(one(outside, "/v").is_none());
        let program = "7 execve(\"/root/bin/tool\", [\"tool\", \"/v/a\"], 0x7ffe /* 9 vars */) = -1 EACCES (Permission denied)";
        assert!(one(program, "/v").is_none());
        assert!(one(&program.replace("/root/bin", "/v/bin"), "/v").is_some());
        let inside = outside.replace("/root/.rc", "a");
        assert_eq!(
            one(&inside, "/v").unwrap().to_string(),
            "openat(AT_FDCWD, \"a\", O_RDONLY) = EACCES"
        );
        let bind = "7 bind(6<UNIX-STREAM:[9]>, {sa_family=AF_UNIX, sun_path=\"./s\"}, 110) = -1 ENXIO (No such device or address)";
        assert_eq!(one(bind, "/v").unwrap().errno, "ENXIO");
        for elsewhere in ["@\"s\"", "\"/run/s\""] {
            assert!(one(&bind.replace("\"./s\"", elsewhere), "/v").is_none());
        }
        assert!(one("+++ exited with 1 +++", "/v").is_none());
        assert!(
            one(
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

    #[test]
    fn a_generated_name_is_like_another_and_a_long_one_is_cut() {
        let line =
            |name: &str| format!("unlink(\"d/{name}\") = -1 EPERM (Operation not permitted)\n");
        let traced = |name: &str| parse(&line(name), Path::new("/v"));
        assert!(only_on_volume(traced(".tmpNyIj7D"), &traced(".tmpkP2vxP")).is_empty());
        assert_eq!(
            only_on_volume(traced("README.txt"), &traced("readme.txt")).len(),
            1
        );
        let both = line(".tmpNyIj7D") + &line(".tmpkP2vxP");
        assert_eq!(parse(&both, Path::new("/v")).len(), 1);
        let long = traced(&"xy".repeat(2000));
        let text = long[0].to_string();
        assert!(text.starts_with("unlink(\"d/xyxy") && text.ends_with("xyxy\") = EPERM"));
        assert_eq!(
            text.chars().count(),
            "unlink(\"\") = EPERM".len() + 40 + 1 + 20
        );
    }
}
