//! The calls of a command that fail on the volume and not natively, by running it once more on each side under
//! strace.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use server9p::stack::StackError;

use super::Request;
use crate::{
    runner::side::Side,
    strace::{self, Calls, failing},
    tools::{
        calls::{FailedCall, distinct},
        find,
    },
};

/// How many calls are kept.
const KEPT: usize = 40;

/// The failing calls on the volume alone, or nothing where strace is not installed.
///
/// # Errors
/// What [`super::run()`] returns.
pub fn failed_calls(
    native: &Side,
    volume: &Side,
    request: &Request,
) -> Result<Option<Vec<String>>, StackError> {
    let Some(natively) = traced(native, request)? else {
        return Ok(None);
    };
    let Some(on_volume) = traced(volume, request)? else {
        return Ok(None);
    };
    let calls = distinct(failing::only_on_volume(on_volume, &natively), KEPT);
    Ok(Some(calls.iter().map(FailedCall::to_string).collect()))
}

fn traced(side: &Side, request: &Request) -> Result<Option<Vec<FailedCall>>, StackError> {
    let (here, there) = side.fresh("exec-traced")?;
    let calls = match super::fill(side, request, &there)? {
        Some(_) => Ok(None),
        None => super::child(side, &there, "@exec-trace", &request.argv),
    };
    if !side.keep {
        let _ = fs::remove_dir_all(&here);
    }
    calls
}

/// The child: `@exec-trace CMD…`, in the command's directory; prints the failing calls, or `null` without strace.
pub fn main(args: &[OsString]) -> ExitCode {
    super::tell(&run(args))
}

fn run(command: &[OsString]) -> Option<Vec<FailedCall>> {
    let dir = std::env::current_dir().ok()?;
    let scratch = tempfile::Builder::new()
        .prefix("probe9p-trace-")
        .tempdir()
        .ok()?;
    let trace = scratch.path().join("trace");
    let words = strace::command(&trace, Calls::Failing);
    let (program, arguments) = words.split_first()?;
    let (traced, rest) = command.split_first()?;
    let status = Command::new(program)
        .args(arguments)
        // strace looks in PATH alone, which commands do not have under the VM runtime's conditions.
        .arg(find::path_of(traced).unwrap_or_else(|| traced.into()))
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.ok()?;
    let text = String::from_utf8_lossy(&fs::read(trace).ok()?).into_owned();
    Some(failing::parse(&text, Path::new(&dir)))
}
