//! `--fail-on` and `--baseline`: what makes a run end with exit code 1.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr as _};

use clap::Args;
use results::{
    CaseResult, FailOn, Report,
    diff::{self, Kind},
};

use super::{Exit, Failure};

/// Options that say what makes a run fail.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What is written")]
pub struct ThresholdArgs {
    /// End with exit code 1 if a verdict is at least so bad: degraded, workaround, unstable, fails, hangs, crashes;
    /// if one is worse than in --baseline: regression; or never
    #[arg(long, value_name = "VERDICT", default_value = "never", value_parser = FailOn::from_str)]
    fail_on: FailOn,
    /// An earlier result to compare with, for --fail-on regression
    #[arg(long, value_name = "RESULT.json")]
    baseline: Option<PathBuf>,
}

impl ThresholdArgs {
    /// Reads the baseline, so that a missing one is told of before anything runs.
    pub fn open(&self) -> Result<Threshold, Failure> {
        let baseline = match (&self.baseline, self.fail_on) {
            (None, FailOn::Regression) => {
                return Err(Failure::Usage(
                    "--fail-on regression needs an earlier result to compare with; name one with --baseline \
                     RESULT.json, which `probe9p run --out RESULT.json` wrote"
                        .into(),
                ));
            }
            (None, _) => BTreeMap::new(),
            (Some(path), _) => {
                let report = Report::read(path).map_err(|e| Failure::Usage(e.to_string()))?;
                let cases = report.cases.into_iter();
                cases.map(|case| (case.id.clone(), case)).collect()
            }
        };
        Ok(Threshold {
            fail_on: self.fail_on,
            baseline,
            crossed: false,
            worse: Vec::new(),
        })
    }
}

/// The results of a run, as far as they matter to its exit code.
pub struct Threshold {
    fail_on: FailOn,
    baseline: BTreeMap<String, CaseResult>,
    crossed: bool,
    worse: Vec<String>,
}

impl Threshold {
    /// Takes one result in.
    pub fn see(&mut self, case: &CaseResult) {
        if self.fail_on.is_crossed_by(case.verdict) {
            self.crossed = true;
        }
        let Some(before) = self.baseline.get(&case.id) else {
            return;
        };
        if diff::compare(before, case) == Kind::Regression {
            (self.worse).push(format!(
                "{} ({} → {})",
                case.id, before.verdict, case.verdict
            ));
            self.crossed |= self.fail_on == FailOn::Regression;
        }
    }

    /// How the run ends, had it nothing else to say; tells what became worse on standard error.
    pub fn end(&self) -> Exit {
        if !self.worse.is_empty() {
            eprintln!(
                "probe9p: worse than in the baseline: {}",
                self.worse.join(", ")
            );
        }
        if self.crossed {
            Exit::VerdictCrossed
        } else {
            Exit::Completed
        }
    }
}
