//! Standard output, where a reader that leaves early (`| head`) is no fault.

use std::io::{self, Write as _};

use super::Failure;

/// Writes text to standard output and flushes it.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::NoStack(format!(
                "standard output cannot be written ({error}); free space there or send it elsewhere"
            )),
        })
}

/// Writes a value to standard output as indented JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}
