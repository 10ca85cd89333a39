//! A list of cases on a volume that is up, from the first event to the last result.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::SystemTime,
};

use results::{CaseKind, CaseResult, Event, RunStarted, SCHEMA_VERSION};

use super::{
    cancel::Cancel,
    clock,
    engine::{Ending, Engine, Options, Retrace},
    host,
    volume::{Volume, Wanted},
};
use server9p::stack::local::Local;

use crate::{
    case::{Other, PlannedCase},
    explain, tools,
};

/// Up to how many cases a run is about them rather than about the stack.
const BRIEF: usize = 100;

/// Runs `cases` on `up`, which `wanted` brought up, and emits what happens: all but the run's last event, as how
/// a run ended is for its caller to say.
pub fn run(
    wanted: &Wanted,
    up: &Volume,
    cases: &[PlannedCase],
    options: Options,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Ending {
    let began = SystemTime::now();
    cancel.watch(&up.native.world);
    cancel.watch(&up.volume.world);
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
    let (unmatched, known) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let brief = cases.len() <= BRIEF;
    let diagnose = |case: &PlannedCase, result: &CaseResult| {
        let cause = explain::diagnose(result)?;
        let wanted = match retrace {
            Retrace::Never => false,
            Retrace::All => true,
            Retrace::First(most) if cause.id == explain::UNMATCHED => {
                unmatched.fetch_add(1, Ordering::Relaxed) < most
            }
            // What a tool calls was seen in its own run.
            Retrace::First(most) => {
                brief && case.kind == CaseKind::Op && known.fetch_add(1, Ordering::Relaxed) < most
            }
        };
        if !wanted || cancel.asked() {
            return Some(cause);
        }
        let limit = case.limit.mul_f64(scale);
        explain::retraced(&up.native, &up.volume, case, limit, result, &cause).or(Some(cause))
    };
    Engine::new(&up.native, &up.volume, &other, options, &diagnose, cancel).run(&cases, emit)
}
