//! `probe9p`: which programs work on a 9p volume, which fail, why, and what makes them work.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
