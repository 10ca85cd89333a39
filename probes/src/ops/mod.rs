//! Operation cases: a few system calls each, one file or folder a family below [`cases`].
//!
//! [`case`] says what a case is, [`stop`] how its calls fail, [`files`] and [`process`] are the vocabulary
//! that cases are written in, [`needs`] what a machine may lack, and [`child`] runs one. A case asserts its
//! essential effect by reading it back, so that it cannot pass by doing nothing, and records facts that
//! must equal the native run's.

pub mod case;
pub mod child;
pub mod files;
pub mod host;
pub mod map;
pub mod needs;
pub mod prepared;
pub mod process;
pub mod stop;

mod cases;

use std::ffi::OsString;

use results::CaseKind;
use serde::Serialize;

pub use self::{
    case::{Case, Remedy, Side},
    child::dispatch,
};
use crate::case::{Other, PlannedCase, PlannedRemedy};

/// The families, in the order in which they are listed and run, with what each is about.
const FAMILIES: &[(&str, &str)] = &[
    (
        "inode",
        "identity of files, and files that are open but have no name any more",
    ),
    ("link", "hard links"),
    ("symlink", "symbolic links"),
    (
        "rename",
        "renaming, with and without flags, over what is there",
    ),
    ("mmap", "files mapped into memory"),
    ("permission", "modes, owners, and what other users may do"),
    ("xattr", "extended attributes"),
    ("lock", "flock, POSIX and OFD locks"),
    ("io", "reading, writing, allocating and copying"),
    ("sync", "what fsync and its kin promise"),
    ("time", "times of files"),
    ("directory", "listing and removing directories"),
    ("name", "which bytes a name may have"),
    ("special", "FIFOs, sockets, devices, and running programs"),
    ("space", "statfs and limits"),
    ("notify", "inotify and fanotify"),
    ("mount", "mounting over, under and from the volume"),
    ("coherence", "what one side sees of the other's changes"),
    (
        "runtime",
        "what surrounds a program in the VM runtime: its root, its environment, names",
    ),
    ("stress", "many operations, processes or names at once"),
];

/// A family, for the listing.
#[derive(Debug, Clone, Serialize)]
pub struct Family {
    /// Its name, what is before the dot of its cases' ids.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// How many cases it has.
    pub cases: usize,
}

/// A case, for the listing.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Stable dotted id.
    pub id: &'static str,
    /// What is before the dot.
    pub family: &'static str,
    /// What a program relies on, in one line.
    pub title: &'static str,
    /// Where it is said what must happen.
    pub source: &'static str,
    /// Programs known to need it.
    pub needed_by: &'static [&'static str],
    /// What the machine must have.
    pub needs: &'static [needs::Need],
    /// How long one run may take, in seconds.
    pub limit_seconds: u64,
}

/// All operation cases, by family and then by id.
pub fn all() -> Vec<&'static Case> {
    let mut cases: Vec<&Case> = inventory::iter::<Case>().collect();
    let place = |case: &Case| FAMILIES.iter().position(|(name, _)| *name == case.family());
    cases.sort_by_key(|case| (place(case), case.id));
    cases
}

/// The case of that id.
pub fn find(id: &str) -> Option<&'static Case> {
    inventory::iter::<Case>().find(|case| case.id == id)
}

/// The families that have cases.
pub fn families() -> Vec<Family> {
    FAMILIES
        .iter()
        .map(|&(name, about)| {
            let cases = inventory::iter::<Case>()
                .filter(|case| case.family() == name)
                .count();
            Family { name, about, cases }
        })
        .filter(|family| family.cases > 0)
        .collect()
}

/// What `list ops` shows.
pub fn listing() -> Vec<Listed> {
    all()
        .into_iter()
        .map(|case| Listed {
            id: case.id,
            family: case.family(),
            title: case.title,
            source: case.source,
            needed_by: case.needed_by,
            needs: case.needs,
            limit_seconds: case.limit.as_secs(),
        })
        .collect()
}

/// All operation cases, as the runner takes them.
pub fn planned() -> Vec<PlannedCase> {
    all()
        .into_iter()
        .map(|case| PlannedCase {
            id: case.id.to_owned(),
            kind: CaseKind::Op,
            title: case.title.to_owned(),
            limit: case.limit,
            child_args: [child::ARGUMENT, "--id", case.id]
                .map(OsString::from)
                .to_vec(),
            alone: case.alone,
            remedies: case.remedies.iter().map(planned_remedy).collect(),
        })
        .collect()
}

fn planned_remedy(remedy: &Remedy) -> PlannedRemedy {
    let child_args = match remedy.by_case {
        true => vec!["--remedy".into(), remedy.id.into()],
        false => Vec::new(),
    };
    PlannedRemedy {
        id: remedy.id.to_owned(),
        title: remedy.title.to_owned(),
        child_args,
        other: remedy.instead.map(Other::Local),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_says_what_it_is_and_belongs_to_a_family() {
        let mut ids = BTreeSet::new();
        for case in all() {
            assert!(ids.insert(case.id), "two cases are called {}", case.id);
            assert!(
                FAMILIES.iter().any(|(name, _)| *name == case.family()),
                "{} is of no family",
                case.id
            );
            for (what, text) in [("title", case.title), ("source", case.source)] {
                assert!(!text.is_empty(), "{} has no {what}", case.id);
            }
            assert!(
                !case.title.ends_with('.') && !case.title.contains('\n'),
                "{}",
                case.id
            );
        }
        assert!(!ids.is_empty());
    }
}
