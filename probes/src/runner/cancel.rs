//! Ending a run early: on SIGINT or SIGTERM, or because its results can no longer be written.

use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicBool, Ordering},
};

use server9p::stack::World;

/// Whether a run shall end now, and the worlds that must be told.
#[derive(Default)]
pub struct Cancel {
    asked: AtomicBool,
    worlds: Mutex<Vec<Weak<dyn World>>>,
}

impl Cancel {
    /// Ends the run: no further case starts, and what runs is killed. Only the first call does anything.
    pub fn cancel(&self) {
        if self.asked.swap(true, Ordering::SeqCst) {
            return;
        }
        // Taken out of the lock first: a world may take its time.
        let worlds = std::mem::take(&mut *self.worlds.lock().expect("no holder panics"));
        for world in worlds.iter().filter_map(Weak::upgrade) {
            world.stop();
        }
    }

    /// Whether the run shall end.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Names a world that is to be stopped with the run; if the run has been ended already, it is now.
    pub fn watch(&self, world: &Arc<dyn World>) {
        self.worlds
            .lock()
            .expect("no holder panics")
            .push(Arc::downgrade(world));
        if self.asked() {
            world.stop();
        }
    }
}
