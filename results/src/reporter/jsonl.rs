//! The events as they happen, one JSON object a line, each flushed, so that a killed run loses none.

use std::io;

use super::Reporter;
use crate::Event;

/// Writes every event as one line of JSON.
pub struct JsonLines<W> {
    out: W,
}

impl<W: io::Write> JsonLines<W> {
    /// A reporter that writes to `out`.
    pub fn new(out: W) -> Self {
        JsonLines { out }
    }
}

impl<W: io::Write> Reporter for JsonLines<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        // One write a line, so that lines stay whole when a file is shared or the process is killed.
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }
}
