//! Running the cases of a plan: in parallel where they may, natively and on the volume, again where the two
//! disagree, and with each remedy where it does not work.
//!
//! A volume that dies takes every case on it along, guilty or not. So those run again, each alone, at the end
//! of the plan; one under which the volume dies twice is what kills it, and its verdict is `crashes`.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    ffi::OsString,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use results::{
    CaseResult, Cause, Event, Observation, Outcome, Remedy, Verdict,
    verdict::{judge, representative, with_remedies},
};
use server9p::stack::StackError;

use super::{
    cancel::Cancel,
    side::{Seen, Side},
};
use crate::{
    case::{Other, PlannedCase, PlannedRemedy},
    explain::{
        self,
        explanation::Traces,
        rerun::{self, Traced},
    },
    tools,
};

/// How cases are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many run at once.
    pub jobs: usize,
    /// How often each side runs at least.
    pub repeat: u32,
    /// Multiplies every case's limit.
    pub timeout_scale: f64,
    /// Whether causes are looked for and remedies tried.
    pub explain: bool,
    /// Which cases run under strace, for their causes.
    pub retrace: Retrace,
}

/// Which cases that do not work are run under strace, for their causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retrace {
    /// None.
    Never,
    /// Every operation case, by the repeat that its verdict needs anyway; and of the tools', whose failing calls are seen
    /// in their own runs, those of no known cause, by runs of their own.
    Failing,
    /// Each of any kind, and all places where its traces part are kept.
    Whole,
}

/// Brings up another volume of the client under test, for the remedies that say so.
pub type OtherVolume<'a> = dyn Fn(Other) -> Result<Side, StackError> + Sync + 'a;

/// What finds the cause of a case that does not work; with its traces on both sides, where it was traced.
pub type Diagnose<'a> =
    dyn Fn(&PlannedCase, &CaseResult, Option<Traces>) -> Option<Cause> + Sync + 'a;

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Every case has its result.
    Complete,
    /// It was cancelled.
    Cancelled,
    /// The volume is gone and cannot be brought up again.
    Lost(StackError),
}

/// Everything that running a case takes.
pub struct Engine<'a> {
    native: &'a Side,
    volume: &'a Side,
    other: &'a OtherVolume<'a>,
    others: Mutex<HashMap<Other, Result<Arc<Side>, StackError>>>,
    options: Options,
    diagnose: &'a Diagnose<'a>,
    cancel: &'a Cancel,
}

/// What a worker tells.
enum Told {
    Started(usize),
    Finished(Box<CaseResult>),
    /// The volume died under this case and perhaps others.
    Suspect(usize),
    /// Nothing can be run any more.
    Lost(StackError),
}

/// Whether a case is run among others or by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    Others,
    Alone,
}

impl<'a> Engine<'a> {
    /// An engine for one volume.
    pub fn new(
        native: &'a Side,
        volume: &'a Side,
        other: &'a OtherVolume<'a>,
        options: Options,
        diagnose: &'a Diagnose<'a>,
        cancel: &'a Cancel,
    ) -> Self {
        let others = Mutex::default();
        Engine {
            native,
            volume,
            other,
            others,
            options,
            diagnose,
            cancel,
        }
    }

    /// Runs `cases` and emits what happens as it happens.
    pub fn run(&self, cases: &[PlannedCase], emit: &mut dyn FnMut(&Event)) -> Ending {
        let (alone, mut together): (Vec<usize>, Vec<usize>) =
            (0..cases.len()).partition(|&index| cases[index].alone);
        // Who may take long starts first, so that at the end nobody waits for one of them.
        together.sort_by_key(|&index| Reverse(cases[index].limit));
        let mut late = alone;
        let stages = [
            (Company::Others, self.options.jobs.max(1)),
            (Company::Alone, 1),
        ];
        let mut queue = together;
        for (company, jobs) in stages {
            let (suspects, ending) = self.stage(cases, queue, jobs, company, emit);
            if !matches!(ending, Ending::Complete) {
                return ending;
            }
            late.extend(suspects);
            queue = std::mem::take(&mut late);
        }
        Ending::Complete
    }

    /// Runs the cases of `queue` by `jobs` workers; returns those under which the volume died.
    fn stage(
        &self,
        cases: &[PlannedCase],
        queue: Vec<usize>,
        jobs: usize,
        company: Company,
        emit: &mut dyn FnMut(&Event),
    ) -> (Vec<usize>, Ending) {
        let mut suspects = Vec::new();
        let mut ending = Ending::Complete;
        let jobs = jobs.min(queue.len());
        let queue = Mutex::new(VecDeque::from(queue));
        thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            for _ in 0..jobs {
                let (tell, queue) = (tell.clone(), &queue);
                scope.spawn(move || self.work(cases, queue, company, &tell));
            }
            drop(tell);
            for news in told {
                match news {
                    Told::Started(index) => {
                        emit(&Event::CaseStarted {
                            id: cases[index].id.clone(),
                        });
                    }
                    Told::Finished(result) => emit(&Event::CaseFinished(result)),
                    Told::Suspect(index) => suspects.push(index),
                    Told::Lost(error) => {
                        ending = Ending::Lost(error);
                        self.cancel.cancel();
                    }
                }
            }
        });
        if matches!(ending, Ending::Complete) && self.cancel.asked() {
            ending = Ending::Cancelled;
        }
        (suspects, ending)
    }

    /// Takes cases off the queue until it is empty or the run is cancelled.
    fn work(
        &self,
        cases: &[PlannedCase],
        queue: &Mutex<VecDeque<usize>>,
        company: Company,
        tell: &mpsc::Sender<Told>,
    ) {
        let take = || queue.lock().expect("no holder panics").pop_front();
        while let Some(index) = take() {
            if self.cancel.asked() {
                return;
            }
            // The receiver outlives every worker.
            let _ = tell.send(Told::Started(index));
            let news = match self.case(&cases[index], company) {
                Ok(result) => Told::Finished(Box::new(result)),
                Err(StackError::Cancelled) => return,
                Err(_) if self.cancel.asked() => return,
                Err(StackError::Lost(_)) if company == Company::Others => Told::Suspect(index),
                Err(error) => Told::Lost(error),
            };
            let _ = tell.send(news);
        }
    }

    /// Runs one case to its verdict, its remedies and its cause. What fails while the volume is lost may have failed of
    /// that, by whoever's fault, before the loss was known.
    fn case(&self, case: &PlannedCase, company: Company) -> Result<CaseResult, StackError> {
        let losses = self.volume.world.losses();
        let result = self.judged(case, company)?;
        if company == Company::Others
            && !agrees(result.verdict)
            && self.volume.world.losses() != losses
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
        let mut times = self.options.repeat.max(1);
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
                self.on_volume(self.volume, case, &added, company, false)?
                    .observation,
            );
            let first = judge(&native, &volume).0;
            if native.len() > 1 || agrees(first) {
                continue;
            }
            times = times.max(2);
            if self.options.retrace != Retrace::Never && rerun::tells(case) {
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
        if self.options.explain {
            result.cause = (self.diagnose)(case, &result, traces);
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
            volume: Traced::of(self.on_volume(self.volume, case, &[], company, true)?),
            native_again: None,
            marks: None,
        })
    }

    fn limit(&self, case: &PlannedCase) -> Duration {
        case.limit.mul_f64(self.options.timeout_scale)
    }

    /// Runs a case natively. That may be in the volume's world, which is lost with a volume that died of the run before
    /// and is up again for the next.
    fn natively(
        &self,
        case: &PlannedCase,
        added: &[OsString],
        traced: bool,
    ) -> Result<Seen, StackError> {
        let run = || self.once(self.native, case, added, traced);
        match run() {
            Err(StackError::Lost(_)) if !self.cancel.asked() => run(),
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
            Err(StackError::Lost(why)) if company == Company::Alone && !self.cancel.asked() => {
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
            Some(other) => match self.other_volume(other) {
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
        let side = other.as_deref().unwrap_or(self.volume);
        let volume = self.on_volume(side, case, &remedy.child_args, company, false)?;
        Ok(match judge(&native, &[volume.observation]) {
            (Verdict::Works, _) => tried(true, String::new()),
            (Verdict::Degraded, note) => tried(true, note),
            (_, note) => tried(false, note),
        })
    }

    /// Another volume, brought up when it is first asked for.
    fn other_volume(&self, other: Other) -> Result<Arc<Side>, StackError> {
        let mut others = self.others.lock().expect("no holder panics");
        others
            .entry(other)
            .or_insert_with(|| {
                let side = (self.other)(other)?;
                self.cancel.watch(&side.world);
                Ok(Arc::new(side))
            })
            .clone()
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

#[cfg(test)]
mod tests;
