//! One run that was made in parts, put together again.
//!
//! A run of a part (`run --partition hash:1/4`) keeps the whole plan in its report, so that the parts can be put
//! in its order and what is missing is known. Joined, they are the report that one run would have written.

use std::collections::BTreeMap;

use crate::{CaseResult, Report};

/// Why reports cannot be joined. Each message names the runs and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// There is nothing to join.
    #[error("there is no report to join; name the parts' reports")]
    Nothing,
    /// The parts are of different matrices.
    #[error(
        "{first} and {other} cannot be joined: their {what} differ ({ours:?} and {theirs:?}). \
         Join the parts of one run on one stack; `probe9p report` shows several stacks side by side"
    )]
    Mixed {
        /// Run of the first part.
        first: String,
        /// The run that does not fit.
        other: String,
        /// What differs.
        what: &'static str,
        /// The first part's.
        ours: String,
        /// The other's.
        theirs: String,
    },
    /// A case has results in two parts.
    #[error("{id} has a result in {first} and in {other}; leave one of these parts out")]
    Twice {
        /// The case or workload.
        id: String,
        /// The run that has it first.
        first: String,
        /// The run that has it too.
        other: String,
    },
    /// The parts do not make the whole plan.
    #[error(
        "{} of {planned} planned cases are in no part, {} first; name the reports of all parts \
         (partitions named: {})", .missing.len(), .missing[0], .parts.join(", ")
    )]
    Incomplete {
        /// The cases without a result.
        missing: Vec<String>,
        /// How many cases the plan has.
        planned: usize,
        /// The partitions that were given.
        parts: Vec<String>,
    },
}

/// Joins the parts of one run: the report that the whole run would have written, named after the part that began
/// first. A part that was interrupted makes the whole interrupted, and may lack cases.
///
/// # Errors
/// [`MergeError`] when the reports are not parts of one whole.
pub fn merge(parts: &[Report]) -> Result<Report, MergeError> {
    let mut parts: Vec<&Report> = parts.iter().collect();
    parts.sort_by_key(|part| (&part.started, &part.run_id));
    let (first, others) = parts.split_first().ok_or(MergeError::Nothing)?;
    for other in others {
        same(first, other)?;
    }
    let mut whole = Report {
        cases: cases(&parts)?,
        bench: Vec::new(),
        part: None,
        integrity: None,
        ..(*first).clone()
    };
    whole.bench = bench(&parts)?;
    let finished = parts.iter().map(|part| part.finished.clone());
    whole.finished = finished
        .collect::<Option<Vec<_>>>()
        .and_then(|all| all.into_iter().max());
    Ok(whole)
}

fn same(first: &Report, other: &Report) -> Result<(), MergeError> {
    let plan = |report: &Report| report.part.as_ref().map(|part| part.plan.len().to_string());
    let pairs = [
        ("stacks", first.stack.name(), other.stack.name()),
        (
            "kernels",
            first.stack.kernel.clone(),
            other.stack.kernel.clone(),
        ),
        (
            "cache modes",
            first.stack.cache.clone(),
            other.stack.cache.clone(),
        ),
        (
            "mount options",
            first.stack.mount_options.clone(),
            other.stack.mount_options.clone(),
        ),
        (
            "versions of the parts",
            format!("{:?}", first.stack.versions),
            format!("{:?}", other.stack.versions),
        ),
        (
            "architectures",
            first.host.arch.clone(),
            other.host.arch.clone(),
        ),
        (
            "file systems",
            first.host.filesystem.clone(),
            other.host.filesystem.clone(),
        ),
        (
            "versions of probe9p",
            first.host.probe9p.clone(),
            other.host.probe9p.clone(),
        ),
    ];
    let mixed = |what, ours, theirs| MergeError::Mixed {
        first: first.run_id.clone(),
        other: other.run_id.clone(),
        what,
        ours,
        theirs,
    };
    for (what, ours, theirs) in pairs {
        if ours != theirs {
            return Err(mixed(what, ours, theirs));
        }
    }
    if first.part.as_ref().map(|p| &p.plan) != other.part.as_ref().map(|p| &p.plan) {
        let told = |report| plan(report).map_or("no plan".into(), |n| format!("{n} cases"));
        return Err(mixed("plans", told(first), told(other)));
    }
    Ok(())
}

/// All cases in the order of the plan; without a plan in the order of the parts.
fn cases(parts: &[&Report]) -> Result<Vec<CaseResult>, MergeError> {
    let mut found: BTreeMap<&str, (&Report, &CaseResult)> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for part in parts {
        for case in &part.cases {
            if let Some((first, _)) = found.insert(&case.id, (part, case)) {
                return Err(twice(&case.id, first, part));
            }
            order.push(&case.id);
        }
    }
    if let Some(planned) = parts[0].part.as_ref() {
        let missing: Vec<String> = (planned.plan.iter())
            .filter(|id| !found.contains_key(id.as_str()))
            .cloned()
            .collect();
        // An interrupted part says itself that it is not whole.
        if !missing.is_empty() && parts.iter().all(|part| part.finished.is_some()) {
            return Err(MergeError::Incomplete {
                missing,
                planned: planned.plan.len(),
                parts: parts
                    .iter()
                    .flat_map(|p| &p.part)
                    .map(|p| p.partition.clone())
                    .collect(),
            });
        }
        let place: BTreeMap<&str, usize> = (planned.plan.iter().enumerate())
            .map(|(at, id)| (id.as_str(), at))
            .collect();
        order.sort_by_key(|id| place.get(id).copied().unwrap_or(usize::MAX));
    }
    Ok(order.into_iter().map(|id| found[id].1.clone()).collect())
}

fn bench(parts: &[&Report]) -> Result<Vec<crate::BenchResult>, MergeError> {
    let mut owners: BTreeMap<&str, &Report> = BTreeMap::new();
    let mut all = Vec::new();
    for part in parts {
        for bench in &part.bench {
            if let Some(first) = owners.insert(&bench.workload, part) {
                return Err(twice(&bench.workload, first, part));
            }
            all.push(bench.clone());
        }
    }
    Ok(all)
}

fn twice(id: &str, first: &Report, other: &Report) -> MergeError {
    MergeError::Twice {
        id: id.to_owned(),
        first: first.run_id.clone(),
        other: other.run_id.clone(),
    }
}
