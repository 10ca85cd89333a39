//! What makes figures doubtful: a closed list, whose texts name the next step to take.

use std::fmt;

use results::{Samples, stats::FEWEST};

/// From this share of the median on, an interval is too wide to compare.
const NOISY: f64 = 0.25;
/// Fewer operations a turn than this, and a rate is mostly rounding.
const FEW_OPERATIONS: u64 = 5;
/// From this share of the file in memory on, reading it is no reading of a disk.
const MOSTLY_IN_MEMORY: f64 = 0.5;

/// Something that makes a workload's figures doubtful.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// A side could not be measured.
    Failed {
        /// `natively` or `on the volume`.
        side: &'static str,
        /// What failed.
        why: String,
    },
    /// An interval is wide.
    Noisy {
        /// `native` or `volume`.
        side: &'static str,
        /// Width of the interval as a share of the median.
        scatter: f64,
    },
    /// There are too few samples for a 95 % interval.
    FewSamples {
        /// `native` or `volume`.
        side: &'static str,
        /// How many there are.
        samples: usize,
    },
    /// Turns have only a few operations.
    FewOperations {
        /// `native` or `volume`.
        side: &'static str,
        /// The fewest operations of a turn.
        operations: u64,
    },
    /// The native file was read from memory.
    NativeFromMemory {
        /// The share of the file that was in memory.
        share: f64,
        /// The file system that it is on.
        memory_only: bool,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Failed { side, why } => write!(
                f,
                "It could not be measured {side}: {why}. What fails there is shown by `probe9p run --ops all`."
            ),
            Warning::Noisy { side, scatter } => write!(
                f,
                "The {side} rates scatter: the interval is {:.0} % of the median wide. Stop what else runs on \
                 this machine, or measure longer with --seconds.",
                scatter * 100.0
            ),
            Warning::FewSamples { side, samples } => write!(
                f,
                "There are {samples} {side} samples, too few for a 95 % interval: the interval is from the least \
                 to the greatest. Measure longer with --seconds."
            ),
            Warning::FewOperations { side, operations } => write!(
                f,
                "A {side} turn had as few as {operations} operations, so its rate is coarse. Measure longer with \
                 --seconds."
            ),
            Warning::NativeFromMemory { share, memory_only: false } => write!(
                f,
                "{:.0} % of the native file was in the page cache, so the native rate is that of memory, not of \
                 the disk. Put both sides' files out of memory before each turn with --cold.",
                share * 100.0
            ),
            Warning::NativeFromMemory { memory_only: true, .. } => f.write_str(
                "The host's file system keeps its files in memory, so the native rate is that of memory. Set \
                 TMPDIR to a directory on a disk.",
            ),
        }
    }
}

/// The warnings that samples of one side give rise to; `fewest` is the fewest operations of a turn.
pub fn of_samples(side: &'static str, samples: &Samples, fewest: u64) -> Vec<Warning> {
    let mut found = Vec::new();
    let count = samples.rates.len();
    if count == 0 {
        return found;
    }
    if count < FEWEST {
        found.push(Warning::FewSamples {
            side,
            samples: count,
        });
    } else if samples.scatter() > NOISY {
        found.push(Warning::Noisy {
            side,
            scatter: samples.scatter(),
        });
    }
    if fewest < FEW_OPERATIONS {
        found.push(Warning::FewOperations {
            side,
            operations: fewest,
        });
    }
    found
}

/// The warning that so much of the native file was in memory, if it was.
pub fn of_residency(share: Option<f64>, memory_only: bool) -> Option<Warning> {
    share
        .filter(|share| *share >= MOSTLY_IN_MEMORY)
        .map(|share| Warning::NativeFromMemory { share, memory_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_doubtful_figures_are_warned_of() {
        let steady = Samples::of([100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0, 100.0]);
        assert_eq!(of_samples("native", &steady, 50), []);
        assert_eq!(of_samples("native", &Samples::of([]), 0), []);
        let noisy = Samples::of([100.0, 10.0, 99.0, 300.0, 102.0, 9.0, 100.0, 100.0]);
        assert!(matches!(
            of_samples("volume", &noisy, 50)[..],
            [Warning::Noisy { side: "volume", .. }]
        ));
        let few = Samples::of([100.0, 10.0]);
        assert_eq!(
            of_samples("native", &few, 2),
            [
                Warning::FewSamples {
                    side: "native",
                    samples: 2
                },
                Warning::FewOperations {
                    side: "native",
                    operations: 2
                }
            ]
        );
        assert_eq!(of_residency(Some(0.1), false), None);
        assert_eq!(of_residency(None, false), None);
        assert!(of_residency(Some(1.0), false).is_some());
    }

    #[test]
    fn every_warning_says_what_to_do() {
        let warnings = [
            Warning::Failed {
                side: "on the volume",
                why: "write of f: EIO".into(),
            },
            Warning::Noisy {
                side: "native",
                scatter: 0.3,
            },
            Warning::FewSamples {
                side: "native",
                samples: 3,
            },
            Warning::FewOperations {
                side: "volume",
                operations: 1,
            },
            Warning::NativeFromMemory {
                share: 1.0,
                memory_only: false,
            },
            Warning::NativeFromMemory {
                share: 1.0,
                memory_only: true,
            },
        ];
        for warning in warnings {
            let text = warning.to_string();
            assert!(
                text.ends_with('.') && (text.contains("--") || text.contains("TMPDIR")),
                "{text}"
            );
        }
    }
}
