//! The second process of a case: forked, talked to through a socket pair, and joined with its failure.
//!
//! Two-process cases order their steps by messages, never by time. A side that ends early closes its end
//! of the pair, so the other one hears of it at once instead of waiting for the case's limit.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    panic::{AssertUnwindSafe, catch_unwind},
};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid},
};

use super::{
    needs::become_user,
    stop::{Call, CaseOutcome, Stop},
};

/// One end of the talk between the two processes of a case.
pub struct Peer(UnixStream);

impl Peer {
    /// Tells the other side that a step is done.
    pub fn tell(&mut self) -> CaseOutcome {
        self.0
            .write_all(b".")
            .call("write", "to the case's other process")
    }

    /// Waits until the other side has said that its step is done.
    pub fn hear(&mut self) -> CaseOutcome {
        self.0
            .read_exact(&mut [0])
            .map_err(|_| Stop::broken("read", "the case's other process ended early"))
    }
}

/// The second process of a case. Dropped without [`Other::join`], it is killed and reaped.
pub struct Other {
    pid: Option<Pid>,
    peer: Peer,
}

/// Runs `body` in a forked process. The case's process has one thread, so any code may run there.
pub fn fork(body: impl FnOnce(&mut Peer) -> CaseOutcome) -> CaseOutcome<Other> {
    let (ours, theirs) = UnixStream::pair().call("socketpair", "")?;
    // SAFETY: a case's process has a single thread, so the child may allocate and lock as it likes.
    match unsafe { nix::unistd::fork() }.call("fork", "")? {
        ForkResult::Parent { child } => Ok(Other {
            pid: Some(child),
            peer: Peer(ours),
        }),
        ForkResult::Child => {
            drop(ours);
            // A case that is killed at its limit takes its second process along.
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            let mut peer = Peer(theirs);
            let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut peer)))
                .unwrap_or_else(|panic| Err(Stop::broken("panic", super::child::said(&*panic))));
            let code = match outcome {
                Ok(()) => 0,
                Err(stop) => {
                    let message = serde_json::to_vec(&stop).unwrap_or_default();
                    let _ = peer
                        .0
                        .write_all(b"!")
                        .and_then(|()| peer.0.write_all(&message));
                    1
                }
            };
            // SAFETY: leaves without running destructors that belong to the parent.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Runs `body` as the user and group `id` and waits for it. Nothing is left of the caller's groups.
pub fn as_user(id: u32, body: impl FnOnce() -> CaseOutcome) -> CaseOutcome {
    fork(|_| {
        become_user(id).call("setresuid", id)?;
        body()
    })?
    .join()
}

impl Other {
    /// Tells the second process that a step is done.
    pub fn tell(&mut self) -> CaseOutcome {
        self.peer.tell()
    }

    /// Waits for the second process's next step; if it stopped instead, its reason is returned.
    pub fn hear(&mut self) -> CaseOutcome {
        let mut byte = [0];
        match self.peer.0.read_exact(&mut byte) {
            Ok(()) if byte == *b"." => Ok(()),
            Ok(()) => Err(self.reason()),
            Err(_) => Err(self.ended()),
        }
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid.map_or(0, Pid::as_raw)
    }

    /// Waits until the process sleeps in a system call: after its last [`Peer::tell`], it blocks.
    pub fn wait_until_blocked(&self) -> CaseOutcome {
        loop {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))
                .call("read", "/proc/PID/stat")?;
            // The state follows the parenthesised name, which may itself hold a parenthesis.
            match stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.chars().next())
            {
                Some('S' | 'D') => return Ok(()),
                Some('Z' | 'X') | None => {
                    return Err(Stop::broken("fork", "the case's other process ended early"));
                }
                Some(_) => std::thread::yield_now(),
            }
        }
    }

    /// Waits for the end and returns the process's own outcome; a death by signal is a failure.
    pub fn join(mut self) -> CaseOutcome {
        match self.end()? {
            WaitStatus::Exited(_, 0) => Ok(()),
            status => Err(Stop::broken(
                "waitpid",
                format!("the case's other process ended with {status:?}"),
            )),
        }
    }

    fn status(&mut self) -> CaseOutcome<WaitStatus> {
        let pid = self
            .pid
            .take()
            .ok_or_else(|| Stop::broken("waitpid", "waited for twice"))?;
        waitpid(pid, None).call("waitpid", pid)
    }

    /// Waits for the end that a signal may bring: the process's own reason first, when it had one.
    pub fn end(&mut self) -> CaseOutcome<WaitStatus> {
        let mut byte = [0];
        while self.peer.0.read_exact(&mut byte).is_ok() {
            if byte != *b"." {
                return Err(self.reason());
            }
        }
        self.status()
    }

    /// Kills the process and reaps it.
    pub fn kill(mut self) -> CaseOutcome {
        if let Some(pid) = self.pid {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).call("kill", pid)?;
            self.status()?;
        }
        Ok(())
    }

    fn reason(&mut self) -> Stop {
        let mut message = Vec::new();
        let _ = self.peer.0.read_to_end(&mut message);
        serde_json::from_slice(&message)
            .unwrap_or_else(|_| Stop::broken("fork", "the case's other process lost its reason"))
    }

    fn ended(&mut self) -> Stop {
        match self.status() {
            Ok(status) => Stop::broken(
                "fork",
                format!("the case's other process ended early: {status:?}"),
            ),
            Err(stop) => stop,
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }
}
