//! The command line: one file a subcommand, and what they share.
//!
//! A subcommand is a struct of options (clap's derive) with a `run` that returns its [`Exit`] or a [`Failure`].
//! To add one: write its file, then add its line to [`Command`] and to [`Command::run`]. Standard output carries
//! what was asked for and nothing else; progress and complaints go to standard error.

mod bench;
mod diff;
mod doctor;
mod exec;
mod exit;
mod explain;
mod fidelity;
mod fuzz;
mod interrupt;
mod keep;
mod list;
mod merge;
mod mount;
mod output;
mod publish;
mod report;
mod run;
mod select_args;
mod serve;
mod sinks;
mod terminal;
mod threshold;
mod values;
mod volume_args;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use exit::{Exit, Failure, Outcome};

/// Which programs work on a 9p volume, which fail, why, and what makes them work.
#[derive(Debug, Parser)]
#[command(
    name = "probe9p",
    version,
    max_term_width = 110,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What probe9p can be asked to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run cases natively and on a volume, and say what works
    Run(Box<run::Run>),
    /// Measure throughput natively and on a volume
    Bench(Box<bench::Bench>),
    /// Run any command natively and on a volume, and compare
    Exec(Box<exec::Exec>),
    /// Say why one case fails: the first calls that fail or differ on the volume alone, the 9P messages, the cause
    Explain(Box<explain::Explain>),
    /// Say how nearly stacks behave as a reference: the share of cases with the same verdict and errno
    Fidelity(Box<fidelity::FidelityOf>),
    /// Say what changed between two runs, regressions first
    Diff(diff::DiffOf),
    /// Join the reports of a run that was made in parts
    Merge(merge::Merge),
    /// Apply the same sequences of file operations to several stacks, and show where two part
    Fuzz(Box<fuzz::Fuzz>),
    /// List what can be run
    List(list::List),
    /// Serve a directory over 9P2000.L until SIGINT or SIGTERM
    Serve(Box<serve::Serve>),
    /// Mount a directory as a volume until SIGINT or SIGTERM
    Mount(mount::Mount),
    /// Say what this machine has, what is missing, and what brings it
    Doctor(doctor::Doctor),
    /// Make a site of results, or a table, Markdown, CSV, JUnit, TAP or a compact matrix as data
    Report(report::ReportPages),
    /// Make the runs of a plan that were not made yet, keep them, and make the site of all
    Publish(publish::Publish),
}

impl Command {
    fn run(self) -> Outcome {
        match self {
            Command::Run(run) => run.run(),
            Command::Bench(bench) => bench.run(),
            Command::Exec(exec) => exec.run(),
            Command::Explain(explain) => explain.run(),
            Command::Fidelity(fidelity) => fidelity.run(),
            Command::Diff(diff) => diff.run(),
            Command::Merge(merge) => merge.run(),
            Command::Fuzz(fuzz) => fuzz.run(),
            Command::List(list) => list.run(),
            Command::Serve(serve) => serve.run(),
            Command::Mount(mount) => mount.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Report(report) => report.run(),
            Command::Publish(publish) => publish.run(),
        }
    }
}

/// Reads the command line, does what it says, and turns the result into an exit code.
pub fn main() -> ExitCode {
    let command = Cli::command().after_help(exit::help());
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    exit::guard(|| cli.command.run())
}
