//! What makes figures doubtful: a closed list, whose texts name the next step to take.

use std::fmt;

use results::{Samples, stats::FEWEST};

/// From this share of the median on, an interval is too wide to compare.
const NOISY: f64 = 0.25;
/// From this share of the time on, the measuring program measures itself.
const CLIENT_BOUND: f64 = 0.5;
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
    /// Intervals are wide.
    Noisy {
        /// Each side (`native`, `volume`) with the width of its interval as a share of its median.
        sides: Vec<(&'static str, f64)>,
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
    /// The measuring program itself takes most of the time.
    ClientBound {
        /// `native` or `volume`.
        side: &'static str,
        /// The share of its threads' time that it computes.
        share: f64,
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
            Warning::Noisy { sides } => {
                let widths: Vec<String> = sides
                    .iter()
                    .map(|(side, scatter)| format!("{:.0} % ({side})", scatter * 100.0))
                    .collect();
                write!(
                    f,
                    "The rates scatter: the interval is {} of the median wide. Stop what else runs on this \
                     machine, or measure longer with --seconds.",
                    widths.join(" and ")
                )
            }
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
            Warning::ClientBound { side, share } => write!(
                f,
                "The measuring program, which checks what it reads, took {:.0} % of the {side} turns itself, so the \
                 rate is its own more than the file system's. Measure with --fio, which checks nothing.",
                share * 100.0
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

/// A side's name (`native`, `volume`), its samples, and the fewest operations of one of its turns.
pub type Measured<'a> = (&'static str, &'a Samples, u64);

/// The warnings that samples give rise to.
pub fn of_samples(sides: &[Measured<'_>]) -> Vec<Warning> {
    let measured = || {
        sides
            .iter()
            .filter(|(_, samples, _)| !samples.rates.is_empty())
    };
    let few = measured()
        .filter(|(_, samples, _)| samples.rates.len() < FEWEST)
        .map(|(side, samples, _)| Warning::FewSamples {
            side,
            samples: samples.rates.len(),
        });
    let noisy: Vec<_> = measured()
        .filter(|(_, samples, _)| samples.rates.len() >= FEWEST && samples.scatter() > NOISY)
        .map(|(side, samples, _)| (*side, samples.scatter()))
        .collect();
    let noisy = (!noisy.is_empty()).then_some(Warning::Noisy { sides: noisy });
    let coarse = measured()
        .filter(|(_, _, operations)| *operations < FEW_OPERATIONS)
        .map(|(side, _, operations)| Warning::FewOperations {
            side,
            operations: *operations,
        });
    few.chain(noisy).chain(coarse).collect()
}

/// The warning that the measuring program took such a share of a side's time, if it did.
pub fn of_program(side: &'static str, share: f64) -> Option<Warning> {
    (share >= CLIENT_BOUND).then_some(Warning::ClientBound { side, share })
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
        let none = Samples::of([]);
        assert_eq!(
            of_samples(&[("native", &steady, 50), ("volume", &none, 0)]),
            []
        );
        let noisy = Samples::of([100.0, 10.0, 99.0, 300.0, 102.0, 9.0, 100.0, 100.0]);
        let found = of_samples(&[("native", &steady, 50), ("volume", &noisy, 50)]);
        let [Warning::Noisy { sides }] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(sides.len(), 1);
        assert_eq!(sides[0].0, "volume");
        let few = Samples::of([100.0, 10.0]);
        assert_eq!(
            of_samples(&[("native", &few, 2)]),
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
        assert_eq!(of_program("native", 0.3), None);
        assert!(of_program("native", 0.7).is_some());
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
                sides: vec![("native", 0.3), ("volume", 1.2)],
            },
            Warning::FewSamples {
                side: "native",
                samples: 3,
            },
            Warning::FewOperations {
                side: "volume",
                operations: 1,
            },
            Warning::ClientBound {
                side: "native",
                share: 0.8,
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
