//! How much slower than the host the world is that a volume's cases run in, so that time limits mean the same there.
//!
//! A guest's processor is emulated, or traps into its host for every system call, and several cases at once share the
//! one that it has. How much that costs depends on the machine and on what else it does, so it is measured when the
//! volume is up: the same short command, which starts processes as scripts do, on both sides.

use std::{ffi::OsString, time::Duration};

use server9p::stack::{CommandSpec, Ended};

use super::{
    side::Side,
    volume::{Client, Volume},
};

/// What is run on both sides: starting a process and computing cost a guest different amounts, and scripts do both.
const WORK: &str =
    "i=0; while [ $i -lt 4000 ]; do i=$((i + 1)); [ $((i % 200)) != 0 ] || /bin/true; done";
/// How long that may take; a guest that takes longer is as slow as can be.
const LIMIT: Duration = Duration::from_secs(60);
/// Beyond this it is not the guest that is slow: limits would no longer end what hangs.
const MOST: f64 = 40.0;

/// How many times longer than natively a command may take where the volume is, with so many cases at once.
pub fn measure(client: Client, up: &Volume, jobs: usize) -> f64 {
    // What guests of their kind take at least, when the machine has nothing else to do.
    let least = match client {
        Client::Qemu => 4.0,
        Client::Uml => 3.0,
        Client::Auto | Client::Fuse | Client::Kernel => return 1.0,
    };
    let natively = time(&up.native);
    let there = time(&up.volume);
    of(least, natively, there, jobs)
}

/// What two times of the same work say, of which one may be missing.
fn of(least: f64, natively: Option<Duration>, there: Option<Duration>, jobs: usize) -> f64 {
    let ratio = match (natively, there) {
        // The limit has passed.
        (Some(_), None) => MOST,
        (Some(natively), Some(there)) => {
            there.as_secs_f64() / natively.as_secs_f64().max(1e-4) * jobs as f64
        }
        (None, _) => least,
    };
    ratio.clamp(least, MOST)
}

/// How long the work takes on a side; nothing when it does not get done.
fn time(side: &Side) -> Option<Duration> {
    let words = ["/bin/sh", "-c", WORK].map(OsString::from);
    let finished = side.world.run(&CommandSpec::new(words, "/").limit(LIMIT));
    finished
        .ok()
        .filter(|finished| finished.ended == Ended::Code(0))
        .map(|finished| finished.duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow_with_what_was_measured_and_never_shrink() {
        let ms = |count| Some(Duration::from_millis(count));
        assert_eq!(of(4.0, ms(20), ms(300), 1), 15.0);
        assert_eq!(of(4.0, ms(20), ms(300), 2), 30.0);
        assert_eq!(of(4.0, ms(20), ms(20), 2), 4.0);
        assert_eq!(of(4.0, ms(1), ms(900), 1), MOST);
        assert_eq!(of(4.0, ms(20), None, 1), MOST);
        assert_eq!(of(4.0, None, ms(20), 1), 4.0);
    }
}
