//! Whether to look for the next message for a moment before sleeping.
//!
//! A client that asks one thing after another has its next request ready some microseconds after a reply, and a server
//! that has no disk to wait for its reply as soon. To be woken takes longer than that: an interrupt to a processor that
//! has gone to sleep. So who was not kept waiting the last time looks, for as long as such a wake takes or a reply to a
//! large request, and sleeps then. Whoever else wants the processor has it at once, since every look ends by yielding; and
//! where somebody did want it, the next many waits are slept through. On a single processor, which is the other side's
//! too, nobody looks.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long is looked for a request at most: about what it costs to sleep and be woken.
const FOR_REQUEST: Duration = Duration::from_micros(50);

/// How long is looked for a reply at most: about what a server takes to move a mebibyte between memory and page cache.
const FOR_REPLY: Duration = Duration::from_micros(300);

/// What sleeping and being woken may take: a wait that was no longer than a look and this promises that the next is short,
/// too.
const WAKE: Duration = Duration::from_micros(70);

/// A yield that takes longer than this has run somebody else.
const ALONE: Duration = Duration::from_micros(10);

/// How many waits are slept through after that.
const PENANCE: u32 = 16;

/// How many in this process look at the moment.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

/// What one side has seen of the other and of the processor.
#[derive(Debug)]
pub(crate) struct Patience {
    /// How many may look at once: one processor is left to others.
    most: usize,
    /// How long is looked at most.
    longest: Duration,
    /// Whether the last wait was short.
    quick: bool,
    /// Waits still to be slept through.
    penance: u32,
}

impl Patience {
    /// A server's with its client.
    pub fn for_requests() -> Patience {
        Patience::on(processors(), FOR_REQUEST)
    }

    /// A client's with its server.
    pub fn for_replies() -> Patience {
        Patience::on(processors(), FOR_REPLY)
    }

    fn on(processors: usize, longest: Duration) -> Patience {
        Patience {
            most: processors - 1,
            longest,
            quick: false,
            penance: 0,
        }
    }

    /// Never looks.
    pub fn none() -> Patience {
        Patience::on(1, Duration::ZERO)
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
                // It may have been the other side, which then has had its say.
                let found = look();
                if found.is_none() {
                    self.penance = PENANCE;
                }
                break found;
            }
            if now - begun > self.longest {
                break None;
            }
            before = now;
        };
        LOOKING.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// A wait has taken so long.
    pub fn waited(&mut self, time: Duration) {
        self.quick = time < self.longest + WAKE;
    }
}

/// The processors that this process may use.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(20);
    const SLOW: Duration = Duration::from_millis(20);

    #[test]
    fn only_after_a_quick_client_and_never_on_a_single_processor() {
        let mut patience = Patience::on(2, FOR_REQUEST);
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
        let mut patience = Patience::on(2, FOR_REQUEST);
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
