//! How probe9p ends: the documented exit codes, and the one place where errors become one of them.
//!
//! Scripts rely on these numbers, so they are listed once, and the help text is made of the list.

use std::{
    backtrace::Backtrace,
    fmt::Write as _,
    io,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::OnceLock,
};

use server9p::stack::StackError;

/// Every way in which probe9p ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for was done, whatever the verdicts are.
    Completed = 0,
    /// A verdict named by `--fail-on` occurred, or `fuzz` found stacks that part.
    VerdictCrossed = 1,
    /// The command line asks for something that does not exist or cannot be.
    Usage = 2,
    /// The volume could not be brought up, or a directory cannot be used.
    NoStack = 3,
    /// No case was selected.
    NothingSelected = 4,
    /// A fault of probe9p's own.
    Fault = 70,
    /// SIGINT or SIGTERM ended the run early; the results so far are kept and valid.
    Interrupted = 130,
}

impl Exit {
    /// Every exit code with what it means, in the order that help lists them.
    pub const ALL: [(Exit, &str); 7] = [
        (Exit::Completed, "done, whatever the verdicts are"),
        (
            Exit::VerdictCrossed,
            "a verdict named by --fail-on occurred, or fuzz found stacks that part",
        ),
        (
            Exit::Usage,
            "the command line is wrong: an unknown option, tool or operation",
        ),
        (
            Exit::NoStack,
            "the volume could not be brought up, or a directory or file cannot be used",
        ),
        (Exit::NothingSelected, "no case was selected"),
        (Exit::Fault, "a fault of probe9p's own"),
        (
            Exit::Interrupted,
            "stopped by SIGINT or SIGTERM; the results so far are kept",
        ),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// What a subcommand comes to.
pub type Outcome = Result<Exit, Failure>;

/// Why a subcommand could not do what was asked. Every text is a whole sentence for the user.
///
/// This is no `std::error::Error`, so that `?` can turn any error into one.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that does not exist.
    Usage(String),
    /// The volume, a directory or a file cannot be used.
    NoStack(String),
    /// The selection is empty.
    NothingSelected(String),
    /// Whoever read standard output has left; there is nobody to tell.
    ReaderGone,
    /// A fault of our own.
    Fault(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        if error.is::<StackError>() {
            return Failure::NoStack(error.to_string());
        }
        Failure::Fault(error)
    }
}

/// The part of the help text that lists the exit codes.
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in Exit::ALL {
        let _ = writeln!(text, "  {:>3}  {meaning}", exit as u8);
    }
    text
}

/// Runs a subcommand and says what went wrong, a panic included, in one sentence on standard error.
pub fn guard(command: impl FnOnce() -> Outcome) -> ExitCode {
    static PANIC: OnceLock<String> = OnceLock::new();
    panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map_or_else(String::new, |at| format!(" at {at}"));
        let payload = info.payload();
        let text = (payload.downcast_ref::<&str>().copied())
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let trace =
            std::env::var_os("RUST_BACKTRACE").map(|_| format!("\n{}", Backtrace::force_capture()));
        // Only the first one is told: what follows in other threads is its consequence.
        let _ = PANIC.set(format!("{text}{place}{}", trace.unwrap_or_default()));
    }));
    let outcome = panic::catch_unwind(AssertUnwindSafe(command));
    let failure = match outcome {
        Ok(Ok(exit)) => return exit.into(),
        Ok(Err(failure)) => failure,
        Err(_) => {
            let what = PANIC.get().map_or("no message", String::as_str);
            Failure::Fault(anyhow::anyhow!(
                "probe9p stopped on an assumption that does not hold: {what}"
            ))
        }
    };
    let (exit, text) = match failure {
        Failure::Usage(text) => (Exit::Usage, text),
        Failure::NoStack(text) => (Exit::NoStack, text),
        Failure::NothingSelected(text) => (Exit::NothingSelected, text),
        Failure::ReaderGone => return Exit::Completed.into(),
        Failure::Fault(error) => (
            Exit::Fault,
            format!("{error:#}; this is a fault of probe9p's own, please report it with this line"),
        ),
    };
    // A closed standard error is no reason to end differently.
    let _ = io::Write::write_all(&mut io::stderr(), format!("probe9p: {text}\n").as_bytes());
    exit.into()
}
