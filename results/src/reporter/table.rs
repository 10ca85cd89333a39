//! The table for people: a line a case as it ends, what is wrong and what helps under each that does not work,
//! and a line that sums up. A verdict is always a glyph and a word; colour only adds to them.

use std::io;

use super::{Reporter, out_of_order, why::Told};
use crate::{
    BenchResult, CaseResult, Event, Latency, Observation, Outcome, ReportBuilder, RunStarted,
    Samples, Verdict, WireCount,
    text::{clean, columns, duration, number, pad_left, pad_right, plural, shorten, wrap},
};

/// How a table may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether it may hold terminal colours.
    pub colour: bool,
    /// How many columns there are. Long ids may stand over.
    pub width: usize,
    /// Whether all that shows a cause stands under a case, instead of the first piece of it.
    pub whole_evidence: bool,
}

impl Default for Look {
    fn default() -> Self {
        Look {
            colour: false,
            width: 120,
            whole_evidence: false,
        }
    }
}

/// Columns before a case's id: glyph, space, the longest verdict's word, two spaces.
const INDENT: usize = 14;
/// Columns of a duration.
const TIME: usize = 8;
/// Columns of a unit of rates.
const UNIT: usize = 5;
/// Columns of a median with its interval.
const INTERVAL: usize = 26;
/// Fewer columns than this are not worth a title.
const LEAST_TITLE: usize = 30;

/// Writes the table as results come.
pub struct Table<W> {
    out: W,
    look: Look,
    builder: ReportBuilder,
    told: Told,
    id_columns: usize,
    cases_headed: bool,
    bench_headed: bool,
}

impl<W: io::Write> Table<W> {
    /// A reporter that writes to `out`.
    pub fn new(out: W, look: Look) -> Self {
        Table {
            out,
            look,
            builder: ReportBuilder::default(),
            told: Told::default(),
            id_columns: 0,
            cases_headed: false,
            bench_headed: false,
        }
    }

    fn started(&mut self, run: &RunStarted) -> io::Result<()> {
        let stack = &run.stack;
        self.id_columns = run
            .planned
            .iter()
            .map(|id| columns(&clean(id)))
            .max()
            .unwrap_or(0)
            .min(44);
        let line = format!(
            "{} · Linux {} · cache={} · host {}",
            stack.name(),
            stack.kernel,
            stack.cache,
            run.host.filesystem
        );
        writeln!(self.out, "{}", self.paint(BOLD, &clean(&line)))?;
        for line in wrap(
            &clean(&stack.mount_options),
            self.look.width.saturating_sub(2),
        ) {
            if !line.is_empty() {
                writeln!(self.out, "{}", self.paint(DIM, &line))?;
            }
        }
        Ok(())
    }

    fn case(&mut self, case: &CaseResult) -> io::Result<()> {
        self.head(&["native", "volume"])?;
        let id = pad_right(&clean(&case.id), self.id_columns);
        let mut line = format!(
            "{}  {id}  {}  {}",
            self.verdict(case.verdict),
            pad_left(&took(&case.native), TIME),
            pad_left(&took(&case.volume), TIME),
        );
        let used = INDENT + columns(&id) + 2 * (TIME + 2) + 2;
        let left = self.look.width.saturating_sub(used);
        if left >= LEAST_TITLE {
            line += &self.paint(DIM, &format!("  {}", shorten(&clean(&case.title), left)));
        }
        writeln!(self.out, "{}", line.trim_end())?;
        if case.verdict == Verdict::Works {
            // What was not tried, or could not be judged.
            return self.under("", "", &case.volume.detail);
        }
        for line in self.told.lines(case, self.look.whole_evidence) {
            let code = if line.helps { GREEN } else { DIM };
            let label = self.paint(code, line.label);
            self.under(line.label, &label, &line.text)?;
        }
        Ok(())
    }

    fn bench(&mut self, bench: &BenchResult) -> io::Result<()> {
        let width = self.id_columns.max(columns(&clean(&bench.workload)));
        if !self.bench_headed {
            self.bench_headed = true;
            let head = format!(
                "\n{}  {}  {}  {}  {}",
                pad_right("workload", width),
                pad_right("unit", UNIT),
                pad_left("native, 95 % interval", INTERVAL),
                pad_left("volume, 95 % interval", INTERVAL),
                "volume/native"
            );
            writeln!(self.out, "{}", self.paint(DIM, &head))?;
        }
        writeln!(
            self.out,
            "{}  {}  {}  {}  {}",
            pad_right(&clean(&bench.workload), width),
            pad_right(&clean(&bench.unit), UNIT),
            pad_left(&interval(&bench.native), INTERVAL),
            pad_left(&interval(&bench.volume), INTERVAL),
            self.paint(BOLD, &ratio(bench.ratio)),
        )?;
        for (side, latency) in [
            ("native", bench.native_latency),
            ("volume", bench.volume_latency),
        ] {
            if let Some(latency) = latency {
                let text = format!("  latency, {side}: {}", latencies(&latency));
                writeln!(self.out, "{}", self.paint(DIM, &text))?;
            }
        }
        if let Some(wire) = &bench.wire {
            let text = format!("  on the wire: {}", on_the_wire(wire));
            writeln!(self.out, "{}", self.paint(DIM, &text))?;
        }
        for warning in &bench.warnings {
            for line in wrap(&clean(warning), self.look.width.saturating_sub(4)) {
                writeln!(self.out, "  {}", self.paint(YELLOW, &format!("! {line}")))?;
            }
        }
        Ok(())
    }

    fn sum_up(&mut self, interrupted: Option<&str>) -> io::Result<()> {
        let Some(report) = self.builder.report() else {
            return Ok(());
        };
        let done = report.cases.len() + report.bench.len();
        let mut line = String::new();
        if !report.cases.is_empty() {
            let counts: Vec<String> = report
                .counts()
                .into_iter()
                .map(|(v, n)| self.paint(colour_of(v), &format!("{n} {}", v.name())))
                .collect();
            line = format!(
                "{}: {}",
                plural(report.cases.len(), "case"),
                counts.join(", ")
            );
        }
        writeln!(
            self.out,
            "{}{line}",
            if done > 0 && !line.is_empty() {
                "\n"
            } else {
                ""
            }
        )?;
        if let Some(reason) = interrupted {
            let text = format!(
                "Interrupted after {done} of {}: {}; the results so far are valid.",
                self.builder.planned(),
                clean(reason).trim_end_matches('.')
            );
            writeln!(self.out, "{}", self.paint(YELLOW, &text))?;
        }
        self.out.flush()
    }

    fn head(&mut self, columns: &[&str]) -> io::Result<()> {
        if self.cases_headed {
            return Ok(());
        }
        self.cases_headed = true;
        let times: String = columns
            .iter()
            .map(|c| format!("  {}", pad_left(c, TIME)))
            .collect();
        let head = format!(
            "  {}  {}{times}",
            pad_right("verdict", 10),
            pad_right("case", self.id_columns)
        );
        writeln!(self.out, "\n{}", self.paint(DIM, &head))
    }

    /// Lines under a case, each aligned with the first.
    fn under(&mut self, label: &str, painted: &str, text: &str) -> io::Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let hang = INDENT + columns(label);
        for (i, line) in wrap(&clean(text), self.look.width.saturating_sub(hang).max(24))
            .iter()
            .enumerate()
        {
            let before = if i == 0 {
                painted.to_owned()
            } else {
                " ".repeat(columns(label))
            };
            writeln!(self.out, "{}{before}{line}", " ".repeat(INDENT))?;
        }
        Ok(())
    }

    fn verdict(&self, verdict: Verdict) -> String {
        let text = format!("{} {}", verdict.symbol(), pad_right(verdict.name(), 10));
        self.paint(colour_of(verdict), &text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.look.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

impl<W: io::Write> Reporter for Table<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.builder.event(event).map_err(out_of_order)?;
        match event {
            Event::RunStarted(run) => self.started(run)?,
            Event::CaseStarted { .. } => {}
            Event::CaseFinished(case) => self.case(case)?,
            Event::BenchFinished(bench) => self.bench(bench)?,
            Event::RunFinished { .. } => self.sum_up(None)?,
            Event::RunInterrupted { reason } => self.sum_up(Some(reason))?,
        }
        self.out.flush()
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

fn colour_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Works => GREEN,
        Verdict::Degraded | Verdict::Workaround | Verdict::Unstable => YELLOW,
        Verdict::Fails | Verdict::Hangs | Verdict::Crashes => RED,
        Verdict::Skipped | Verdict::Invalid => DIM,
    }
}

fn took(seen: &Observation) -> String {
    if seen.outcome == Outcome::NotRun {
        "-".to_owned()
    } else {
        duration(seen.duration_ms)
    }
}

/// `1 234 [1 200, 1 260]`
fn latencies(latency: &Latency) -> String {
    let [p50, p95, p99] =
        [latency.p50, latency.p95, latency.p99].map(|time| format!("{time:.1} µs"));
    format!("half within {p50}, 95 % within {p95}, 99 % within {p99}")
}

pub(crate) fn interval(samples: &Samples) -> String {
    format!(
        "{} [{}, {}]",
        number(samples.median),
        number(samples.low),
        number(samples.high)
    )
}

/// A ratio in a form that says at once how much: `0.42×`.
pub(crate) fn ratio(value: f64) -> String {
    format!("{}×", number(value))
}

/// What one operation takes of messages and bytes, and how much of the time the server works.
pub(crate) fn on_the_wire(wire: &WireCount) -> String {
    format!(
        "{} messages and {} an operation; {} messages, {} to the server, {} from it, which was at work {:.0} % of the time",
        number(wire.messages_per_operation),
        bytes(wire.bytes_per_operation),
        number(wire.messages as f64),
        bytes(wire.bytes_to_server as f64),
        bytes(wire.bytes_from_server as f64),
        100.0 * wire.server_busy
    )
}

/// A number of bytes in the unit that suits it.
pub(crate) fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = (0..units.len() - 1)
        .find(|step| count < 1024f64.powi(*step as i32 + 1))
        .unwrap_or(units.len() - 1);
    format!(
        "{} {}",
        number(count / 1024f64.powi(step as i32)),
        units[step]
    )
}
