//! The Test Anything Protocol, version 14 (testanything.org/tap-version-14-specification.html).
//!
//! A case that does not work as it is gives `not ok`, one that was skipped or is invalid a SKIP with the reason.

use std::io;

use serde_json::{Value, json};

use super::Reporter;
use crate::{BenchResult, CaseResult, Event, Verdict, text::clean};

/// Writes a test point as each result comes.
pub struct Tap<W> {
    out: W,
    number: usize,
}

impl<W: io::Write> Tap<W> {
    /// A reporter that writes to `out`.
    pub fn new(out: W) -> Self {
        Tap { out, number: 0 }
    }

    fn point(&mut self, ok: bool, description: &str, skip: Option<&str>) -> io::Result<()> {
        self.number += 1;
        let directive = skip
            .map(|why| format!(" # SKIP {}", clean(why)))
            .unwrap_or_default();
        let ok = if ok { "ok" } else { "not ok" };
        writeln!(
            self.out,
            "{ok} {} - {}{directive}",
            self.number,
            escape(description)
        )
    }

    fn case(&mut self, case: &CaseResult) -> io::Result<()> {
        let skip =
            matches!(case.verdict, Verdict::Skipped | Verdict::Invalid).then(|| case.note.as_str());
        self.point(!case.verdict.is_bad(), &case.id, skip)?;
        if case.verdict == Verdict::Works || skip.is_some() {
            return Ok(());
        }
        let mut lines = vec![
            ("verdict", json!(case.verdict.name())),
            ("title", json!(case.title)),
            ("message", json!(case.note)),
        ];
        let seen = &case.volume;
        lines.extend(seen.call.as_ref().map(|call| ("call", json!(call))));
        lines.extend(seen.errno.as_ref().map(|errno| ("errno", json!(errno))));
        lines.extend(seen.exit_code.map(|code| ("exit_code", json!(code))));
        lines.extend(seen.signal.as_ref().map(|signal| ("signal", json!(signal))));
        if let Some(cause) = &case.cause {
            lines.push(("cause", json!(cause.id)));
            lines.push(("evidence", json!(cause.evidence)));
        }
        let helps: Vec<&str> = case
            .remedies
            .iter()
            .filter(|r| r.verified)
            .map(|r| r.title.as_str())
            .collect();
        if !helps.is_empty() {
            lines.push(("verified_remedies", json!(helps)));
        }
        lines.push(("duration_ms", json!(seen.duration_ms)));
        self.block(&lines)
    }

    fn bench(&mut self, bench: &BenchResult) -> io::Result<()> {
        self.point(true, &bench.workload, None)?;
        self.block(&[
            ("title", json!(bench.title)),
            ("unit", json!(bench.unit)),
            ("native_median", json!(bench.native.median)),
            ("volume_median", json!(bench.volume.median)),
            ("ratio", json!(bench.ratio)),
            ("warnings", json!(bench.warnings)),
        ])
    }

    /// A YAML diagnostic block. JSON values are YAML values, so nothing in them can end the block.
    fn block(&mut self, lines: &[(&str, Value)]) -> io::Result<()> {
        writeln!(self.out, "  ---")?;
        for (key, value) in lines {
            writeln!(self.out, "  {key}: {value}")?;
        }
        writeln!(self.out, "  ...")
    }
}

impl<W: io::Write> Reporter for Tap<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::RunStarted(run) => {
                writeln!(self.out, "TAP version 14")?;
                writeln!(
                    self.out,
                    "1..{} # {}",
                    run.planned.len(),
                    clean(&run.stack.name())
                )?;
            }
            Event::CaseStarted { .. } | Event::RunFinished { .. } => {}
            Event::CaseFinished(case) => self.case(case)?,
            Event::BenchFinished(bench) => self.bench(bench)?,
            Event::RunInterrupted { reason } => writeln!(self.out, "Bail out! {}", clean(reason))?,
        }
        self.out.flush()
    }
}

/// A description in which no directive can begin.
fn escape(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('#', "\\#")
}
