//! Running the cases of a plan: in parallel where they may, natively and on the volume, again where the two
//! disagree, and with each remedy where it does not work.
//!
//! A volume that dies takes every case on it along, guilty or not. So those run again, each alone, at the end
//! of the plan; one under which the volume dies twice is what kills it, and its verdict is `crashes`.

mod case;

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use results::{CaseResult, Cause, Event};
use server9p::stack::{StackError, processor::Together};

use self::case::Worker;
use super::{cancel::Cancel, side::Side};
use crate::{
    case::{Other, PlannedCase},
    explain::explanation::Traces,
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

/// A plain directory and a volume, for the cases that run beside each other.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// The plain directory.
    pub native: &'a Side,
    /// The volume.
    pub volume: &'a Side,
}

/// Everything that running a case takes.
pub struct Engine<'a> {
    sides: &'a [Sides<'a>],
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
    /// An engine for volumes that are one like the other. Where there are several, each has a processor of its own
    /// ([`processor`](server9p::stack::processor)), and its share of the workers.
    ///
    /// # Panics
    /// Without any.
    pub fn new(
        sides: &'a [Sides<'a>],
        other: &'a OtherVolume<'a>,
        options: Options,
        diagnose: &'a Diagnose<'a>,
        cancel: &'a Cancel,
    ) -> Self {
        assert!(!sides.is_empty(), "cases need a volume");
        let others = Mutex::default();
        Engine {
            sides,
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
            for number in 0..jobs {
                let (tell, queue) = (tell.clone(), &queue);
                scope.spawn(move || {
                    let number = number % self.sides.len();
                    // What it starts anew has to be there, too.
                    let _together = (self.sides.len() > 1).then(|| Together::enter_as(number));
                    let worker = Worker {
                        engine: self,
                        sides: self.sides[number],
                    };
                    worker.work(cases, queue, company, &tell);
                });
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

impl Worker<'_> {
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
            if self.engine.cancel.asked() {
                return;
            }
            // The receiver outlives every worker.
            let _ = tell.send(Told::Started(index));
            let news = match self.case(&cases[index], company) {
                Ok(result) => Told::Finished(Box::new(result)),
                Err(StackError::Cancelled) => return,
                Err(_) if self.engine.cancel.asked() => return,
                Err(StackError::Lost(_)) if company == Company::Others => Told::Suspect(index),
                Err(error) => Told::Lost(error),
            };
            let _ = tell.send(news);
        }
    }
}

#[cfg(test)]
mod tests;
