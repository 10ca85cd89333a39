//! The `server9p` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(code) = server9p::helper::dispatch(&args) {
        return code;
    }
    ExitCode::SUCCESS
}
