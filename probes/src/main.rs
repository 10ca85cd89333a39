//! `probe9p`: which programs work on a 9p volume, which fail, why, and what makes them work.

mod cli;

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    server9p::helper::own_commands(child);
    let helper = server9p::helper::dispatch(&args).or_else(|| child(&args));
    helper.unwrap_or_else(cli::main)
}

/// Runs the child of ours that `args` name: of a case, a benchmark, `exec`, `explain` or `fuzz`, or a case's hand on the host.
fn child(args: &[OsString]) -> Option<ExitCode> {
    probes::ops::dispatch(args)
        .or_else(|| probes::ops::host::dispatch(args))
        .or_else(|| probes::tools::dispatch(args))
        .or_else(|| probes::bench::dispatch(args))
        .or_else(|| probes::exec::dispatch(args))
        .or_else(|| probes::explain::dispatch(args))
        .or_else(|| probes::fuzz::dispatch(args))
}
