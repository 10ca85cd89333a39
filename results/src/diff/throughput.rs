//! Throughput in two runs: what can be told apart from noise.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BenchResult, Report};

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
