//! The agent: the process that runs a volume's commands, for an orchestrator at the other end of a link.
//!
//! It lives where the volume is mounted (a private mount namespace, a guest, or just the host), so that
//! its orchestrator, which serves that very volume or waits for whoever does, never has to touch it. It has
//! one thread: it may fork without care, and `PR_SET_PDEATHSIG`, which means the thread, means the process.
//! When its link closes it kills what it runs and exits.
//!
//! [`frame`] is what travels, [`shim`] supervises a command, [`exec`] starts it, [`descendants`] ends it
//! with all that it left; [`process`] is its `main`, [`link`] the orchestrator's side.

pub mod descendants;
mod exec;
pub mod frame;
pub mod link;
pub mod process;
mod shim;
mod tracer;

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::WaitStatus,
    },
    unistd::Pid,
};

use self::{
    frame::{FromAgent, Pieces, Run, ToAgent},
    shim::{FromShim, Shim},
};
use crate::stack::{Ended, Finished, Mounted, guest::GuestConfig};

/// What an agent's commands run on, and how it is ended by force.
pub trait Ground {
    /// Brings the volume up. Called once, first; may start processes.
    ///
    /// # Errors
    /// A sentence for the user.
    fn up(&mut self) -> Result<Mounted, String>;

    /// Ends the volume by force, so that whoever waits for it goes on with an error.
    fn abort(&mut self);

    /// The process that the volume runs on, when it is a child of the agent.
    fn process(&self) -> Option<Pid> {
        None
    }

    /// A child of the agent ended that supervised no command: if it was one that the volume needs, a sentence
    /// that says so.
    fn ended(&mut self, pid: Pid, status: WaitStatus) -> Option<String>;

    /// Brings the volume down, when no command runs any more.
    fn down(&mut self);
}

/// The ground of commands whose volume is somebody else's: it is there already.
#[derive(Debug, Default)]
pub struct Given(pub Mounted);

impl Ground for Given {
    fn up(&mut self) -> Result<Mounted, String> {
        Ok(self.0.clone())
    }

    fn abort(&mut self) {}

    fn ended(&mut self, _: Pid, _: WaitStatus) -> Option<String> {
        None
    }

    fn down(&mut self) {}
}

/// Serves a link until it closes or the orchestrator says stop. The process must have one thread.
///
/// # Errors
/// The link's own; when it returns, nothing runs any more that the agent started.
pub fn serve<L>(link: L, ground: impl Ground) -> io::Result<()>
where
    L: AsFd,
    for<'a> &'a L: Read + Write,
{
    prctl::set_child_subreaper(true)?;
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGCHLD);
    wanted.thread_block()?;
    let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut agent = Agent {
        link,
        signals,
        ground,
        running: HashMap::new(),
        free: Vec::new(),
        lost: false,
        strays: false,
    };
    let served = agent.bring_up().and_then(|up| match up {
        true => agent.serve(),
        false => Ok(()),
    });
    agent.end();
    served
}

/// Serves a link as a guest's first process does: its first frame is the guest's configuration.
///
/// # Errors
/// Those of [`serve`].
pub fn serve_guest<L, G: Ground>(link: L, ground: impl FnOnce(GuestConfig) -> G) -> io::Result<()>
where
    L: AsFd,
    for<'a> &'a L: Read + Write,
{
    let (config, _) = frame::read(&mut &link)?;
    serve(link, ground(config))
}

/// Tells a guest its configuration, on the orchestrator's side of its link.
///
/// # Errors
/// The link's own.
pub fn configure_guest(mut link: &UnixStream, config: &GuestConfig) -> io::Result<()> {
    frame::write(&mut link, config, b"")
}

struct Agent<L, G> {
    link: L,
    signals: SignalFd,
    ground: G,
    running: HashMap<u64, Running>,
    /// Supervisors without a command.
    free: Vec<Shim>,
    lost: bool,
    /// Whether a supervisor was killed, so that what it supervised may have become the agent's children.
    strays: bool,
}

struct Running {
    shim: Shim,
    pieces: Pieces,
    /// The other end of the command's standard input, when that is a line and open.
    line: Option<UnixStream>,
    /// Whether the supervisor may have another command.
    free_after: bool,
}

impl Running {
    fn under(shim: Shim) -> Running {
        Running {
            shim,
            pieces: Pieces::default(),
            line: None,
            free_after: true,
        }
    }
}

/// Gives a command with a line to a supervisor of its own, which inherits the line.
fn start_on_line(run: Box<Run>) -> io::Result<Running> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut shim = Shim::start(Some(theirs))?;
    shim.run(run).map_err(|(err, _)| err)?;
    Ok(Running {
        line: Some(ours),
        free_after: false,
        ..Running::under(shim)
    })
}

enum Woke {
    Link,
    Shim(u64),
    Line(u64),
}

impl<L, G> Agent<L, G>
where
    L: AsFd,
    for<'a> &'a L: Read + Write,
    G: Ground,
{
    fn bring_up(&mut self) -> io::Result<bool> {
        match self.ground.up() {
            Ok(mounted) => self.say(&FromAgent::Ready(mounted), b"").map(|()| true),
            Err(why) => self.say(&FromAgent::Failed(why), b"").map(|()| false),
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut pieces = Pieces::default();
        loop {
            for woke in self.wait(PollTimeout::NONE) {
                match woke {
                    Woke::Shim(id) => self.hear_shim(id)?,
                    Woke::Line(id) => self.hear_line(id)?,
                    Woke::Link => {
                        let mut buffer = [0; shim::BUFFER];
                        match (&self.link).read(&mut buffer) {
                            Ok(0) => return Ok(()),
                            Ok(n) => pieces.push(&buffer[..n]),
                            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                            Err(err) => return Err(err),
                        }
                        while let Some((frame, body)) = pieces.take()? {
                            match frame {
                                ToAgent::Run(run) => self.start(run)?,
                                ToAgent::Kill(id) => self.kill(id),
                                ToAgent::Say(id) => self.answer(id, &body),
                                ToAgent::Stop => return Ok(()),
                            }
                        }
                    }
                }
            }
            self.reap()?;
        }
    }

    /// Waits for the link, a supervisor, or a child's end.
    fn wait(&mut self, timeout: PollTimeout) -> Vec<Woke> {
        let mut wakes = vec![Woke::Link];
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
        ];
        for (id, running) in &self.running {
            wakes.push(Woke::Shim(*id));
            fds.push(PollFd::new(running.shim.socket.as_fd(), PollFlags::POLLIN));
            if let Some(line) = &running.line {
                wakes.push(Woke::Line(*id));
                fds.push(PollFd::new(line.as_fd(), PollFlags::POLLIN));
            }
        }
        let mut woke = Vec::new();
        if poll(&mut fds, timeout).is_ok() {
            let seen = wakes.into_iter().zip(&fds[1..]);
            woke.extend(seen.filter_map(|(wake, fd)| (fd.any() == Some(true)).then_some(wake)));
        }
        while let Ok(Some(_)) = self.signals.read_signal() {}
        woke
    }

    /// Gives a command to a supervisor.
    fn start(&mut self, run: Box<Run>) -> io::Result<()> {
        let id = run.id;
        let started = match run.line {
            true => start_on_line(run),
            false => self.start_on_nothing(run),
        };
        match started {
            Ok(running) => {
                self.running.insert(id, running);
                Ok(())
            }
            Err(err) => {
                let finished = Finished {
                    ended: Ended::Code(126),
                    stdout: Vec::new(),
                    stderr: format!("probe9p: no process can be started: {err}\n").into_bytes(),
                    duration: Duration::ZERO,
                    trace: None,
                };
                self.say_end(id, &finished)
            }
        }
    }

    /// Gives a command without a line to a supervisor that is free, or to a new one.
    fn start_on_nothing(&mut self, mut run: Box<Run>) -> io::Result<Running> {
        while let Some(mut shim) = self.free.pop() {
            match shim.run(run) {
                Ok(()) => return Ok(Running::under(shim)),
                // Somebody killed it while it was free.
                Err((_, back)) => run = back,
            }
        }
        let mut shim = Shim::start(None)?;
        shim.run(run).map_err(|(err, _)| err)?;
        Ok(Running::under(shim))
    }

    fn kill(&mut self, id: u64) {
        if let Some(running) = self.running.get_mut(&id) {
            running.shim.kill(id);
        }
    }

    /// Passes on what a command wrote to its line.
    fn hear_line(&mut self, id: u64) -> io::Result<()> {
        let Some(running) = self.running.get_mut(&id) else {
            return Ok(());
        };
        let mut buffer = [0; shim::BUFFER];
        let came = running.line.as_mut().map(|line| line.read(&mut buffer));
        match came {
            Some(Ok(n)) if n > 0 => self.say(&FromAgent::Said(id), &buffer[..n]),
            Some(Err(err)) if err.kind() == io::ErrorKind::WouldBlock => Ok(()),
            _ => {
                running.line = None;
                Ok(())
            }
        }
    }

    /// Gives a command what came for its line, of which no words are the end; a command that does not read it loses the
    /// line.
    fn answer(&mut self, id: u64, words: &[u8]) {
        if let Some(running) = self.running.get_mut(&id) {
            let said = running.line.as_mut().map(|line| line.write_all(words));
            if words.is_empty() || !matches!(said, Some(Ok(()))) {
                running.line = None;
            }
        }
    }

    fn hear_shim(&mut self, id: u64) -> io::Result<()> {
        let Some(running) = self.running.get_mut(&id) else {
            return Ok(());
        };
        let mut buffer = [0; shim::BUFFER];
        let came = match running.shim.socket.read(&mut buffer) {
            Ok(came) => came,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(_) => 0,
        };
        if came == 0 {
            self.strays = true;
            let running = self.running.remove(&id).expect("looked up above");
            let finished = Finished {
                ended: Ended::Signal(libc::SIGKILL),
                stdout: Vec::new(),
                stderr: format!(
                    "probe9p: the supervisor of this command (process {}) was killed\n",
                    running.shim.pid
                )
                .into_bytes(),
                duration: Duration::ZERO,
                trace: None,
            };
            return self.say_end(id, &finished);
        }
        running.pieces.push(&buffer[..came]);
        while let Some(running) = self.running.get_mut(&id) {
            match running.pieces.take()? {
                None => return Ok(()),
                Some((FromShim::Stuck, _)) => self.abort(id)?,
                Some((FromShim::Ended(end), body)) => {
                    let ended = self.running.remove(&id).filter(|r| r.free_after);
                    self.free.extend(ended.map(|r| r.shim));
                    self.say(&FromAgent::Ended(end), &body)?;
                }
            }
        }
        Ok(())
    }

    fn abort(&mut self, id: u64) -> io::Result<()> {
        self.ground.abort();
        self.lose(
            "the volume was aborted, because processes that were killed at their command's limit did not go \
             away: they wait in the kernel for an answer that the server does not give"
                .into(),
            Some(id),
        )
    }

    fn lose(&mut self, why: String, except: Option<u64>) -> io::Result<()> {
        if std::mem::replace(&mut self.lost, true) {
            return Ok(());
        }
        self.say(&FromAgent::Lost { why, except }, b"")?;
        let others: Vec<u64> = self.running.keys().copied().collect();
        for id in others.into_iter().filter(|id| Some(*id) != except) {
            self.kill(id);
        }
        Ok(())
    }

    /// Collects ended children. Where a supervisor was killed, kills what it left: the command dies with it,
    /// and what the command had started becomes the agent's, which the next end of a child brings here.
    fn reap(&mut self) -> io::Result<()> {
        let mut lost = None;
        let (ground, free) = (&mut self.ground, &mut self.free);
        descendants::reap(|pid, status| {
            free.retain(|shim| shim.pid != pid);
            lost = ground.ended(pid, status).or(lost.take());
        });
        if self.strays {
            let running = self.running.values().map(|r| &r.shim);
            let known = running.chain(&self.free).map(|shim| shim.pid);
            let known: Vec<Pid> = known.chain(self.ground.process()).collect();
            descendants::kill_strays(&known);
        }
        match lost {
            Some(why) => self.lose(why, None),
            None => Ok(()),
        }
    }

    fn say_end(&mut self, id: u64, finished: &Finished) -> io::Result<()> {
        let (end, body) = frame::EndOf::pack(id, finished);
        self.say(&FromAgent::Ended(end), &body)
    }

    fn say(&mut self, frame: &FromAgent, body: &[u8]) -> io::Result<()> {
        frame::write(&mut &self.link, frame, body)
    }

    /// Kills what runs and brings the volume down.
    fn end(&mut self) {
        // The end of its socket tells a supervisor to kill its command and to exit.
        let running = self.running.drain().map(|(_, r)| r.shim);
        let supervisors: Vec<Pid> = running.chain(self.free.drain(..)).map(|s| s.pid).collect();
        if !self.await_end_of(supervisors) {
            self.ground.abort();
        }
        self.ground.down();
        let signals = &self.signals;
        descendants::kill_all(
            shim::GRACE,
            |_, _| {},
            || {
                let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, 20u8);
                while let Ok(Some(_)) = signals.read_signal() {}
            },
        );
    }

    fn await_end_of(&mut self, mut supervisors: Vec<Pid>) -> bool {
        let started = Instant::now();
        while !supervisors.is_empty() {
            let ground = &mut self.ground;
            descendants::reap(|pid, status| {
                ground.ended(pid, status);
                supervisors.retain(|&s| s != pid);
            });
            supervisors.retain(|&s| kill(s, None).is_ok());
            if started.elapsed() > shim::GRACE {
                return false;
            }
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, 50u8);
            while let Ok(Some(_)) = self.signals.read_signal() {}
        }
        true
    }
}
