//! What can be measured: `probes/workloads.toml`, or a file of the user's in the same format.

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

/// Bytes of a page; each page of the file says its own place, so that what is read can be checked.
pub const PAGE: usize = 4096;
/// Bytes of the blocks by which the file is made, and of which its size is a multiple.
pub const WHOLE: usize = 1 << 20;
/// Entries of the directory of the `stat` and `readdir` operations.
pub const CROWD: usize = 1000;
/// Directories of the `tree` operation, and files in each.
pub const TREE: usize = 8;
/// Most threads of a workload.
const MOST_THREADS: u32 = 64;

const BUILT_IN: &str = include_str!("../../workloads.toml");

/// A pattern of input and output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// The name used on command lines and in reports: lower-case letters, digits and underscores.
    pub name: String,
    /// What it does, in one line.
    pub title: String,
    /// What is repeated.
    pub operation: Operation,
    /// Which block follows which.
    #[serde(default)]
    pub order: Order,
    /// Size of one read, write or small file, in KiB; 1 to 1024.
    #[serde(default = "page_kib")]
    pub block_kib: u32,
    /// How many threads repeat it at once; 1 to 64.
    #[serde(default = "one")]
    pub threads: u32,
    /// Unit of its rates.
    pub unit: Unit,
}

fn page_kib() -> u32 {
    4
}

fn one() -> u32 {
    1
}

/// What a workload repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Reads a block of the file.
    Read,
    /// Overwrites a block of the file.
    Write,
    /// Adds a block to a file that was opened with O_APPEND.
    Append,
    /// Overwrites a block and waits until it is on the disk.
    Fsync,
    /// Reads a block through a private mapping, made anew at each end of the file.
    MmapRead,
    /// Makes a file of one block, asks for its attributes, and removes it.
    Create,
    /// Asks for a file's attributes.
    Stat,
    /// Lists a directory.
    Readdir,
    /// Renames a file over another.
    Rename,
    /// Makes a small tree and removes it.
    Tree,
}

/// The order of blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// From the file's start to its end, and again.
    #[default]
    Sequential,
    /// By chance.
    Random,
}

/// The unit of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Mebibytes per second.
    #[serde(rename = "MiB/s")]
    MebibytesPerSecond,
    /// Operations per second.
    #[serde(rename = "ops/s")]
    OperationsPerSecond,
}

impl Unit {
    /// As reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Unit::MebibytesPerSecond => "MiB/s",
            Unit::OperationsPerSecond => "ops/s",
        }
    }
}

/// Why there are no workloads.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The file cannot be read.
    #[error("the workloads in {file} cannot be read: {source}; name a file that can")]
    Read {
        /// The file.
        file: String,
        /// Its error.
        source: std::io::Error,
    },
    /// It is no TOML, or has a field that is none.
    #[error("the workloads in {file} are not in the format of probes/workloads.toml: {why}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong, with its line.
        why: String,
    },
    /// A workload has a value that cannot be.
    #[error("the workload {name:?} in {file} {why}")]
    Value {
        /// The file.
        file: String,
        /// The workload.
        name: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A name that no workload has.
    #[error("there is no workload {name:?}; take one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Workloads {
    workload: Vec<Workload>,
}

/// The workloads of a file, or the built-in ones.
///
/// # Errors
/// [`WorkloadError`], for a file that is not as it should be.
pub fn load(file: Option<&Path>) -> Result<Vec<Workload>, WorkloadError> {
    match file {
        None => parse(BUILT_IN, "probes/workloads.toml"),
        Some(path) => {
            let file = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|source| WorkloadError::Read {
                file: file.clone(),
                source,
            })?;
            parse(&text, &file)
        }
    }
}

/// Those of the workloads that are named, each once and in their own order; all where none is named.
///
/// # Errors
/// [`WorkloadError::Unknown`].
pub fn choose(all: Vec<Workload>, names: &[String]) -> Result<Vec<Workload>, WorkloadError> {
    if let Some(name) = names
        .iter()
        .find(|name| all.iter().all(|one| one.name != **name))
    {
        let known: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
        return Err(WorkloadError::Unknown {
            name: name.clone(),
            known: known.join(", "),
        });
    }
    let wanted = |one: &Workload| names.is_empty() || names.contains(&one.name);
    Ok(all.into_iter().filter(wanted).collect())
}

fn parse(text: &str, file: &str) -> Result<Vec<Workload>, WorkloadError> {
    let Workloads { workload } = toml::from_str(text).map_err(|error| WorkloadError::Format {
        file: file.to_owned(),
        why: error.to_string().trim_end().to_owned(),
    })?;
    for (index, one) in workload.iter().enumerate() {
        let twice = workload[..index].iter().any(|other| other.name == one.name);
        if let Some(why) = twice
            .then(|| "is there twice; give each a name of its own".to_owned())
            .or_else(|| one.wrong())
        {
            return Err(WorkloadError::Value {
                file: file.to_owned(),
                name: one.name.clone(),
                why,
            });
        }
    }
    Ok(workload)
}

impl Workload {
    fn wrong(&self) -> Option<String> {
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.name.is_empty() || !self.name.chars().all(named) {
            return Some(
                "has a name that is not of lower-case letters, digits and underscores".into(),
            );
        }
        if !(1..=1024).contains(&self.block_kib)
            || (self.uses_file() && !self.block_kib.is_multiple_of(4))
        {
            return Some(format!(
                "has block_kib = {}; take 1 to 1024, a multiple of 4 for blocks of the file",
                self.block_kib
            ));
        }
        if !(1..=MOST_THREADS).contains(&self.threads) {
            return Some(format!(
                "has threads = {}; take 1 to {MOST_THREADS}",
                self.threads
            ));
        }
        None
    }

    /// Bytes of a block.
    pub fn block(&self) -> usize {
        self.block_kib as usize * 1024
    }

    /// Whether it reads or writes the large file.
    pub fn uses_file(&self) -> bool {
        matches!(
            self.operation,
            Operation::Read | Operation::Write | Operation::Fsync | Operation::MmapRead
        )
    }

    /// Whether it reads what a page cache may hold.
    pub fn reads(&self) -> bool {
        matches!(self.operation, Operation::Read | Operation::MmapRead)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ones_are_right_and_can_be_chosen() {
        let all = load(None).unwrap();
        let names = ["stat".to_owned(), "seq_read_1m".to_owned()];
        let chosen = choose(all.clone(), &names).unwrap();
        assert_eq!(
            chosen
                .iter()
                .map(|one| one.name.as_str())
                .collect::<Vec<_>>(),
            ["seq_read_1m", "stat"]
        );
        let error = choose(all, &["seq_raed".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("there is no workload \"seq_raed\"; take one of seq_read_1m,"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_file_is_refused_with_what_is_wrong() {
        let one = |more: &str| {
            format!(
                "[[workload]]\nname = \"a\"\ntitle = \"t\"\noperation = \"read\"\nunit = \"ops/s\"\n{more}"
            )
        };
        let said = |text: &str| parse(text, "mine.toml").unwrap_err().to_string();
        assert!(parse(&one(""), "mine.toml").is_ok());
        assert!(
            said(&one("blok = 3")).contains("line 6"),
            "{}",
            said(&one("blok = 3"))
        );
        assert!(said(&one("block_kib = 6")).contains("a multiple of 4"));
        assert!(said(&one("threads = 0")).contains("take 1 to 64"));
        assert!(said(&(one("") + &one(""))).contains("is there twice"));
    }
}
