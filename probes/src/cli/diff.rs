//! `probe9p diff`: what changed between two runs.

use std::{path::PathBuf, str::FromStr as _};

use clap::{Args, ValueEnum};
use results::{Diff, DiffFormat, Report};

use super::{Exit, Failure, Outcome, output, terminal::look};

/// Options of `probe9p diff`.
#[derive(Debug, Args)]
pub struct DiffOf {
    /// The earlier result
    #[arg(value_name = "BEFORE.json")]
    before: PathBuf,
    /// The later result
    #[arg(value_name = "AFTER.json")]
    after: PathBuf,
    /// What standard output gets: table, json or markdown
    #[arg(long, short, default_value = "table", value_parser = DiffFormat::from_str)]
    format: DiffFormat,
    /// What makes the exit code 1
    #[arg(long, value_enum, default_value_t = FailOn::Never)]
    fail_on: FailOn,
}

/// What makes a comparison's exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A case works less well than before
    Regression,
    /// Anything is different, times and rates aside
    Change,
    /// Nothing
    Never,
}

impl DiffOf {
    /// Compares the two, and prints what is different.
    pub fn run(self) -> Outcome {
        let read = |path| Report::read(path).map_err(|e| Failure::Usage(e.to_string()));
        let diff = Diff::of(&read(&self.before)?, &read(&self.after)?);
        output::print(&self.format.write(&diff, look().width))?;
        let crossed = match self.fail_on {
            FailOn::Regression => !diff.regressions.is_empty(),
            FailOn::Change => !diff.is_empty(),
            FailOn::Never => false,
        };
        Ok(if crossed {
            Exit::VerdictCrossed
        } else {
            Exit::Completed
        })
    }
}
