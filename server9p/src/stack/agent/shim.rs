//! Commands, each with a supervisor to itself while it runs.
//!
//! A supervisor is a process that the agent forks, a subreaper, so that a daemon which a command leaves belongs to
//! that command and to no other. It collects the command's output, holds it to its limit, and says that it ended only
//! when nothing of it is left. Then it is free for another command: in a user-mode Linux a fork costs as much as a short
//! case. It never touches the volume itself: whoever does may be stuck there.

use std::{
    fs,
    io::{self, Read, Write},
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
    frame::{self, EndOf, Pieces, Run},
    tracer::Tracer,
};
use crate::stack::{Ended, Finished};

/// How long killed processes may take to go away before the volume is taken to hold them, and how long they
/// may take once it was aborted.
pub const GRACE: Duration = Duration::from_secs(3);

/// How long a tracer may take to be attached: in an emulated guest, beside others, starting a program takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most of each output, in bytes, that is kept.
const MOST_OUTPUT: usize = 1 << 20;

/// How much is read at once, in bytes. A buffer on the stack is filled with zeros, and so faulted in, by each process.
pub const BUFFER: usize = 8 << 10;

/// From the agent to a supervisor. The end of the socket means: kill what runs, and exit.
#[derive(Debug, Serialize, Deserialize)]
enum ToShim {
    /// Run a command.
    Run(Box<Run>),
    /// Kill the command of this id, if it still runs.
    Kill(u64),
}

/// From a supervisor to its agent.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromShim {
    /// Killed processes do not go away: abort the volume.
    Stuck,
    /// Nothing of the command is left, and the supervisor is free; or nothing helps, and it exits. The output follows.
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
    /// Forks a supervisor; one with a line serves one command, whose standard input the line is.
    ///
    /// # Errors
    /// The system's, when it has no process or descriptor left.
    pub fn start(line: Option<UnixStream>) -> io::Result<Shim> {
        let (ours, theirs) = UnixStream::pair()?;
        // SAFETY: an agent has one thread, so its fork may do what any process may.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Shim {
                pid: child,
                socket: ours,
            }),
            ForkResult::Child => {
                drop(ours);
                let code = match serve(theirs, line) {
                    Ok(()) => 0,
                    Err(_) => 1,
                };
                // SAFETY: ends this process; nothing of the agent's that was copied here may be run.
                unsafe { libc::_exit(code) }
            }
        }
    }

    /// Gives it a command; it must have none.
    ///
    /// # Errors
    /// The socket's, when the supervisor is dead.
    pub fn run(&mut self, run: Box<Run>) -> Result<(), (io::Error, Box<Run>)> {
        let frame = ToShim::Run(run);
        frame::write(&mut self.socket, &frame, b"").map_err(|error| match frame {
            ToShim::Run(run) => (error, run),
            ToShim::Kill(_) => unreachable!("made above"),
        })
    }

    /// Kills its command, which is reported like any other end.
    pub fn kill(&mut self, id: u64) {
        // A supervisor that is gone already needs no word.
        let _ = frame::write(&mut self.socket, &ToShim::Kill(id), b"");
    }
}

/// Is a supervisor, until the agent closes the socket or a command cannot be got rid of.
fn serve(mut agent: UnixStream, line: Option<UnixStream>) -> io::Result<()> {
    if let Some(line) = line {
        // SAFETY: duplicates an open descriptor onto a standard one, which nothing here owns.
        unsafe { libc::dup2(line.as_raw_fd(), 0) };
    }
    close_all_but(agent.as_fd());
    prctl::set_child_subreaper(true)?;
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGCHLD);
    wanted.thread_block()?;
    let mut watch = Watch {
        signals: SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
        outputs: Vec::new(),
        orders: Pieces::default(),
    };
    loop {
        let goes_on = match watch.orders.take()? {
            Some((ToShim::Run(run), _)) => supervise(*run, &mut agent, &mut watch)?,
            // It came when that command had ended.
            Some((ToShim::Kill(_), _)) => true,
            None => watch.hear(&mut agent)?,
        };
        if !goes_on {
            return Ok(());
        }
    }
}

/// Runs a command to the end of all that it starts; says whether there is an end.
fn supervise(run: Run, agent: &mut UnixStream, watch: &mut Watch) -> io::Result<bool> {
    let (id, line) = (run.id, run.line);
    let spec = run.into_spec();
    let (stdout, child_stdout) = pipe2(OFlag::O_CLOEXEC)?;
    let (stderr, child_stderr) = pipe2(OFlag::O_CLOEXEC)?;
    let supervisor = process::id();
    let word = match spec.tracer {
        Some(_) => Some(UnixStream::pair()?),
        None => None,
    };
    let mut started = Instant::now();
    // SAFETY: this process has one thread.
    let main = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let outputs = [child_stdout.as_fd(), child_stderr.as_fd()];
            exec::run(
                &spec,
                line,
                outputs,
                word.map(|(_, child)| child),
                supervisor,
            )
        }
    };
    drop((child_stdout, child_stderr));
    watch.outputs = vec![Output::new(stdout)?, Output::new(stderr)?];
    let mut tracer = None;
    if let (Some(words), Some((mut word, child))) = (&spec.tracer, word) {
        drop(child);
        let patience = spec.limit.min(PATIENCE);
        word.set_read_timeout(Some(patience))?;
        // What it does before is no matter of the command's. It may also fail there, or wait for the volume.
        let attached = match word.read(&mut [0]) {
            Ok(1) => Tracer::attach(words, main, patience),
            _ => Err("the command did not come to begin".into()),
        };
        let _ = word.write_all(b"!");
        tracer = Some(match attached {
            Ok((tracer, said)) => {
                // Nobody reads it, but it must not be held up.
                watch.outputs.push(Output::new(said)?);
                Ok(tracer)
            }
            Err(why) => Err(why),
        });
        started = Instant::now();
    }
    let (ended, duration) = watch.until_main_ends(id, main, agent, started, spec.limit)?;

    let mut seen = |_, _| {};
    let mut gone = descendants::kill_all(GRACE, &mut seen, || watch.pause());
    if !gone {
        frame::write(agent, &FromShim::Stuck, b"")?;
        gone = descendants::kill_all(GRACE, &mut seen, || watch.pause());
    }
    if spec.fresh && gone {
        let _ = fs::remove_dir_all(&spec.cwd);
    }
    let mut outputs = watch.outputs.drain(..).map(Output::finish);
    let (stdout, mut stderr) = (
        outputs.next().unwrap_or_default(),
        outputs.next().unwrap_or_default(),
    );
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
        trace: tracer.map(|tracer| tracer.and_then(Tracer::finish)),
    };
    let (end, body) = EndOf::pack(id, &finished);
    frame::write(agent, &FromShim::Ended(end), &body)?;
    Ok(gone)
}

/// What a supervisor listens to.
struct Watch {
    signals: SignalFd,
    /// The present command's output and error output.
    outputs: Vec<Output>,
    /// What the agent has said.
    orders: Pieces,
}

impl Watch {
    /// Waits for the command's own end, its limit, or the agent's word to kill it.
    fn until_main_ends(
        &mut self,
        id: u64,
        main: Pid,
        agent: &mut UnixStream,
        started: Instant,
        limit: Duration,
    ) -> io::Result<(Ended, Duration)> {
        loop {
            let mut ended = None;
            descendants::reap(|pid, status| {
                if pid == main {
                    ended = how(status);
                }
            });
            let spent = started.elapsed();
            if let Some(ended) = ended {
                return Ok((ended, spent));
            }
            if spent >= limit {
                return Ok((Ended::TimedOut, spent));
            }
            if self.wait(Some(agent.as_fd()), limit - spent)
                && (!self.hear(agent)? || self.told_to_kill(id)?)
            {
                return Ok((Ended::TimedOut, started.elapsed()));
            }
        }
    }

    /// Reads what the agent says; false when it is gone.
    fn hear(&mut self, agent: &mut UnixStream) -> io::Result<bool> {
        let mut buffer = [0; BUFFER];
        match agent.read(&mut buffer) {
            Ok(came) => {
                self.orders.push(&buffer[..came]);
                Ok(came > 0)
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(err) => Err(err),
        }
    }

    fn told_to_kill(&mut self, id: u64) -> io::Result<bool> {
        while let Some((order, _)) = self.orders.take()? {
            if matches!(order, ToShim::Kill(wanted) if wanted == id) {
                return Ok(true);
            }
        }
        Ok(false)
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
        let mut buffer = [0; BUFFER];
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
