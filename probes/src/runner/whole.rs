//! A list of cases on a volume that is up, from the first event to the last result.

use std::{sync::OnceLock, time::SystemTime};

use results::{CaseResult, Event, RunStarted, SCHEMA_VERSION, Verdict};

use super::{
    cancel::Cancel,
    clock,
    engine::{Ending, Engine, Options, Retrace, Sides},
    host,
    volume::{Volume, Wanted},
};
use server9p::stack::local::Local;

use crate::{
    case::{Other, PlannedCase},
    explain::{self, Detail, explanation::Traces, rerun},
    tools,
};

/// How a run ended, and what it lacks.
pub struct Ended {
    /// Whether every case has its result.
    pub ending: Ending,
    /// Why a case could not be traced, if so: a sentence.
    pub untraced: Option<String>,
}

/// Runs `cases` on `volumes`, of which there is one at least and which `wanted` brought up, and emits what happens: all
/// but the run's last event, as how a run ended is for its caller to say.
pub fn run(
    wanted: &Wanted,
    volumes: &[Volume],
    cases: &[PlannedCase],
    options: Options,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Ended {
    let began = SystemTime::now();
    for one in volumes {
        cancel.watch(&one.native.world);
        cancel.watch(&one.volume.world);
    }
    let up = &volumes[0];
    emit(&Event::RunStarted(Box::new(RunStarted {
        schema_version: SCHEMA_VERSION,
        run_id: clock::run_id(began),
        started: clock::rfc3339(began),
        host: host::describe(&up.native.here),
        stack: up.stack.clone(),
        planned: cases.iter().map(|case| case.id.clone()).collect(),
        part: None,
    })));
    let other = |other| match other {
        // It costs nothing beside the volume, where another world takes a guest of its own.
        Other::Local(Local::Ram) => up.volume.ram().map_or_else(|| wanted.other(other), Ok),
        Other::Local(Local::Storage) | Other::Cache(_) => wanted.other(other),
    };
    let scale = options.timeout_scale;
    let cases: Vec<PlannedCase> = cases
        .iter()
        .map(|case| tools::with_timeout_scale(case, scale))
        .collect();
    let retrace = options.retrace;
    let untraced = OnceLock::new();
    let diagnose = |case: &PlannedCase, result: &CaseResult, traces: Option<Traces>| {
        let known = explain::diagnose(result)?;
        let limit = case.limit.mul_f64(scale);
        let (native, volume) = (&up.native, &up.volume);
        let wanted = match retrace {
            Retrace::Never => false,
            Retrace::Failing => known.id == explain::UNMATCHED,
            Retrace::Whole => true,
        };
        let take = || Traces::take(native, volume, case, limit, false).ok();
        // What hangs or kills its volume is not run again for this.
        let ends = !matches!(result.verdict, Verdict::Hangs | Verdict::Crashes);
        let may = ends && untraced.get().is_none() && !cancel.asked();
        let Some(traces) = traces.or_else(|| (wanted && may).then(take).flatten()) else {
            return Some(known);
        };
        if let (Err(why), true) = (traces.differences(), ends) {
            untraced.get_or_init(|| why.to_owned());
        }
        let detail = match retrace {
            Retrace::Never | Retrace::Failing => Detail::Calls,
            Retrace::Whole => Detail::Whole,
        };
        let again = || rerun::run(native, &case.id, &case.child_args, limit).ok();
        Some(explain::traced(result, known, traces, detail, again))
    };
    let sides: Vec<Sides> = volumes
        .iter()
        .map(|one| Sides {
            native: &one.native,
            volume: &one.volume,
        })
        .collect();
    let engine = Engine::new(&sides, &other, options, &diagnose, cancel);
    let ending = engine.run(&cases, emit);
    drop(engine);
    Ended {
        ending,
        untraced: untraced.into_inner(),
    }
}
