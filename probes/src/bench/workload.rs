//! What can be measured.

use std::{fmt, str::FromStr};

/// Bytes of a block of the sequential workloads: more than one 9p message carries, as most tools use.
pub const SEQUENTIAL_BLOCK: usize = 1 << 20;
/// Bytes of a block of the random workloads: a page, as databases use.
pub const RANDOM_BLOCK: usize = 4096;
/// Bytes of a small file.
pub const SMALL_FILE: usize = 1024;

/// A pattern of input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// Reads a file from its start to its end, in blocks of 1 MiB.
    SeqRead,
    /// Writes a file from its start to its end, in blocks of 1 MiB.
    SeqWrite,
    /// Reads blocks of 4 KiB from random places of a file.
    RandRead,
    /// Writes blocks of 4 KiB to random places of a file.
    RandWrite,
    /// Creates a file of 1 KiB, asks for its attributes, and removes it.
    SmallFiles,
}

impl Workload {
    /// Every workload, in the order in which they are measured.
    pub const ALL: [Workload; 5] = [
        Workload::SeqRead,
        Workload::SeqWrite,
        Workload::RandRead,
        Workload::RandWrite,
        Workload::SmallFiles,
    ];

    /// The name used on command lines and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Workload::SeqRead => "seq_read_1m",
            Workload::SeqWrite => "seq_write_1m",
            Workload::RandRead => "rand_read_4k",
            Workload::RandWrite => "rand_write_4k",
            Workload::SmallFiles => "small_files",
        }
    }

    /// What it does, in one line.
    pub fn title(self) -> &'static str {
        match self {
            Workload::SeqRead => "Sequential reads of 1 MiB",
            Workload::SeqWrite => "Sequential writes of 1 MiB, not synced",
            Workload::RandRead => "Random reads of 4 KiB",
            Workload::RandWrite => "Random writes of 4 KiB, not synced",
            Workload::SmallFiles => "Small files: create with 1 KiB, stat, unlink",
        }
    }

    /// The unit of its rates.
    pub fn unit(self) -> &'static str {
        match self {
            Workload::SeqRead | Workload::SeqWrite => "MiB/s",
            Workload::RandRead | Workload::RandWrite | Workload::SmallFiles => "ops/s",
        }
    }

    /// Whether it reads what a page cache may hold.
    pub fn reads(self) -> bool {
        matches!(self, Workload::SeqRead | Workload::RandRead)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Workload::ALL
            .into_iter()
            .find(|w| w.name() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Workload::ALL.iter().map(|w| w.name()).collect();
                format!(
                    "there is no workload {text:?}; take one of {}",
                    names.join(", ")
                )
            })
    }
}
