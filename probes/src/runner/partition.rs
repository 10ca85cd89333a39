//! A plan divided among several runs, by what its cases are called.
//!
//! Which part a case is in depends on its id and the number of parts alone: not on the order of the plan, the
//! machine, or what other cases there are. So every job of a CI system can work out its own part.

use std::{fmt, str::FromStr};

use results::Part;
use sha2::{Digest as _, Sha256};

use crate::case::PlannedCase;

/// One part of so many, `hash:1/4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Which part, from 1.
    part: u32,
    /// How many parts there are.
    of: u32,
}

impl Partition {
    /// The cases that are in this part, in their order, and what a report says of it.
    pub fn take(self, cases: Vec<PlannedCase>) -> (Vec<PlannedCase>, Part) {
        let part = Part {
            partition: self.to_string(),
            plan: cases.iter().map(|case| case.id.clone()).collect(),
        };
        let mine = cases.into_iter().filter(|case| self.has(&case.id));
        (mine.collect(), part)
    }

    fn has(self, id: &str) -> bool {
        let digest = Sha256::digest(id.as_bytes());
        let first = digest.iter().take(8);
        let number = first.fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        number % u64::from(self.of) == u64::from(self.part - 1)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hash:{}/{}", self.part, self.of)
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .strip_prefix("hash:")
            .and_then(|rest| rest.split_once('/'));
        let parsed = numbers.and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Partition { part, of }),
            _ => Err(format!(
                "{text:?} is no partition; write hash:PART/PARTS, such as hash:1/4 for the first of four"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use results::CaseKind;

    use super::*;

    fn plan(ids: &[String]) -> Vec<PlannedCase> {
        let case = |id: &String| PlannedCase {
            id: id.clone(),
            kind: CaseKind::Op,
            title: String::new(),
            limit: Duration::from_secs(1),
            child_args: vec![],
            alone: false,
            remedies: vec![],
        };
        ids.iter().map(case).collect()
    }

    #[test]
    fn which_part_a_case_is_in_never_changes() {
        let parts = [
            "mmap.shared_write",
            "sqlite.wal",
            "link.nlink",
            "special.mkfifo",
        ]
        .map(|id| {
            (1..=4)
                .find(|part| Partition { part: *part, of: 4 }.has(id))
                .unwrap()
        });
        assert_eq!(parts, [2, 3, 1, 1]);
    }

    #[test]
    fn partitions_are_read_as_they_are_written() {
        assert_eq!(
            "hash:2/3".parse::<Partition>().unwrap().to_string(),
            "hash:2/3"
        );
        for bad in [
            "",
            "hash:0/3",
            "hash:4/3",
            "1/2",
            "hash:1",
            "count:1/2",
            "hash:a/b",
        ] {
            assert!(bad.parse::<Partition>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_case_is_in_exactly_one_part(ids in prop::collection::btree_set("[a-z.]{1,12}", 0..40), of in 1u32..9) {
            let ids: Vec<String> = ids.into_iter().collect();
            let mut found: Vec<String> = Vec::new();
            for part in 1..=of {
                let (cases, told) = Partition { part, of }.take(plan(&ids));
                prop_assert_eq!(&told.plan, &ids);
                found.extend(cases.into_iter().map(|case| case.id));
            }
            found.sort();
            prop_assert_eq!(found, ids);
        }
    }
}
