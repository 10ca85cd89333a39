//! What the terminal can show, and the progress of a run on it.
//!
//! A bar stands on standard error when that is a terminal; else there is one plain line a case.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use results::{Event, Look, Reporter};

/// How wide and how colourful standard output may be.
pub fn look() -> Look {
    let terminal = io::stdout().is_terminal();
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|term| term == "dumb");
    let width = terminal
        .then(|| rustix::termios::tcgetwinsize(io::stdout()).ok())
        .flatten()
        .map(|size| usize::from(size.ws_col))
        .filter(|&columns| columns > 0)
        .unwrap_or(Look::default().width);
    Look {
        colour: terminal && !plain,
        width,
        ..Look::default()
    }
}

/// Shows how far a run is.
pub struct Progress {
    bar: Option<ProgressBar>,
    lines: bool,
    running: Vec<String>,
    done: usize,
    planned: usize,
}

impl Progress {
    /// A bar where standard error is a terminal; else, if `lines`, a line a case.
    pub fn new(lines: bool) -> Self {
        let bar = io::stderr().is_terminal().then(ProgressBar::hidden);
        Progress {
            lines: lines && bar.is_none(),
            bar,
            running: Vec::new(),
            done: 0,
            planned: 0,
        }
    }

    /// Does something that writes to the terminal while the bar is out of the way.
    pub fn aside<T>(&self, act: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(act),
            None => act(),
        }
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.done as u64);
            bar.set_message(self.running.join(", "));
        }
    }
}

impl Reporter for Progress {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::RunStarted(run) => {
                self.planned = run.planned.len();
                if self.bar.is_some() {
                    let bar = ProgressBar::new(self.planned as u64);
                    let style = "{bar:20} {pos}/{len}  {elapsed}  {wide_msg}";
                    if let Ok(style) = ProgressStyle::with_template(style) {
                        bar.set_style(style.progress_chars("━╸─"));
                    }
                    bar.enable_steady_tick(Duration::from_millis(250));
                    self.bar = Some(bar);
                }
            }
            Event::CaseStarted { id } => self.running.push(id.clone()),
            Event::CaseFinished(case) => {
                self.done += 1;
                self.running.retain(|id| *id != case.id);
                if self.lines {
                    let width = self.planned.to_string().len();
                    let (done, planned) = (self.done, self.planned);
                    writeln!(
                        io::stderr(),
                        "[{done:width$}/{planned}] {} {}",
                        case.id,
                        case.verdict
                    )?;
                }
            }
            Event::BenchFinished(bench) => {
                self.done += 1;
                if self.lines {
                    writeln!(
                        io::stderr(),
                        "[{}/{}] {}",
                        self.done,
                        self.planned,
                        bench.workload
                    )?;
                }
            }
            Event::RunFinished { .. } | Event::RunInterrupted { .. } => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
            }
        }
        self.show();
        Ok(())
    }
}

/// Cuts lines to the terminal's width, where standard output is one.
pub fn fit(text: &str) -> String {
    if !io::stdout().is_terminal() {
        return text.to_owned();
    }
    let width = look().width;
    let cut = |line: &str| match line.char_indices().nth(width) {
        Some(_) => line
            .chars()
            .take(width.saturating_sub(1))
            .chain(['…'])
            .collect(),
        None => line.to_owned(),
    };
    text.lines().map(|line| cut(line) + "\n").collect()
}
