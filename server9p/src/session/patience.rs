//! Whether to look for the next request for a moment before sleeping.
//!
//! A client that asks one thing after another has its next request ready some microseconds after a reply, and to be
//! woken takes longer than that: an interrupt to a processor that has gone to sleep. So a session whose client was
//! quick the last time looks, for as long as such a wake takes, and sleeps then. Whoever else wants the processor has
//! it at once, since every look ends by yielding; and where somebody did want it, the session sleeps the next many
//! times. On a single processor, which is the client's too, nobody looks.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long is looked at most: about what it costs to sleep and be woken.
const LONGEST: Duration = Duration::from_micros(50);

/// A wait that was shorter than this, wake included, promises that the next is short, too.
const SHORT: Duration = Duration::from_micros(120);

/// A yield that takes longer than this has run somebody else.
const ALONE: Duration = Duration::from_micros(10);

/// How many waits are slept through after that.
const PENANCE: u32 = 256;

/// Sessions of this process that look at the moment.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

/// What a session has seen of its client and of the processor.
#[derive(Debug)]
pub(super) struct Patience {
    /// Sessions that may look at once: one processor is left to others.
    most: usize,
    /// Whether the last wait was short.
    quick: bool,
    /// Waits still to be slept through.
    penance: u32,
}

impl Patience {
    pub fn new() -> Patience {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Patience::on(processors)
    }

    fn on(processors: usize) -> Patience {
        Patience {
            most: processors - 1,
            quick: false,
            penance: 0,
        }
    }

    /// Never looks.
    pub fn none() -> Patience {
        Patience::on(1)
    }

    /// Whether to look this time.
    fn pays(&mut self) -> bool {
        if self.penance > 0 {
            self.penance -= 1;
            return false;
        }
        self.quick && self.most > 0
    }

    /// Looks until there is something, or until it is time to sleep: `None` then.
    pub fn look<T>(&mut self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        if !self.pays() {
            return None;
        }
        if LOOKING.fetch_add(1, Ordering::Relaxed) >= self.most {
            LOOKING.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let begun = Instant::now();
        let mut before = begun;
        let found = loop {
            if let Some(found) = look() {
                break Some(found);
            }
            rustix::thread::sched_yield();
            let now = Instant::now();
            if now - before > ALONE {
                self.penance = PENANCE;
                break look();
            }
            if now - begun > LONGEST {
                break None;
            }
            before = now;
        };
        LOOKING.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// A wait has taken so long.
    pub fn waited(&mut self, time: Duration) {
        self.quick = time < SHORT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(20);
    const SLOW: Duration = Duration::from_millis(20);

    #[test]
    fn only_after_a_quick_client_and_never_on_a_single_processor() {
        let mut patience = Patience::on(2);
        assert!(!patience.pays(), "nothing is known of the client yet");
        patience.waited(QUICK);
        assert!(patience.pays());
        patience.waited(SLOW);
        assert!(!patience.pays());
        let mut alone = Patience::none();
        alone.waited(QUICK);
        assert!(!alone.pays());
    }

    #[test]
    fn who_was_in_the_way_of_others_sleeps_for_many_waits() {
        let mut patience = Patience::on(2);
        patience.waited(QUICK);
        let mut slow = || {
            // As a yield does that runs somebody else.
            let begun = Instant::now();
            while begun.elapsed() < 2 * ALONE {}
            None::<()>
        };
        assert_eq!(patience.look(&mut slow), None);
        for _ in 0..PENANCE {
            patience.waited(QUICK);
            assert!(!patience.pays());
        }
        assert!(patience.pays());
    }
}
