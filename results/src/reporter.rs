//! What consumes the events of a run and writes them in a form: a table for people, JSON, JSON lines, JUnit, TAP.
//!
//! Each form is an independent consumer over any [`std::io::Write`]; none knows of the others or of the runner.
//! The promise of stability covers JSON, JSON lines, JUnit and TAP, not the table.

use std::{fmt, io, str::FromStr};

use crate::Event;

mod json;
mod jsonl;
mod junit;
pub(crate) mod table;
mod tap;
mod why;

pub use json::Json;
pub use jsonl::JsonLines;
pub use junit::Junit;
pub(crate) use junit::junit_of;
pub use table::{Look, Table};
pub use tap::Tap;

/// A consumer of a run's events.
pub trait Reporter {
    /// Takes one event in and writes what can be written now.
    ///
    /// # Errors
    /// When the writer fails.
    fn event(&mut self, event: &Event) -> io::Result<()>;
}

/// A form that a run's results can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// The whole report as one JSON document, when the run has ended.
    Json,
    /// The events, one JSON object a line, as they happen.
    JsonLines,
    /// JUnit's XML, when the run has ended.
    Junit,
    /// The Test Anything Protocol, version 14, as results come.
    Tap,
}

impl Format {
    /// Every format, in the order that help texts list them.
    pub const ALL: [Format; 5] = [
        Format::Table,
        Format::Json,
        Format::JsonLines,
        Format::Junit,
        Format::Tap,
    ];

    /// The name used on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Format::Table => "table",
            Format::Json => "json",
            Format::JsonLines => "jsonl",
            Format::Junit => "junit",
            Format::Tap => "tap",
        }
    }

    /// A reporter that writes this format. `look` matters to the table only.
    pub fn reporter<'w>(self, out: impl io::Write + 'w, look: Look) -> Box<dyn Reporter + 'w> {
        match self {
            Format::Table => Box::new(Table::new(out, look)),
            Format::Json => Box::new(Json::new(out)),
            Format::JsonLines => Box::new(JsonLines::new(out)),
            Format::Junit => Box::new(Junit::new(out)),
            Format::Tap => Box::new(Tap::new(out)),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Format::ALL
            .into_iter()
            .find(|f| f.name() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Format::ALL.iter().map(|f| f.name()).collect();
                format!(
                    "there is no format {text:?}; take one of {}",
                    names.join(", ")
                )
            })
    }
}

/// A runner that breaks the order of events has a fault; its reporters say so rather than write nonsense.
fn out_of_order(error: crate::OutOfOrder) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("An event is out of order: {error}."),
    )
}
