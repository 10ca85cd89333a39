//! The orchestrator's side of an agent's link.

use std::{
    collections::HashMap,
    fmt,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use super::{
    frame::{self, FromAgent, Run, ToAgent},
    shim,
};
use crate::stack::{CommandSpec, Ended, Finished, Mounted, StackError};

/// How much longer than a command's limit its end may take to be reported: twice the grace for killed
/// processes, and what a slow guest takes to say so.
const SLACK: Duration = shim::GRACE
    .saturating_mul(2)
    .saturating_add(Duration::from_secs(14));

type Outcome = Result<Finished, StackError>;

/// Runs commands through an agent; any number of threads may do so at once.
#[derive(Debug)]
pub struct Link {
    writer: Mutex<UnixStream>,
    shared: Arc<Shared>,
    next_id: AtomicU64,
    mounted: Mounted,
}

struct Shared {
    state: Mutex<State>,
    inquest: Mutex<Option<Inquest>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("state", &self.state)
            .finish()
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<u64, SyncSender<Outcome>>,
    /// The lines of commands that have one.
    lines: HashMap<u64, Arc<UnixStream>>,
    /// Why nothing can be run any more.
    over: Option<StackError>,
}

/// Finds out why a volume was really lost, given what is known of it.
type Inquest = Box<dyn Fn(StackError) -> Loss + Send>;

/// Why a volume was lost.
#[derive(Debug)]
pub struct Loss {
    /// What to tell.
    pub why: StackError,
    /// Whether the kernel died that the commands ran on, which is then how they ended.
    pub crashed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment, so a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, why: StackError, except: Option<u64>) {
        // Not under the state's lock: an inquest may take a while.
        let known = self.state().over.is_some();
        let inquest = self.inquest.lock().unwrap_or_else(PoisonError::into_inner);
        let loss = match (&*inquest, &why) {
            (Some(inquest), StackError::Lost(_)) if !known => inquest(why),
            _ => Loss {
                why,
                crashed: false,
            },
        };
        let mut state = self.state();
        let why = state.over.get_or_insert(loss.why).clone();
        state.waiting.retain(|id, waiting| {
            let kept = Some(*id) == except;
            if !kept {
                // The one who waited may have given up.
                let _ = waiting.try_send(match loss.crashed {
                    true => Ok(crashed(&why)),
                    false => Err(why.clone()),
                });
            }
            kept
        });
    }

    fn tell(&self, id: u64, outcome: Outcome) {
        if let Some(waiting) = self.state().waiting.remove(&id) {
            let _ = waiting.try_send(outcome);
        }
    }
}

impl Link {
    /// Takes a link on which an agent is coming up, and waits until it is, at most for `patience`.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] with the agent's own sentence; [`StackError::Lost`] when it ended, or did not
    /// speak in time, and so cannot say why.
    pub fn open(stream: UnixStream, patience: Duration) -> Result<Link, StackError> {
        let silent = |err: io::Error| {
            StackError::Lost(match err.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!(
                    "the volume's agent did not report within {} s that the volume is up",
                    patience.as_secs()
                ),
                _ => format!("the volume's agent ended before the volume was up ({err})"),
            })
        };
        stream.set_read_timeout(Some(patience)).map_err(silent)?;
        let mut reader = stream.try_clone().map_err(silent)?;
        let mounted = match frame::read(&mut reader).map_err(silent)? {
            (FromAgent::Ready(mounted), _) => mounted,
            (FromAgent::Failed(why), _) => return Err(StackError::Unavailable(why)),
            (other, _) => {
                return Err(StackError::Unavailable(format!(
                    "the volume's agent began with {other:?}; report this as a fault of probe9p"
                )));
            }
        };
        stream.set_read_timeout(None).map_err(silent)?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            inquest: Mutex::default(),
        });
        let readers = Arc::clone(&shared);
        thread::Builder::new()
            .name("agent link".into())
            .spawn(move || read_all(&mut reader, &readers))
            .map_err(silent)?;
        Ok(Link {
            writer: Mutex::new(stream),
            shared,
            next_id: AtomicU64::new(1),
            mounted,
        })
    }

    /// What the agent said of the mount.
    pub fn mounted(&self) -> &Mounted {
        &self.mounted
    }

    /// Runs a command and waits for its end.
    ///
    /// # Errors
    /// Why the volume, its agent or the link is gone.
    pub fn run(&self, spec: &CommandSpec) -> Outcome {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = sync_channel(1);
        {
            let mut state = self.shared.state();
            if let Some(over) = &state.over {
                return Err(over.clone());
            }
            state.waiting.insert(id, sender);
            if let Some(line) = &spec.line {
                state.lines.insert(id, Arc::clone(line));
            }
        }
        // If the link is closed its reader finds out, and says why. Before anything is said on the line.
        let _ = self.send(&ToAgent::Run(Box::new(Run::new(id, spec))), b"");
        thread::scope(|scope| {
            if let Some(line) = &spec.line {
                scope.spawn(|| self.relay(id, line));
            }
            let outcome = self.wait(spec, &receiver);
            if let Some(line) = &spec.line {
                // Also ends the relay.
                let _ = line.shutdown(std::net::Shutdown::Both);
                self.shared.state().lines.remove(&id);
            }
            outcome
        })
    }

    /// Passes on what is said to a command on its line, until that is shut down, and that it is: by words without any.
    fn relay(&self, id: u64, mut line: &UnixStream) {
        let mut buffer = [0; 65536];
        loop {
            match line.read(&mut buffer) {
                Ok(n) => {
                    if self.send(&ToAgent::Say(id), &buffer[..n]).is_err() || n == 0 {
                        return;
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn wait(&self, spec: &CommandSpec, receiver: &Receiver<Outcome>) -> Outcome {
        match receiver.recv_timeout(spec.limit.saturating_add(SLACK)) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let why = StackError::Lost(format!(
                    "the volume's agent did not report the end of a command within {} s after its limit",
                    SLACK.as_secs()
                ));
                self.lose(&why);
                Err(self.over().unwrap_or(why))
            }
        }
    }

    /// Ends every command that waits, and refuses new ones, for this reason.
    pub fn lose(&self, why: &StackError) {
        self.shared.lose(why.clone(), None);
    }

    /// Before a loss is told, `inquest` may replace what is told.
    pub fn on_loss(&self, inquest: impl Fn(StackError) -> Loss + Send + 'static) {
        let held = self.shared.inquest.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = Some(Box::new(inquest));
    }

    /// Whether nothing can be run any more, and why.
    pub fn over(&self) -> Option<StackError> {
        self.shared.state().over.clone()
    }

    /// Tells the agent to kill everything, bring the volume down and exit.
    pub fn stop(&self) {
        let _ = self.send(&ToAgent::Stop, b"");
    }

    /// Closes the link, as the end of this process would.
    pub fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.shutdown(std::net::Shutdown::Both);
    }

    fn send(&self, frame: &ToAgent, body: &[u8]) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write(&mut *writer, frame, body)
    }
}

fn crashed(why: &StackError) -> Finished {
    Finished {
        ended: Ended::Crashed,
        stdout: Vec::new(),
        stderr: format!("probe9p: {why}\n").into_bytes(),
        duration: Duration::ZERO,
        trace: None,
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

fn read_all(reader: &mut UnixStream, shared: &Shared) {
    loop {
        match frame::read(reader) {
            Ok((FromAgent::Ended(end), body)) => {
                let id = end.id;
                shared.tell(id, Ok(end.unpack(body)));
            }
            Ok((FromAgent::Said(id), words)) => {
                let line = shared.state().lines.get(&id).map(Arc::clone);
                // Whoever was at its other end may be gone; the command hears of it by the silence.
                let _ = line.map(|line| (&*line).write_all(&words));
            }
            Ok((FromAgent::Lost { why, except }, _)) => {
                shared.lose(StackError::Lost(why), except);
            }
            Ok((FromAgent::Ready(_) | FromAgent::Failed(_), _)) => {}
            Err(err) => {
                let why = format!("the volume's agent is gone ({err})");
                return shared.lose(StackError::Lost(why), None);
            }
        }
    }
}
