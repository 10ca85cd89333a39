//! The failing calls of a program that cannot record its own.
//!
//! Only failing calls are asked for, so the traces are short; what fails natively too is then taken away, and what is
//! left is the volume's doing.

use std::{collections::HashSet, path::Path};

use super::{
    line::{self, Call, End},
    normal,
};
use crate::tools::calls::FailedCall;

/// Reads a trace: the failing calls that concern files below `dir`, whose names become relative to it.
///
/// What fails on pipes, sockets and the system's own files says nothing of the volume.
pub fn parse(trace: &str, dir: &Path) -> Vec<FailedCall> {
    let calls = line::read(trace);
    calls.iter().filter_map(|call| failed(call, dir)).collect()
}

fn failed(call: &Call, dir: &Path) -> Option<FailedCall> {
    let End::Errno(errno) = &call.end else {
        return None;
    };
    normal::concerns(call, dir).then(|| FailedCall {
        call: call.name.clone(),
        args: normal::text(&call.args, dir),
        errno: errno.clone(),
        gave_up: None,
    })
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
}
