//! `probe9p doctor`: what this machine has, what is missing, and what brings it.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use probes::machine::{self, Finding, State};

use super::{Exit, Outcome, output};

/// Options of `probe9p doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// How to print the findings
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person
    Table,
    /// For a program
    Json,
}

impl Doctor {
    /// Examines the machine and prints what was found.
    pub fn run(self) -> Outcome {
        let findings = machine::examine();
        match self.format {
            Format::Json => output::print_json(&findings)?,
            Format::Table => output::print(&table(&findings))?,
        }
        Ok(Exit::Completed)
    }
}

fn table(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.id.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.state {
            State::Ready => "ready    ",
            State::Missing => "missing  ",
            State::Forbidden => "forbidden",
        };
        let _ = writeln!(text, "{mark}  {:width$}  {}", finding.id, finding.detail);
        if let Some(remedy) = &finding.remedy {
            let indent = " ".repeat(width + 13);
            let _ = writeln!(text, "{indent}for {}", finding.needed_for);
            let _ = writeln!(text, "{indent}→ {remedy}");
        }
    }
    text
}
