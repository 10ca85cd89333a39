//! Whether a volume is much slower than a local directory: by turns, several times, judged by the whole interval.
//!
//! Both places are on the same machine, a guest's own memory for a guest's volume, so that a slow processor counts on
//! both sides. One slow run proves nothing; only when the volume's fastest run takes more than ten times as long as the
//! slowest local one is speed lost.

use std::{fmt, io, time::Duration};

/// How often each place is measured.
const ROUNDS: u32 = 3;
/// How many runs that makes.
pub const RUNS: u32 = 2 * ROUNDS;
/// How many times slower is slow.
const SLOW: f64 = 10.0;

/// Where a run is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a local directory.
    Local,
    /// On the volume.
    Here,
}

/// How many times slower the volume is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The volume's fastest run against the slowest local one.
    low: f64,
    /// The volume's slowest run against the fastest local one.
    high: f64,
}

/// Measures both places by turns.
pub fn by_turns(mut measure: impl FnMut(Place, u32) -> io::Result<Duration>) -> io::Result<Pace> {
    let (mut local, mut here) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        local.push(measure(Place::Local, round)?);
        here.push(measure(Place::Here, round)?);
    }
    Ok(Pace::of(&local, &here))
}

impl Pace {
    fn of(local: &[Duration], here: &[Duration]) -> Self {
        let seconds = |times: &[Duration]| {
            let least = times.iter().min().map_or(0.0, Duration::as_secs_f64);
            (least, times.iter().max().map_or(0.0, Duration::as_secs_f64))
        };
        let (local, here) = (seconds(local), seconds(here));
        // Nothing takes no time at all.
        Pace {
            low: here.0 / local.1.max(1e-6),
            high: here.1 / local.0.max(1e-6),
        }
    }

    /// Whether it is more than ten times slower over the whole interval.
    pub fn is_slow(&self) -> bool {
        self.low > SLOW
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pace { low, high } = self;
        write!(
            f,
            "{low:.0} to {high:.0} times slower than in a local directory of the same machine ({ROUNDS} runs of each, by turns)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_interval_makes_it_slow() {
        let ms = |times: &[u64]| -> Vec<Duration> {
            times.iter().map(|ms| Duration::from_millis(*ms)).collect()
        };
        assert!(Pace::of(&ms(&[10, 12, 11]), &ms(&[130, 125, 190])).is_slow());
        assert!(!Pace::of(&ms(&[10, 13, 11]), &ms(&[130, 125, 190])).is_slow());
        assert!(!Pace::of(&ms(&[10, 10, 10]), &ms(&[900, 90, 900])).is_slow());
        let text = Pace::of(&ms(&[10, 12, 11]), &ms(&[132, 150, 190])).to_string();
        assert!(text.starts_with("11 to 19 times slower"), "{text}");
    }
}
