//! The whole report as one JSON document, when the run has ended, whether by itself or not.

use std::io;

use super::{Reporter, out_of_order};
use crate::{Event, ReportBuilder};

/// Writes the report when the run has ended.
pub struct Json<W> {
    out: W,
    builder: ReportBuilder,
}

impl<W: io::Write> Json<W> {
    /// A reporter that writes to `out`.
    pub fn new(out: W) -> Self {
        Json {
            out,
            builder: ReportBuilder::default(),
        }
    }
}

impl<W: io::Write> Reporter for Json<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.builder.event(event).map_err(out_of_order)?;
        if let (Event::RunFinished { .. } | Event::RunInterrupted { .. }, Some(report)) =
            (event, self.builder.report())
        {
            self.out.write_all(report.to_json().as_bytes())?;
            self.out.flush()?;
        }
        Ok(())
    }
}
