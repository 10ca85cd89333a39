//! `probe9p @bench`: one turn of a workload in one directory, in a process and in a world of its own.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;

use super::{
    work::{self, Job},
    workload::{WHOLE, Workload},
};

/// The first argument of the child that does one turn.
pub const ARGUMENT: &str = "@bench";

#[derive(Debug, Parser)]
#[command(name = "probe9p @bench")]
struct Args {
    /// What to do, as JSON.
    #[arg(long, value_parser = |text: &str| serde_json::from_str::<Workload>(text))]
    workload: Workload,
    /// A directory that may be written.
    #[arg(long)]
    dir: PathBuf,
    /// For how many milliseconds; 0 only prepares.
    #[arg(long)]
    millis: u64,
    /// Size of the file that is read or written, in MiB.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    file_mib: u64,
    /// Chooses the random places.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// End the turn also when as many blocks were read or written as the file has.
    #[arg(long)]
    once: bool,
}

/// Does the turn that `args` ask for, if they are a bench child's; `None` when they are not.
///
/// `args` are the program's arguments without its own name. The last line of standard output is the
/// [`work::Turn`] as JSON; the exit code is 0 when there is one, else standard error says why.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    if args.first().is_none_or(|first| first != ARGUMENT) {
        return None;
    }
    Some(match Args::try_parse_from(args) {
        Ok(args) => run(&args),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(70)
        }
    })
}

fn run(args: &Args) -> ExitCode {
    let job = Job {
        workload: args.workload.clone(),
        dir: args.dir.clone(),
        time: Duration::from_millis(args.millis),
        file_bytes: args.file_mib * WHOLE as u64,
        seed: args.seed,
        once: args.once,
    };
    let done = work::prepare(&job).and_then(|()| work::turn(&job));
    match done.map(|turn| serde_json::to_string(&turn)) {
        Ok(Ok(line)) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            eprintln!("the turn cannot be written as JSON: {error}");
            ExitCode::from(70)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
