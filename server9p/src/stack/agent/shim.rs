//! One command with its own supervisor.
//!
//! The agent forks a supervisor for every command, a subreaper, so that a daemon which the command leaves
//! belongs to that command and to no other. It collects the command's output, holds it to its limit, and
//! ends only when nothing of it is left. It never touches the volume itself: whoever does may be stuck there.

use std::{
    fs,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    process,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        wait::WaitStatus,
    },
    unistd::{ForkResult, Pid, fork, pipe2},
};
use serde::{Deserialize, Serialize};

use super::{
    descendants, exec,
    frame::{self, EndOf},
};
use crate::stack::{CommandSpec, Ended, Finished};

/// How long killed processes may take to go away before the volume is taken to hold them, and how long they
/// may take once it was aborted.
pub const GRACE: Duration = Duration::from_secs(3);

/// The most of each output, in bytes, that is kept.
const MOST_OUTPUT: usize = 1 << 20;

/// From a supervisor to its agent. The agent sends nothing back but a byte, or the end of the socket: kill.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromShim {
    /// Killed processes do not go away: abort the volume.
    Stuck,
    /// Nothing of the command is left, or nothing helps; its output follows.
    Ended(EndOf),
}

/// A supervisor that the agent started.
#[derive(Debug)]
pub struct Shim {
    /// Its process.
    pub pid: Pid,
    /// To and from it.
    pub socket: UnixStream,
}

impl Shim {
    /// Forks a supervisor for a command.
    ///
    /// # Errors
    /// The system's, when it has no process or descriptor left.
    pub fn start(id: u64, spec: &CommandSpec) -> io::Result<Shim> {
        let (ours, theirs) = UnixStream::pair()?;
        // SAFETY: an agent has one thread, so its fork may do what any process may.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Shim {
                pid: child,
                socket: ours,
            }),
            ForkResult::Child => {
                drop(ours);
                if let Some(line) = &spec.line {
                    // SAFETY: duplicates an open descriptor onto a standard one, which nothing here owns.
                    unsafe { libc::dup2(line.as_raw_fd(), 0) };
                }
                let code = match supervise(id, spec, theirs) {
                    Ok(()) => 0,
                    Err(_) => 1,
                };
                // SAFETY: ends this process; nothing of the agent's that was copied here may be run.
                unsafe { libc::_exit(code) }
            }
        }
    }
}

fn supervise(id: u64, spec: &CommandSpec, mut agent: UnixStream) -> io::Result<()> {
    close_all_but(agent.as_fd());
    prctl::set_child_subreaper(true)?;
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGCHLD);
    wanted.thread_block()?;
    let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;

    let (stdout, child_stdout) = pipe2(OFlag::O_CLOEXEC)?;
    let (stderr, child_stderr) = pipe2(OFlag::O_CLOEXEC)?;
    let supervisor = process::id();
    let started = Instant::now();
    // SAFETY: this process has one thread.
    let main = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => exec::run(spec, &child_stdout, &child_stderr, supervisor),
    };
    drop((child_stdout, child_stderr));

    let mut watch = Watch {
        signals,
        outputs: [Output::new(stdout)?, Output::new(stderr)?],
        main,
        main_ended: None,
    };
    let (ended, duration) = watch.until_main_ends(&agent, started, spec.limit);

    let mut seen = |_, _| {};
    let mut gone = descendants::kill_all(GRACE, &mut seen, || watch.pause());
    if !gone {
        frame::write(&mut agent, &FromShim::Stuck, b"")?;
        gone = descendants::kill_all(GRACE, &mut seen, || watch.pause());
    }
    if spec.fresh && gone {
        let _ = fs::remove_dir_all(&spec.cwd);
    }
    let [stdout, mut stderr] = watch.outputs.map(Output::finish);
    if !gone {
        stderr.extend_from_slice(
            b"\nprobe9p: processes of this command did not go away, though they were killed and the volume \
              was aborted; look at their state with `ps -o pid,stat,wchan`\n",
        );
    }
    let finished = Finished {
        ended,
        stdout,
        stderr,
        duration,
    };
    let (end, body) = EndOf::pack(id, &finished);
    frame::write(&mut agent, &FromShim::Ended(end), &body)
}

struct Watch {
    signals: SignalFd,
    outputs: [Output; 2],
    main: Pid,
    main_ended: Option<Ended>,
}

impl Watch {
    /// Waits for the command's own end, its limit, or the agent's word to kill it.
    fn until_main_ends(
        &mut self,
        agent: &UnixStream,
        started: Instant,
        limit: Duration,
    ) -> (Ended, Duration) {
        loop {
            let main = self.main;
            let mut ended = None;
            descendants::reap(|pid, status| {
                if pid == main {
                    ended = how(status);
                }
            });
            let spent = started.elapsed();
            if let Some(ended) = ended.or(self.main_ended) {
                return (ended, spent);
            }
            if spent >= limit {
                return (Ended::TimedOut, spent);
            }
            if self.wait(Some(agent.as_fd()), limit - spent) {
                return (Ended::TimedOut, started.elapsed());
            }
        }
    }

    /// Waits for output, a child's end, or `time`; takes the output. Says whether `agent` has spoken.
    fn wait(&mut self, agent: Option<BorrowedFd>, time: Duration) -> bool {
        // Rounded up, so that the limit has passed when this returns for it.
        let time =
            PollTimeout::try_from(time + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut fds: Vec<PollFd> = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        for output in &self.outputs {
            if let Some(pipe) = &output.pipe {
                fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            }
        }
        fds.extend(agent.map(|agent| PollFd::new(agent, PollFlags::POLLIN)));
        let _ = poll(&mut fds, time);
        let spoken = agent.is_some() && fds.last().is_some_and(|fd| fd.any() == Some(true));
        while let Ok(Some(_)) = self.signals.read_signal() {}
        for output in &mut self.outputs {
            output.take();
        }
        spoken
    }

    fn pause(&mut self) {
        self.wait(None, Duration::from_millis(20));
    }
}

fn how(status: WaitStatus) -> Option<Ended> {
    match status {
        WaitStatus::Exited(_, code) => Some(Ended::Code(code)),
        WaitStatus::Signaled(_, signal, _) => Some(Ended::Signal(signal as i32)),
        _ => None,
    }
}

struct Output {
    pipe: Option<std::fs::File>,
    kept: Vec<u8>,
}

impl Output {
    fn new(pipe: OwnedFd) -> io::Result<Output> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Output {
            pipe: Some(pipe.into()),
            kept: Vec::new(),
        })
    }

    /// Reads what is there; beyond the cap it is thrown away, so that the writer is not held up.
    fn take(&mut self) {
        let mut buffer = [0; 65536];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(n) => {
                    let room = MOST_OUTPUT - self.kept.len();
                    self.kept.extend_from_slice(&buffer[..n.min(room)]);
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.take();
        self.kept
    }
}

/// Closes every descriptor but the standard ones and `keep`: the agent's link, or another command's socket,
/// must not stay open here when the agent closes it.
fn close_all_but(keep: BorrowedFd) {
    let keep = keep.as_raw_fd() as libc::c_uint;
    // SAFETY: this process has just been forked, and uses no descriptor but `keep` from now on.
    unsafe {
        if keep > 3 {
            libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, keep - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, keep + 1, libc::c_uint::MAX, 0);
    }
}
