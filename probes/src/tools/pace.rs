//! Whether a volume is much slower than a local directory: by turns, several times, judged by the whole interval.
//!
//! Both places are on the same machine, a guest's own memory for a guest's volume, so that a slow processor counts on
//! both sides (an emulated one does not equally, see [`emulated`](super::emulated)); and each turn's two runs follow one another, so that what else the machine does counts on both. One
//! slow turn proves nothing: where the turns are not of one mind, more are taken and the outermost left out, and only
//! when all that remain take more than ten times as long is speed lost. Where other work kept the processors busy all the
//! while, nothing can be said: each request to a volume passes through several processes, and each of them waits its turn,
//! which a local directory is spared.

use std::{
    fmt, fs, io,
    time::{Duration, Instant},
};

/// How many turns are taken at first, and how many at most.
const TURNS: [usize; 2] = [3, 7];
/// How many runs that makes at most.
pub const RUNS: u32 = 2 * TURNS[1] as u32;
/// How many times slower is slow.
const SLOW: f64 = 10.0;

/// The share of the time in which some process waited for a processor, above which a machine is too busy to tell.
const BUSY: f64 = 0.5;

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
    /// In the fastest turn that counts.
    low: f64,
    /// In the slowest one.
    high: f64,
    turns: usize,
    /// The share of the time in which processes waited for a processor; 0 where the kernel does not count that.
    waited: f64,
}

/// Measures both places by turns; `measure` is given the place and the turn's number, from 0.
pub fn by_turns(mut measure: impl FnMut(Place, usize) -> io::Result<Duration>) -> io::Result<Pace> {
    let mut ratios = Vec::new();
    let (began, waited) = (Instant::now(), waited());
    loop {
        let turn = ratios.len();
        let local = measure(Place::Local, turn)?;
        let here = measure(Place::Here, turn)?;
        // Nothing takes no time at all.
        ratios.push(here.as_secs_f64() / local.as_secs_f64().max(1e-6));
        let pace = Pace::of(&ratios);
        let decided = pace.seems_slow() || pace.high <= SLOW;
        if ratios.len() >= TURNS[1] || ratios.len() >= TURNS[0] && decided {
            let share = self::waited().saturating_sub(waited).as_secs_f64()
                / began.elapsed().as_secs_f64().max(1e-6);
            return Ok(Pace {
                waited: share,
                ..pace
            });
        }
    }
}

/// For how long, since the machine was started, some process that could have run had no processor (Linux's pressure stall
/// information).
fn waited() -> Duration {
    let text = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let some = text.lines().find(|line| line.starts_with("some "));
    let total = some.and_then(|line| line.split_once("total=")?.1.trim().parse().ok());
    Duration::from_micros(total.unwrap_or(0))
}

impl Pace {
    /// Of the turns' ratios, of which there is one at least.
    fn of(ratios: &[f64]) -> Self {
        let mut sorted = ratios.to_vec();
        sorted.sort_by(f64::total_cmp);
        let out = sorted.len().saturating_sub(TURNS[0]).div_ceil(2);
        let counted = &sorted[out..sorted.len() - out];
        Pace {
            low: counted.first().copied().unwrap_or_default(),
            high: counted.last().copied().unwrap_or_default(),
            turns: sorted.len(),
            waited: 0.0,
        }
    }

    /// Whether it is more than ten times slower over the whole interval, on a machine that could tell.
    pub fn is_slow(&self) -> bool {
        self.seems_slow() && self.waited <= BUSY
    }

    /// Whether it took more than ten times as long over the whole interval, for whatever reason.
    pub fn seems_slow(&self) -> bool {
        self.low > SLOW
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pace {
            low, high, turns, ..
        } = self;
        write!(
            f,
            "{low:.0} to {high:.0} times slower than in a local directory of the same machine (in {turns} turns)"
        )?;
        if self.waited > BUSY {
            write!(
                f,
                ", which was too busy to tell: processes waited for a processor {:.0} % of the time",
                100.0 * self.waited.min(1.0)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pace of turns that take so many milliseconds on the volume, and ten locally; and how many were taken.
    /// The machine is taken to be idle.
    fn pace(here: &[u64]) -> (Pace, usize) {
        let mut turns = 0;
        let measured = by_turns(|place, turn| {
            turns = turn + 1;
            Ok(Duration::from_millis(match place {
                Place::Local => 10,
                Place::Here => here[turn],
            }))
        });
        let measured = measured.expect("nothing fails");
        let idle = Pace {
            waited: 0.0,
            ..measured
        };
        (idle, turns)
    }

    #[test]
    fn only_the_whole_interval_makes_it_slow() {
        let (slow, turns) = pace(&[130, 125, 190]);
        assert!(slow.is_slow() && turns == 3, "{slow:?}");
        let (fast, turns) = pace(&[30, 25, 90]);
        assert!(!fast.is_slow() && turns == 3, "{fast:?}");
        let text = pace(&[132, 150, 190]).0.to_string();
        assert!(text.starts_with("13 to 19 times slower"), "{text}");
        let busy = Pace {
            waited: 0.9,
            ..slow
        };
        assert!(!busy.is_slow() && busy.to_string().ends_with("90 % of the time"));
    }

    #[test]
    fn turns_that_disagree_are_followed_by_more() {
        // One turn in which something else went on.
        let (slow, turns) = pace(&[300, 40, 310, 290, 300, 300, 300]);
        assert!(slow.is_slow() && turns == 4, "{slow:?} {turns}");
        let (fast, turns) = pace(&[30, 400, 31, 29, 30]);
        assert!(!fast.is_slow() && turns == 4, "{fast:?} {turns}");
        // What stays about ten is not shown to be slow.
        let (about, turns) = pace(&[95, 105, 90, 110, 100, 120, 80]);
        assert!(!about.is_slow() && turns == 7, "{about:?} {turns}");
    }
}
