//! The statistics of measured rates.
//!
//! The interval of a median is of order statistics, so it supposes nothing of how rates are distributed:
//! for n samples the k-th smallest and the k-th largest enclose the true median with the probability
//! 1 − 2·P(Binomial(n, ½) < k), and the greatest k for which that is still 95 % is taken
//! (Le Boudec, "Performance Evaluation of Computer and Communication Systems", table A.1).

use std::time::Duration;

use crate::{Latency, Samples};

/// Fewest samples whose smallest and largest enclose the median with 95 %.
pub const FEWEST: usize = 6;

impl Samples {
    /// What the rates say, in the order measured. With fewer than [`FEWEST`] the interval is from the smallest
    /// to the largest, which is less than 95 %. Rates that are not finite are left out; without any rate all is 0.
    pub fn of(rates: impl IntoIterator<Item = f64>) -> Self {
        let rates: Vec<f64> = rates.into_iter().filter(|r| r.is_finite()).collect();
        let mut sorted = rates.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        if n == 0 {
            return Samples {
                rates,
                median: 0.0,
                low: 0.0,
                high: 0.0,
            };
        }
        let median = if n % 2 == 1 {
            sorted[n / 2]
        } else {
            (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0
        };
        let k = rank(n);
        Samples {
            rates,
            median,
            low: sorted[k - 1],
            high: sorted[n - k],
        }
    }

    /// Width of the interval as a share of the median; 0 where the median is 0.
    pub fn scatter(&self) -> f64 {
        if self.median == 0.0 {
            0.0
        } else {
            (self.high - self.low) / self.median
        }
    }
}

impl Latency {
    /// What the times of operations say; all 0 without any.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = times.into_iter().collect();
        sorted.sort_unstable();
        // The smallest time that so great a share keeps to (nearest rank).
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            let time = sorted.get(rank.saturating_sub(1));
            time.map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        Latency {
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
        }
    }

    /// The median of each percentile; `None` without any.
    pub fn median(turns: impl IntoIterator<Item = Latency>) -> Option<Self> {
        let turns: Vec<Latency> = turns.into_iter().collect();
        let median =
            |percentile: fn(&Latency) -> f64| Samples::of(turns.iter().map(percentile)).median;
        (!turns.is_empty()).then(|| Latency {
            p50: median(|turn| turn.p50),
            p95: median(|turn| turn.p95),
            p99: median(|turn| turn.p99),
        })
    }
}

/// The greatest k with 1 − 2·P(Binomial(n, ½) < k) ≥ 95 %, at least 1.
fn rank(n: usize) -> usize {
    // P(Binomial(n, ½) = i), from i = 0 on; for a great n the first terms vanish, as they should.
    let ln_half_n = -(n as f64) * std::f64::consts::LN_2;
    let mut ln_choose = 0.0;
    let mut below = 0.0;
    for i in 0..n {
        below += f64::exp(ln_choose + ln_half_n);
        if 2.0 * below > 0.05 {
            return i.max(1);
        }
        ln_choose += f64::ln((n - i) as f64 / (i + 1) as f64);
    }
    1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranks_are_those_of_the_published_table() {
        // Le Boudec, table A.1: n, and j of the interval [X(j), X(n+1−j)] at 95 %.
        for (n, k) in [
            (6, 1),
            (8, 1),
            (9, 2),
            (11, 2),
            (12, 3),
            (15, 4),
            (20, 6),
            (30, 10),
            (50, 18),
            (70, 27),
        ] {
            assert_eq!(rank(n), k, "n = {n}");
        }
    }

    #[test]
    fn the_median_of_few_and_of_no_rates() {
        let samples = Samples::of([3.0, 1.0, 2.0, f64::NAN, 10.0]);
        assert_eq!(
            (samples.median, samples.low, samples.high),
            (2.5, 1.0, 10.0)
        );
        assert_eq!(samples.rates, [3.0, 1.0, 2.0, 10.0]);
        assert_eq!(Samples::of([]).median, 0.0);
        assert_eq!(Samples::of([0.0, 0.0]).scatter(), 0.0);
    }

    /// The defining property, checked by simulation with a fixed seed: the interval holds the true median in
    /// 95 % of the cases or more, for a distribution that is far from normal.
    #[test]
    fn the_interval_covers_the_true_median() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let trials = 4000;
        let covered = (0..trials)
            .filter(|_| {
                let samples = Samples::of((0..15).map(|_| -f64::ln(1.0 - uniform())));
                (samples.low..=samples.high).contains(&std::f64::consts::LN_2)
            })
            .count();
        // 0.965 is expected for n = 15; 0.95 is eight standard errors below the count that this would give.
        assert!(
            covered as f64 / f64::from(trials) >= 0.95,
            "covered {covered} of {trials}"
        );
    }

    proptest! {
        #[test]
        fn the_median_lies_in_its_interval(rates in prop::collection::vec(0.0..1e9f64, 1..60)) {
            let samples = Samples::of(rates);
            prop_assert!(samples.low <= samples.median && samples.median <= samples.high);
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let of = |times: &[u64]| Latency::of(times.iter().map(|time| Duration::from_micros(*time)));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(
            of(&hundred),
            Latency {
                p50: 50.0,
                p95: 95.0,
                p99: 99.0
            }
        );
        assert_eq!(
            of(&[7]),
            Latency {
                p50: 7.0,
                p95: 7.0,
                p99: 7.0
            }
        );
        assert_eq!(
            of(&[]),
            Latency {
                p50: 0.0,
                p95: 0.0,
                p99: 0.0
            }
        );
        let turns = [of(&[1]), of(&[9]), of(&[2])];
        assert_eq!(Latency::median(turns), Some(of(&[2])));
        assert_eq!(Latency::median([]), None);
    }
}
