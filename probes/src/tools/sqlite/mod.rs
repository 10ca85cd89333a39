//! SQLite's shell, built in: `probe9p @sqlite3 [OPTIONS] DATABASE [SQL…]`.
//!
//! The sqlite recipe's cases are written for the `sqlite3` program, and this is enough of that program to run
//! them where it is not installed: the same options, dot-commands and exit codes, over the SQLite that is
//! compiled into probe9p. It has one thing more: every system call of SQLite's that fails is written down with
//! its arguments, which is the evidence that strace supplies for other programs.
//!
//! [`options`] reads the command line, [`shell`] runs statements and dot-commands ([`dot`]), [`hooks`] records
//! the calls, [`codes`] names SQLite's extended result codes.

mod codes;
mod dot;
mod hooks;
mod options;
mod shell;

use std::{ffi::OsString, process::ExitCode};

/// The variable that names the file which failing calls are appended to, as JSON lines.
pub const RECORD: &str = "PROBE9P_CALLS";

/// Runs the shell; `arguments` are those after the helper's name.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let options = match options::parse(arguments) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("Error: {problem}");
            return ExitCode::from(1);
        }
    };
    if options.version {
        println!("{} (built into probe9p)", rusqlite::version());
        return ExitCode::SUCCESS;
    }
    hooks::install();
    shell::Shell::new(&options).run(&options)
}

/// The version of the SQLite that is built in.
pub fn version() -> String {
    format!("{} (built into probe9p)", rusqlite::version())
}
