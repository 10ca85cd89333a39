//! Throughput in two runs: what can be told apart from noise.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BenchResult, Report, Samples};

/// A workload whose rate on the volume changed by more than its intervals allow for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThroughputChange {
    /// Stable id of the workload.
    pub workload: String,
    /// Unit of the rates.
    pub unit: String,
    /// The earlier median on the volume.
    pub before: f64,
    /// The later median on the volume.
    pub after: f64,
    /// `after` divided by `before`.
    pub ratio: f64,
}

/// The workloads whose 95 % intervals lie apart, the greatest loss first.
pub(super) fn changes(before: &Report, after: &Report) -> Vec<ThroughputChange> {
    let mut changes: Vec<ThroughputChange> = (after.bench.iter())
        .filter_map(|new| {
            let same =
                |old: &&BenchResult| (&old.workload, &old.unit) == (&new.workload, &new.unit);
            let old = before.bench.iter().find(same)?;
            let (a, b) = (&old.volume, &new.volume);
            let apart = a.high < b.low || b.high < a.low;
            (apart && a.median > 0.0).then(|| ThroughputChange {
                workload: new.workload.clone(),
                unit: new.unit.clone(),
                before: a.median,
                after: b.median,
                ratio: b.median / a.median,
            })
        })
        .collect();
    changes.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
    changes
}

/// What two measurements of a workload say of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The volume became slower, and the plain directory did not.
    Regression,
    /// The volume became faster, and the plain directory did not.
    Improvement,
    /// The intervals overlap, or the machine itself became slower or faster.
    Inconclusive,
}

/// What a later measurement of a workload says, held against an earlier one.
///
/// The 95 % intervals of both sides decide: only where the volume's lie apart and the native ones do not lie apart in
/// the same direction has the volume changed rather than the machine or the moment.
pub fn finding(before: &BenchResult, after: &BenchResult) -> Finding {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let moved = |old: &Samples, new: &Samples| match () {
        () if old.rates.is_empty() || new.rates.is_empty() => Equal,
        () if new.high < old.low => Less,
        () if new.low > old.high => Greater,
        () => Equal,
    };
    let native = moved(&before.native, &after.native);
    match moved(&before.volume, &after.volume) {
        Less if native != Less => Finding::Regression,
        Greater if native != Greater => Finding::Improvement,
        _ => Finding::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(native: f64, volume: f64) -> BenchResult {
        let samples = |rate: f64| Samples::of((0..12).map(|i| rate * (1.0 + 0.01 * f64::from(i))));
        BenchResult {
            workload: "w".into(),
            title: "w".into(),
            unit: "ops/s".into(),
            native: samples(native),
            volume: samples(volume),
            native_latency: None,
            volume_latency: None,
            wire: None,
            ratio: volume / native,
            warnings: vec![],
        }
    }

    #[test]
    fn a_regression_is_called_only_where_the_intervals_say_so() {
        let before = measured(1000.0, 100.0);
        assert_eq!(
            finding(&before, &measured(1000.0, 60.0)),
            Finding::Regression
        );
        assert_eq!(
            finding(&before, &measured(1000.0, 160.0)),
            Finding::Improvement
        );
        assert_eq!(
            finding(&before, &measured(1000.0, 99.0)),
            Finding::Inconclusive
        );
        // The whole machine is slower.
        assert_eq!(
            finding(&before, &measured(600.0, 60.0)),
            Finding::Inconclusive
        );
        // It is faster, and the volume is slower all the same.
        assert_eq!(
            finding(&before, &measured(2000.0, 60.0)),
            Finding::Regression
        );
        let mut failed = measured(1000.0, 60.0);
        failed.volume = Samples::of([]);
        assert_eq!(finding(&before, &failed), Finding::Inconclusive);
    }
}
