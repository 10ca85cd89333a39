//! Memory of large frames, used again.
//!
//! The allocator gives memory of this size back to the kernel, and the page faults of getting it anew cost more than
//! copying half a mebibyte. So what a large frame was in is kept for the next.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::MSIZE_MAX;

/// Frames below this size, bytes, are the allocator's business.
const LARGE: usize = 64 << 10;

/// Frames kept at most; each takes at most twice the largest message.
const KEPT: usize = 16;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn spare() -> MutexGuard<'static, Vec<Vec<u8>>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An empty vector with room for so many bytes.
pub fn take(capacity: usize) -> Vec<u8> {
    if capacity >= LARGE {
        let mut spare = spare();
        if let Some(index) = spare.iter().rposition(|frame| frame.capacity() >= capacity) {
            return spare.swap_remove(index);
        }
    }
    Vec::with_capacity(capacity)
}

/// Takes back what is no longer needed.
pub fn give(mut frame: Vec<u8>) {
    if (LARGE..=2 * MSIZE_MAX as usize).contains(&frame.capacity()) {
        frame.clear();
        let mut spare = spare();
        if spare.len() < KEPT {
            spare.push(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_had_again_empty_and_large_enough() {
        let size = LARGE + 4321;
        let mut frame = take(size);
        frame.resize(size, 7);
        give(frame);
        let again = take(size);
        assert!(again.is_empty() && again.capacity() >= size);
    }

    #[test]
    fn no_more_is_kept_than_is_allowed() {
        for _ in 0..3 * KEPT {
            give(Vec::with_capacity(LARGE));
        }
        give(Vec::with_capacity(3 * MSIZE_MAX as usize));
        let spare = spare();
        assert!(spare.len() <= KEPT);
        assert!(
            spare
                .iter()
                .all(|frame| frame.capacity() <= 2 * MSIZE_MAX as usize)
        );
    }
}
