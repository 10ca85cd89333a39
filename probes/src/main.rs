//! `probe9p`: which programs work on a 9p volume, which fail, why, and what makes them work.

mod cli;

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let child = server9p::helper::dispatch(&args)
        .or_else(|| probes::ops::dispatch(&args))
        .or_else(|| probes::tools::dispatch(&args))
        .or_else(|| probes::bench::dispatch(&args))
        .or_else(|| probes::exec::dispatch(&args))
        .or_else(|| probes::explain::dispatch(&args))
        .or_else(|| probes::fuzz::dispatch(&args));
    child.unwrap_or_else(cli::main)
}
