//! Other forms of any number of runs, for other places than a browser: all made of one [`Matrix`], or of each run's
//! events.

use std::{fmt, io, str::FromStr};

use crate::{Format, Look, Matrix, Report, pages};

mod badge;
mod compat;
mod csv;
pub(crate) mod helps;
mod terminal;

pub use badge::{Badge, badges};
pub use compat::{MATRIX_SCHEMA_VERSION, MatrixFile, matrix_schema};

/// A form that several reports together can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The matrix for a terminal: a line a tool or family, and one a case that does not work everywhere.
    Table,
    /// A page of Markdown, for a README or an issue.
    Markdown,
    /// The matrix as data, in the manner of browser compatibility data.
    Matrix,
    /// A line a result, comma-separated.
    Csv,
    /// JUnit's XML, a suite a run.
    Junit,
    /// The Test Anything Protocol, a subtest a run where there are several.
    Tap,
}

impl Form {
    /// Every form, in the order that help texts list them.
    pub const ALL: [Form; 6] = [
        Form::Table,
        Form::Markdown,
        Form::Matrix,
        Form::Csv,
        Form::Junit,
        Form::Tap,
    ];

    /// The name used on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Form::Table => "table",
            Form::Markdown => "markdown",
            Form::Matrix => "matrix",
            Form::Csv => "csv",
            Form::Junit => "junit",
            Form::Tap => "tap",
        }
    }

    /// The reports in this form. `width` is the terminal's, in columns, and matters to the table only.
    pub fn write(self, reports: &[Report], width: usize) -> String {
        match self {
            Form::Table => terminal::table(&Matrix::of(reports), width),
            Form::Markdown => pages::markdown(reports),
            Form::Matrix => MatrixFile::of(&Matrix::of(reports)).to_json(),
            Form::Csv => csv::csv(&Matrix::of(reports)),
            Form::Junit => crate::reporter::junit_of(reports),
            Form::Tap => tap(reports),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Form::ALL
            .into_iter()
            .find(|f| f.name() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Form::ALL.iter().map(|f| f.name()).collect();
                format!(
                    "there is no form {text:?}; take one of {}",
                    names.join(", ")
                )
            })
    }
}

/// One run is a plain document; several are subtests, indented, of one that has a point a run.
fn tap(reports: &[Report]) -> String {
    let documents: Vec<String> = reports.iter().map(one_tap).collect();
    if let [document] = documents.as_slice() {
        return document.clone();
    }
    let mut text = format!("TAP version 14\n1..{}\n", reports.len());
    for (number, (report, document)) in reports.iter().zip(&documents).enumerate() {
        let name = crate::text::clean(&format!("{} {}", report.stack.name(), report.run_id))
            .replace('#', "\\#");
        text += &format!("# Subtest: {name}\n");
        // The version line stands once, at the top.
        for line in document.lines().skip(1) {
            text += &format!("    {line}\n");
        }
        let bad = report.cases.iter().any(|case| case.verdict.is_bad());
        let ok = if bad { "not ok" } else { "ok" };
        text += &format!("{ok} {} - {name}\n", number + 1);
    }
    text
}

fn one_tap(report: &Report) -> String {
    let mut out = Vec::new();
    let mut reporter = Format::Tap.reporter(&mut out, Look::default());
    let written: io::Result<()> = report
        .events()
        .iter()
        .try_for_each(|event| reporter.event(event));
    drop(reporter);
    written.expect("a Vec takes everything, and a report's events are in order");
    String::from_utf8(out).expect("every form is UTF-8")
}
