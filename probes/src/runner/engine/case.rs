//! One case, to its verdict, its remedies and its cause.

use std::{ffi::OsString, time::Duration};

use results::{
    CaseResult, Observation, Outcome, Remedy, Verdict,
    verdict::{judge, representative, with_remedies},
};
use server9p::stack::StackError;

use super::{Company, Engine, Retrace, Sides};
use crate::{
    case::{Other, PlannedCase, PlannedRemedy},
    explain::{
        self,
        explanation::Traces,
        rerun::{self, Traced},
    },
    runner::side::{Seen, Side},
    tools,
};

/// Who runs cases on one pair of sides.
pub(super) struct Worker<'a> {
    pub engine: &'a Engine<'a>,
    pub sides: Sides<'a>,
}

impl Worker<'_> {
    /// Runs one case to its verdict, its remedies and its cause. What fails while the volume is lost may have failed of
    /// that, by whoever's fault, before the loss was known.
    pub(super) fn case(
        &self,
        case: &PlannedCase,
        company: Company,
    ) -> Result<CaseResult, StackError> {
        let losses = self.sides.volume.world.losses();
        let result = self.judged(case, company)?;
        if company == Company::Others
            && !agrees(result.verdict)
            && self.sides.volume.world.losses() != losses
        {
            return Err(StackError::Lost(format!(
                "the volume was lost while {} failed on it",
                case.id
            )));
        }
        Ok(result)
    }

    fn judged(&self, case: &PlannedCase, company: Company) -> Result<CaseResult, StackError> {
        let mut native = Vec::new();
        let mut volume = Vec::new();
        let mut traces = None;
        let mut times = self.engine.options.repeat.max(1);
        // A traced run that came to the same is one of them, but is not shown: it takes longer.
        let mut counted = 0;
        while native.len() + counted < times as usize {
            // The first that fails is shown, with what strace saw of it: two more runs, and slow ones.
            let added = match volume.iter().any(failed) {
                true => tools::again(case.kind),
                false => Vec::new(),
            };
            native.push(self.natively(case, &[], false)?.observation);
            volume.push(
                self.on_volume(self.sides.volume, case, &added, company, false)?
                    .observation,
            );
            let first = judge(&native, &volume).0;
            if native.len() > 1 || agrees(first) {
                continue;
            }
            times = times.max(2);
            if self.engine.options.retrace != Retrace::Never && rerun::tells(case) {
                let traced = self.traced(case, company)?;
                let with = |runs: &[Observation], traced: &Traced| {
                    [runs, std::slice::from_ref(&traced.observation)].concat()
                };
                let both = judge(
                    &with(&native, &traced.native),
                    &with(&volume, &traced.volume),
                )
                .0;
                // strace may disturb a case, so where it changes something only runs without it count.
                counted = usize::from(both == first);
                traces = Some(traced);
            }
        }
        let (verdict, note) = judge(&native, &volume);
        let shown = |side: &[Observation]| representative(side).cloned().unwrap_or_default();
        let mut result = CaseResult {
            id: case.id.clone(),
            kind: case.kind,
            title: case.title.clone(),
            native: shown(&native),
            volume: shown(&volume),
            verdict,
            note,
            cause: None,
            remedies: Vec::new(),
            runs: times,
        };
        if self.engine.options.explain {
            result.cause = (self.engine.diagnose)(case, &result, traces);
            if verdict.is_bad() {
                let others = result.cause.as_ref().map_or(&[][..], explain::instead);
                result.remedies = self.remedies(case, others, &native, company)?;
                result.verdict = with_remedies(verdict, &result.remedies);
            }
        }
        Ok(result)
    }

    /// Runs a case once on each side under strace.
    fn traced(&self, case: &PlannedCase, company: Company) -> Result<Traces, StackError> {
        Ok(Traces {
            native: Traced::of(self.natively(case, &[], true)?),
            volume: Traced::of(self.on_volume(self.sides.volume, case, &[], company, true)?),
            native_again: None,
            marks: None,
        })
    }

    fn limit(&self, case: &PlannedCase) -> Duration {
        case.limit.mul_f64(self.engine.options.timeout_scale)
    }

    /// Runs a case natively. That may be in the volume's world, which is lost with a volume that died of the run before
    /// and is up again for the next.
    fn natively(
        &self,
        case: &PlannedCase,
        added: &[OsString],
        traced: bool,
    ) -> Result<Seen, StackError> {
        let run = || self.once(self.sides.native, case, added, traced);
        match run() {
            Err(StackError::Lost(_)) if !self.engine.cancel.asked() => run(),
            seen => seen,
        }
    }

    /// Runs a case on a volume. When the volume dies under a case that has it to itself, that is what the
    /// case does to volumes.
    fn on_volume(
        &self,
        side: &Side,
        case: &PlannedCase,
        added: &[OsString],
        company: Company,
        traced: bool,
    ) -> Result<Seen, StackError> {
        match self.once(side, case, added, traced) {
            Err(StackError::Lost(why))
                if company == Company::Alone && !self.engine.cancel.asked() =>
            {
                Ok(Seen::without_trace(Observation {
                    outcome: Outcome::Signal,
                    detail: format!("the volume died under it: {why}"),
                    ..Observation::default()
                }))
            }
            seen => seen,
        }
    }

    fn once(
        &self,
        side: &Side,
        case: &PlannedCase,
        added: &[OsString],
        traced: bool,
    ) -> Result<Seen, StackError> {
        let args = [case.child_args.as_slice(), added].concat();
        let tracer = traced.then(rerun::tracer);
        side.attempt(&case.id, &args, self.limit(case), tracer)
    }

    /// Tries each remedy of a case, and then the volumes that may help against its cause.
    fn remedies(
        &self,
        case: &PlannedCase,
        others: &[Other],
        native: &[Observation],
        company: Company,
    ) -> Result<Vec<Remedy>, StackError> {
        let try_one = |remedy| self.remedy(case, remedy, native, company);
        let own = |other: &Other| {
            case.remedies
                .iter()
                .any(|known| known.other == Some(*other))
        };
        let general: Vec<_> = others
            .iter()
            .filter(|other| !own(other))
            .map(|other| other.remedy())
            .collect();
        case.remedies.iter().chain(&general).map(try_one).collect()
    }

    /// Runs a case with a remedy, on both sides if the remedy changes what the case does.
    fn remedy(
        &self,
        case: &PlannedCase,
        remedy: &PlannedRemedy,
        native: &[Observation],
        company: Company,
    ) -> Result<Remedy, StackError> {
        let tried = |verified, detail| Remedy {
            id: remedy.id.clone(),
            title: remedy.title.clone(),
            verified,
            detail,
        };
        let other = match remedy.other {
            None => None,
            Some(other) => match self.engine.other_volume(other) {
                Ok(side) => Some(side),
                Err(StackError::Cancelled) => return Err(StackError::Cancelled),
                Err(why) => return Ok(tried(false, format!("was not run: {why}"))),
            },
        };
        let native = if remedy.child_args.is_empty() {
            native.to_vec()
        } else {
            vec![self.natively(case, &remedy.child_args, false)?.observation]
        };
        let side = other.as_deref().unwrap_or(self.sides.volume);
        let volume = self.on_volume(side, case, &remedy.child_args, company, false)?;
        Ok(match judge(&native, &[volume.observation]) {
            (Verdict::Works, _) => tried(true, String::new()),
            (Verdict::Degraded, note) => tried(true, note),
            (_, note) => tried(false, note),
        })
    }
}

/// Whether one run on each side is enough for this verdict.
fn agrees(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Works | Verdict::Skipped | Verdict::Invalid
    )
}

fn failed(seen: &Observation) -> bool {
    !matches!(seen.outcome, Outcome::Ok | Outcome::NotRun)
}
