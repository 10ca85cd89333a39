//! `probe9p merge`: one report of a run that was made in parts.

use std::path::PathBuf;

use clap::Args;
use results::Report;

use super::{
    Exit, Failure, Outcome,
    keep::{cannot, try_out, write_whole},
    output,
};

/// Options of `probe9p merge`.
#[derive(Debug, Args)]
pub struct Merge {
    /// What the parts' runs wrote with --out or --jsonl
    #[arg(required = true, value_name = "PART.json")]
    parts: Vec<PathBuf>,
    /// Write the whole report here instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write a line a case, for version control
    #[arg(long)]
    compact: bool,
    /// Leave out what differs between two runs that saw the same: times, rates and the run's name
    #[arg(long)]
    without_times: bool,
}

impl Merge {
    /// Joins the parts; nothing is written where they do not fit.
    pub fn run(self) -> Outcome {
        let replaced = self.out.as_deref().map(try_out).transpose()?;
        let read = |path| Report::read(path).map_err(|e| Failure::Usage(e.to_string()));
        let parts: Vec<Report> = self.parts.iter().map(read).collect::<Result<_, _>>()?;
        let mut whole = results::merge(&parts).map_err(|e| Failure::Usage(e.to_string()))?;
        if self.without_times {
            whole = whole.without_times();
        }
        let text = if self.compact {
            whole.to_compact_json()
        } else {
            whole.to_json()
        };
        match (&self.out, replaced) {
            (Some(path), Some(replaced)) => {
                write_whole(path, &text, replaced).map_err(|error| cannot(path, &error))?;
            }
            _ => output::print(&text)?,
        }
        Ok(Exit::Completed)
    }
}
