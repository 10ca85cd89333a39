//! The catalogue of causes, `probes/causes.toml`, and what an entry of it says.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::Rule;
use crate::case::Other;

const TEXT: &str = include_str!("../../causes.toml");

/// A cause: why something does not work on a 9p volume, and by what one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Stable id, `mmap-shared-writable`.
    pub id: String,
    /// The mechanism, in one or two sentences.
    pub summary: String,
    /// Who would have to change.
    pub fault: Fault,
    /// What shows it: any of these.
    pub evidence: Vec<Rule>,
    /// What one can do about it, each a sentence.
    #[serde(default)]
    pub remedies: Vec<String>,
    /// Volumes of the same client on which it may work: `ram`, `storage`, `cache=mmap`. A case with this cause is run
    /// there, and the change is a remedy of its own.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub instead: Vec<Other>,
    /// Where it is documented or was reported.
    #[serde(default)]
    pub references: Vec<String>,
}

/// Who is at fault.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The client's kernel, v9fs.
    Client,
    /// The 9P server.
    Server,
    /// How the volume is mounted, exported or used.
    Configuration,
    /// What runs the guest and maps the volume.
    Runtime,
}

/// A catalogue that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// It is not what the types here describe.
    #[error("probes/causes.toml is broken: {0}")]
    Broken(String),
    /// An entry would match anything, or is there twice.
    #[error("probes/causes.toml is broken: the cause {id} {problem}.")]
    Entry {
        /// The entry.
        id: String,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    causes: Vec<Entry>,
}

/// Every cause, the more particular before the more general: the first that fits is the answer.
///
/// The file is part of the program; that it can be read is tested.
pub fn catalogue() -> &'static [Entry] {
    static CATALOGUE: LazyLock<Vec<Entry>> =
        LazyLock::new(|| parse(TEXT).unwrap_or_else(|error| panic!("{error}")));
    &CATALOGUE
}

/// The entry of that id.
pub fn find(id: &str) -> Option<&'static Entry> {
    catalogue().iter().find(|entry| entry.id == id)
}

fn parse(text: &str) -> Result<Vec<Entry>, CatalogueError> {
    let file: File =
        toml::from_str(text).map_err(|error| CatalogueError::Broken(error.to_string()))?;
    for (index, entry) in file.causes.iter().enumerate() {
        let problem = if entry.evidence.is_empty() {
            "has no evidence"
        } else if !entry.evidence.iter().all(Rule::asks_for_evidence) {
            "has a rule that asks for nothing that a result shows"
        } else if file.causes[..index]
            .iter()
            .any(|other| other.id == entry.id)
        {
            "is there twice"
        } else {
            continue;
        };
        return Err(CatalogueError::Entry {
            id: entry.id.clone(),
            problem: problem.to_owned(),
        });
    }
    Ok(file.causes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_readable_and_complete() {
        let causes = parse(TEXT).unwrap_or_else(|error| panic!("{error}"));
        for cause in &causes {
            assert!(
                cause.summary.ends_with('.'),
                "{}: the summary is a sentence",
                cause.id
            );
            assert!(!cause.remedies.is_empty(), "{}: says what to do", cause.id);
            assert!(
                !cause.references.is_empty(),
                "{}: says where it is from",
                cause.id
            );
        }
    }

    #[test]
    fn an_entry_that_fits_everything_is_refused() {
        let text = "[[causes]]\nid = \"x\"\nsummary = \"X.\"\nfault = \"client\"\n[[causes.evidence]]\ncases = [\"*\"]\n";
        assert!(
            parse(text)
                .unwrap_err()
                .to_string()
                .contains("asks for nothing")
        );
        let text = "[[causes]]\nid = \"x\"\nsummary = \"X.\"\nfault = \"clint\"\nevidence = []\n";
        assert!(parse(text).unwrap_err().to_string().contains("clint"));
    }
}
