//! The processes of a volume that is up, and the volume that comes up anew when they are lost.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    StackError,
    agent::link::{Link, Loss},
    process::Helper,
};

/// How long a volume may take to come down before it is killed.
const FAREWELL: Duration = Duration::from_secs(8);
/// How long the death that others died of may take to be seen.
const INQUEST: Duration = Duration::from_millis(200);

/// A server process with its life line: it does not outlive that.
pub type Served = (Helper, Arc<OwnedFd>);

/// The processes of a volume that is up.
#[derive(Debug)]
pub struct Live {
    /// To the agent.
    pub link: Arc<Link>,
    /// What the agent lives in or under.
    keeper: Arc<Mutex<Helper>>,
    server: Option<Arc<Mutex<Helper>>>,
    life: Mutex<Option<Arc<OwnedFd>>>,
    ending: Arc<AtomicBool>,
}

impl Live {
    /// The process in whose mount namespace the volume's directory is served.
    pub fn server_process(&self) -> u32 {
        lock(self.server.as_ref().unwrap_or(&self.keeper)).pid()
    }

    /// Watches over an agent, or the guest that it runs in, and its server. With `guest` the commands of a
    /// dead keeper count as crashed: a kernel died under them.
    pub fn new(link: Link, keeper: Helper, served: Option<Served>, guest: bool) -> Live {
        let (server, life) = served.unzip();
        let live = Live {
            link: Arc::new(link),
            keeper: Arc::new(Mutex::new(keeper)),
            server: server.map(|server| Arc::new(Mutex::new(server))),
            life: Mutex::new(life),
            ending: Arc::default(),
        };
        live.watch(guest);
        live
    }

    /// Process ids, by what they are.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let helpers = self.server.iter().chain([&self.keeper]);
        helpers
            .map(|helper| {
                let helper = lock(helper);
                (helper.what(), helper.pid())
            })
            .collect()
    }

    /// Sees to it that a death is told at once, and that what is told is whose it was: the others die of it.
    fn watch(&self, guest: bool) {
        let (server, keeper) = (self.server.clone(), Arc::clone(&self.keeper));
        self.link.on_loss(move |told| {
            let lost = |why, crashed| Loss {
                why: StackError::Lost(format!("the volume is lost: {why}")),
                crashed,
            };
            if let Some(server) = &server {
                let mut server = lock(server);
                // One that exits well does so because its connection ended: another died.
                if server.wait(INQUEST) && !server.succeeded() {
                    return lost(server.obituary(), false);
                }
            }
            let mut keeper = lock(&keeper);
            if keeper.wait(INQUEST) {
                return lost(keeper.obituary(), guest);
            }
            Loss {
                why: told,
                crashed: false,
            }
        });
        let Some(server) = self.server.clone() else {
            return;
        };
        let Ok(ended) = lock(&server).pidfd().try_clone() else {
            return;
        };
        let (link, ending) = (Arc::clone(&self.link), Arc::clone(&self.ending));
        thread::spawn(move || {
            let mut fds = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
            while poll(&mut fds, PollTimeout::NONE).is_err() {}
            if ending.load(Ordering::Acquire) {
                return;
            }
            if lock(&server).succeeded() {
                // The agent knows why the connection ended, and is about to say so.
                let _ = poll(&mut [], PollTimeout::from(1000u16));
            }
            if !ending.load(Ordering::Acquire) && link.over().is_none() {
                let obituary = lock(&server).obituary();
                link.lose(&StackError::Lost(format!("the volume is lost: {obituary}")));
            }
            link.close();
        });
    }

    /// Brings everything down, in order, and by force what does not come.
    pub fn end(&self) {
        if self.ending.swap(true, Ordering::AcqRel) {
            return;
        }
        self.link.stop();
        // How they ended no longer matters.
        let _ = lock(&self.keeper).finish(FAREWELL);
        self.link.close();
        lock(&self.life).take();
        if let Some(server) = &self.server {
            let _ = lock(server).finish(FAREWELL);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}

/// A volume that is brought up when it is needed, again when it was lost, and never more once it was stopped.
#[derive(Debug, Default)]
pub struct Revived {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Arc<Live>>,
    stopped: bool,
    /// How many that were brought up are no more, those that are known to be lost apart.
    ended: u64,
}

impl Revived {
    /// The volume that is up, brought up with `bring_up` if none is.
    ///
    /// # Errors
    /// Those of `bring_up`; [`StackError::Cancelled`] after [`Revived::stop`].
    pub fn live(
        &self,
        bring_up: impl FnOnce() -> Result<Live, StackError>,
    ) -> Result<Arc<Live>, StackError> {
        let mut state = lock(&self.state);
        if state.stopped {
            return Err(StackError::Cancelled);
        }
        if let Some(live) = &state.live
            && live.link.over().is_none()
        {
            return Ok(Arc::clone(live));
        }
        // Down first: two servers of one export would see each other's changes late.
        if let Some(old) = state.live.take() {
            state.ended += 1;
            old.end();
        }
        let live = Arc::new(bring_up()?);
        state.live = Some(Arc::clone(&live));
        Ok(live)
    }

    /// The volume, if it is up.
    pub fn current(&self) -> Option<Arc<Live>> {
        lock(&self.state).live.clone()
    }

    /// Ends its commands as cancelled, and refuses new ones.
    pub fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        if let Some(live) = &state.live {
            live.link.lose(&StackError::Cancelled);
            live.link.stop();
        }
    }

    /// Brings it down.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        if let Some(live) = state.live.take() {
            state.ended += 1;
            live.end();
        }
    }

    /// How many times it went down or was lost.
    pub fn losses(&self) -> u64 {
        let state = lock(&self.state);
        let lost = (state.live.as_ref()).is_some_and(|live| live.link.over().is_some());
        state.ended + u64::from(lost)
    }
}

/// A mutex's content. What is guarded here is whole between any two statements, so a panic elsewhere does no
/// harm.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
