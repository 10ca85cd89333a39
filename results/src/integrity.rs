//! Digests by which a report that was edited, or mixed from several, is known, and where.
//!
//! They are taken of the JSON itself and not of our types, so that a field that a later probe9p of the same schema
//! version adds is part of them for an older reader too.

use std::mem::take;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{Integrity, Report};

/// The digest of one part of a report.
pub(crate) fn digest(part: &impl Serialize) -> String {
    digest_of(&serde_json::to_value(part).expect("results are plain JSON"))
}

fn digest_of(value: &Value) -> String {
    // A map of serde_json has its keys sorted, so equal content has one text.
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Fields of a report that have digests of their own.
const APART: [&str; 3] = ["cases", "bench", "integrity"];

fn head(report: &Value) -> String {
    let mut head = report.clone();
    if let Value::Object(members) = &mut head {
        members.retain(|name, _| !APART.contains(&name.as_str()));
    }
    digest_of(&head)
}

impl Report {
    /// The report with digests that fit it. Those of cases that have one already are kept.
    pub(crate) fn sealed(&self) -> Report {
        let mut sealed = self.clone();
        let known = sealed.integrity.take().unwrap_or_default();
        let (cases, bench) = (take(&mut sealed.cases), take(&mut sealed.bench));
        let head = head(&serde_json::to_value(&sealed).expect("results are plain JSON"));
        sealed.integrity = Some(Integrity {
            head,
            cases: digests(&cases, known.cases),
            bench: digests(&bench, known.bench),
        });
        (sealed.cases, sealed.bench) = (cases, bench);
        sealed
    }
}

/// The digests that are known already, if there are as many as items; else all of them anew.
fn digests(items: &[impl Serialize], known: Vec<String>) -> Vec<String> {
    if known.len() == items.len() {
        known
    } else {
        items.iter().map(digest).collect()
    }
}

/// Where a report does not fit its digests, and how: `None` where it does, or has none.
pub(crate) fn mismatch(json: &[u8]) -> Option<(String, String)> {
    let report: Value = serde_json::from_slice(json).ok()?;
    let wanted: Integrity = serde_json::from_value(report.get("integrity")?.clone()).ok()?;
    for (list, name, digests) in [
        ("cases", "id", &wanted.cases),
        ("bench", "workload", &wanted.bench),
    ] {
        let empty = Vec::new();
        let items = report.get(list).and_then(Value::as_array).unwrap_or(&empty);
        for (index, (item, digest)) in items.iter().zip(digests).enumerate() {
            if digest_of(item) != *digest {
                let name = item.get(name).and_then(Value::as_str).unwrap_or("?");
                let place = format!("{list}[{index}] ({name})");
                return Some((place, "its content does not fit its digest".into()));
            }
        }
        if items.len() != digests.len() {
            let reason = format!(
                "there are {} of them and digests for {}",
                items.len(),
                digests.len()
            );
            return Some((list.into(), reason));
        }
    }
    (head(&report) != wanted.head).then(|| {
        let place = "the run's head (run_id, started, finished, host, stack)".into();
        (place, "its content does not fit its digest".into())
    })
}
