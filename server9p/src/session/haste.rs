//! Whether the session's own thread moves large data through shared memory, and lists large directories, itself.
//!
//! Between page cache and shared memory that takes some tens of microseconds, about as long as to wake another thread for
//! it, and a directory of some thousand entries a few hundred. Where it took longer, the disk was waited for, and the
//! session would be deaf meanwhile: so the next go to other threads.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// What takes longer than this has waited.
const BRIEF: Duration = Duration::from_millis(1);

/// How many go to other threads then.
const PENANCE: u32 = 64;

/// What the last ones took.
#[derive(Debug, Default)]
pub(super) struct Haste {
    penance: AtomicU32,
}

impl Haste {
    /// Whether the next may be done at once.
    pub fn pays(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.penance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_err()
    }

    /// One that was done at once took so long.
    pub fn took(&self, time: Duration) {
        if time > BRIEF {
            self.penance.store(PENANCE, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_wait_others_do_it_for_a_while() {
        let haste = Haste::default();
        haste.took(BRIEF);
        assert!(haste.pays() && haste.pays());
        haste.took(2 * BRIEF);
        assert!((0..PENANCE).all(|_| !haste.pays()));
        assert!(haste.pays());
    }
}
