//! A command's tracer, such as strace: attached to the forked process before the command begins there.
//!
//! A command of ours needs no start of its program that way, which under a tracer costs more than most commands do, and
//! its trace begins with its own first call. What the tracer writes goes to memory, since the command's world may have no
//! other place for it that the command would not see.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{fs::FileExt, net::UnixStream, process::CommandExt},
    },
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::resource::{Resource, setrlimit},
    unistd::Pid,
};
use rustix::fs::{MemfdFlags, memfd_create};

/// The most that a tracer may write, in bytes: at more it is ended, and the command goes on without it.
const MOST: u64 = 32 << 20;

/// What a tracer says on standard error when it is attached.
const ATTACHED: &[u8] = b" attached";

/// A tracer that is attached. It ends with what it traces.
pub struct Tracer {
    trace: File,
}

impl Tracer {
    /// Starts the tracer of these words, attaches it to the process `to`, and waits until it is, at most for `patience`.
    /// What it says besides comes out of the descriptor.
    ///
    /// # Errors
    /// A sentence: why there will be no trace.
    pub fn attach(
        words: &[OsString],
        to: Pid,
        patience: Duration,
    ) -> Result<(Tracer, OwnedFd), String> {
        let (program, options) = words
            .split_first()
            .ok_or("a tracer without a name was asked for")?;
        let name = program.display();
        let cannot = |what: &str, error: io::Error| format!("{name} cannot {what}: {error}");
        // It has a name there alone.
        let trace = memfd_create("trace", MemfdFlags::CLOEXEC)
            .map_err(|error| cannot("have a file", error.into()))?;
        let trace = File::from(trace);
        let number = trace.as_raw_fd();
        let mut command = Command::new(program);
        command
            .args(options)
            .args([
                "-o",
                &format!("/proc/self/fd/{number}"),
                "-p",
                &to.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // SAFETY: system calls alone between fork and exec, on a descriptor that this process holds open.
        unsafe {
            command.pre_exec(move || {
                rustix::io::fcntl_setfd(
                    BorrowedFd::borrow_raw(number),
                    rustix::io::FdFlags::empty(),
                )?;
                setrlimit(Resource::RLIMIT_FSIZE, MOST, MOST)?;
                Ok(())
            })
        };
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("{name} is not installed there"),
            // A directory of PATH may be closed to this user.
            io::ErrorKind::PermissionDenied => {
                format!("{name} is not installed where this user may run it")
            }
            _ => cannot("be started", error),
        })?;
        let mut said = child.stderr.take().expect("it was piped above");
        match until_attached(&mut said, patience) {
            Ok(()) => Ok((Tracer { trace }, said.into())),
            Err(why) => {
                // Whatever it has attached to goes on when it is gone.
                let _ = child.kill();
                Err(format!("{name} could not be attached: {why}"))
            }
        }
    }

    /// What it has written.
    ///
    /// # Errors
    /// A sentence: why that cannot be read.
    pub fn finish(self) -> Result<Vec<u8>, String> {
        let read = || {
            let mut bytes = vec![0; self.trace.metadata()?.len().min(MOST) as usize];
            self.trace.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        read().map_err(|error: io::Error| format!("the trace cannot be read: {error}"))
    }
}

/// Reads what a tracer says until it is attached.
fn until_attached(from: &mut (impl Read + AsFd), patience: Duration) -> Result<(), String> {
    let started = Instant::now();
    let mut said = Vec::new();
    loop {
        let left = patience.saturating_sub(started.elapsed());
        let time = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let spoke = poll(&mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)], time);
        let mut buffer = [0; 512];
        match spoke {
            Err(nix::Error::EINTR) => continue,
            Ok(0) => return Err(format!("it did not say so within {} s", patience.as_secs())),
            _ => match from.read(&mut buffer) {
                Ok(0) => return Err(String::from_utf8_lossy(said.trim_ascii()).into_owned()),
                Ok(n) => said.extend_from_slice(&buffer[..n]),
                Err(error) => return Err(error.to_string()),
            },
        }
        if said.windows(ATTACHED.len()).any(|words| words == ATTACHED) {
            return Ok(());
        }
    }
}

/// Says in the process that will be the command that it is there, and waits until it is traced, or will not be.
pub fn await_word(mut word: UnixStream) {
    // For systems where a process's own parents alone may trace it; others do not know this, and need it not.
    // SAFETY: takes numbers alone.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0) };
    let _ = word.write_all(b"!");
    let _ = word.read_exact(&mut [0]);
}
