//! Waiting for the next request without going to sleep.
//!
//! A processor that has nothing to do sleeps, and to be woken takes it several times as long as most requests take to
//! be carried out. So a session whose client answers quickly looks for the next request a short while before it
//! waits. It gives the processor away between two looks, and where others want it, that is what it does most.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{io::Errno, net::RecvFlags};

/// How long to look for a request at most. A client that is woken by a reply asks again within it.
const LOOK: Duration = Duration::from_micros(60);

/// Threads that look at this moment.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

/// How many may: a processor is left to the clients, so that where there is but one nobody does.
fn places() -> usize {
    static PLACES: OnceLock<usize> = OnceLock::new();
    *PLACES.get_or_init(|| thread::available_parallelism().map_or(0, |count| count.get() - 1))
}

/// Whether it has been worth while.
#[derive(Debug, Default)]
pub(super) struct Spin {
    /// The last wait was a short one.
    quick: bool,
}

impl Spin {
    /// What `receive` comes back with; with DONTWAIT it says EAGAIN where nothing is there yet.
    pub fn receive(
        &mut self,
        mut receive: impl FnMut(RecvFlags) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        if self.quick
            && let Some(_place) = Place::take()
        {
            let until = Instant::now() + LOOK;
            loop {
                match receive(RecvFlags::DONTWAIT) {
                    Err(Errno::AGAIN) if Instant::now() < until => thread::yield_now(),
                    Err(Errno::AGAIN) => break,
                    found => return found,
                }
            }
        }
        let begun = Instant::now();
        let found = receive(RecvFlags::empty());
        self.quick = begun.elapsed() < LOOK;
        found
    }
}

/// One of the places.
struct Place;

impl Place {
    fn take() -> Option<Place> {
        let one_more = |looking| (looking < places()).then(|| looking + 1);
        LOOKING
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
            .then(|| Place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        LOOKING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_look_than_there_are_places() {
        let taken: Vec<Place> = std::iter::from_fn(Place::take).take(64).collect();
        assert!(taken.len() <= places());
        assert!(Place::take().is_none() || taken.len() < places());
        drop(taken);
        assert_eq!(LOOKING.load(Ordering::Relaxed), 0);
    }
}
