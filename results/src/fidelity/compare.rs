//! Two reports, case by case: what agrees, what does not, and what cannot be compared.

use std::collections::{BTreeMap, BTreeSet};

use super::{Agreement, Apart, ComparedRun, Disagreement, Seen, Tally};
use crate::{CaseKind, CaseResult, Outcome, Report, Verdict};

impl Agreement {
    /// Compares one report with the reference's.
    pub fn of(reference: &Report, candidate: &Report) -> Self {
        let theirs: BTreeMap<&str, &CaseResult> = by_id(candidate);
        let known: BTreeSet<&str> = by_id(reference).into_keys().collect();
        let mut agreement = Agreement {
            candidate: ComparedRun::of(candidate),
            compared: 0,
            agreed: 0,
            share: None,
            operations: Tally::default(),
            tools: Tally::default(),
            disagreements: Vec::new(),
            apart: Vec::new(),
        };
        for ours in &reference.cases {
            agreement.add(&ours.id, Some(ours), theirs.get(ours.id.as_str()).copied());
        }
        for case in (candidate.cases.iter()).filter(|case| !known.contains(case.id.as_str())) {
            agreement.add(&case.id, None, Some(case));
        }
        if agreement.compared > 0 {
            agreement.share = Some(agreement.agreed as f64 / agreement.compared as f64);
        }
        agreement
    }

    fn add(&mut self, id: &str, ours: Option<&CaseResult>, theirs: Option<&CaseResult>) {
        let (reference, candidate) = match comparable(ours, theirs) {
            Ok(both) => both,
            Err(reason) => {
                let id = id.to_owned();
                self.apart.push(Apart { id, reason });
                return;
            }
        };
        let verdict_differs = reference.verdict != candidate.verdict;
        let errno_differs = reference.volume.errno != candidate.volume.errno;
        let agrees = !verdict_differs && !errno_differs;
        let of_kind = match reference.kind {
            CaseKind::Op => &mut self.operations,
            CaseKind::Tool => &mut self.tools,
        };
        for (compared, agreed) in [
            (&mut self.compared, &mut self.agreed),
            (&mut of_kind.compared, &mut of_kind.agreed),
        ] {
            *compared += 1;
            *agreed += usize::from(agrees);
        }
        if agrees {
            return;
        }
        self.disagreements.push(Disagreement {
            id: id.to_owned(),
            kind: reference.kind,
            title: reference.title.clone(),
            verdict_differs,
            errno_differs,
            reference: Seen::of(reference),
            candidate: Seen::of(candidate),
        });
    }
}

impl Seen {
    pub(crate) fn of(case: &CaseResult) -> Self {
        Seen {
            verdict: case.verdict,
            note: case.note.clone(),
            volume: case.volume.clone(),
        }
    }
}

fn by_id(report: &Report) -> BTreeMap<&str, &CaseResult> {
    (report.cases.iter())
        .map(|case| (case.id.as_str(), case))
        .collect()
}

/// Both results, if both say something of their volumes; else why they don't.
///
/// A case that is invalid on both sides says nothing of either volume. One that is invalid on one side only is
/// compared, and so disagrees: there the two stacks' surroundings differ, which must not go unseen.
fn comparable<'a>(
    reference: Option<&'a CaseResult>,
    candidate: Option<&'a CaseResult>,
) -> Result<(&'a CaseResult, &'a CaseResult), String> {
    let reference = was_run(reference, "the reference")?;
    let candidate = was_run(candidate, "the candidate")?;
    if reference.verdict == Verdict::Invalid && candidate.verdict == Verdict::Invalid {
        return Err("fails natively too on both".into());
    }
    Ok((reference, candidate))
}

fn was_run<'a>(case: Option<&'a CaseResult>, side: &str) -> Result<&'a CaseResult, String> {
    let case = case.ok_or_else(|| format!("{side} has no result"))?;
    if case.verdict != Verdict::Skipped && case.volume.outcome != Outcome::NotRun {
        return Ok(case);
    }
    let why = [&case.note, &case.volume.detail]
        .into_iter()
        .find(|text| !text.is_empty());
    Err(match why {
        Some(why) => format!("{side} did not run it: {why}"),
        None => format!("{side} did not run it"),
    })
}
