//! JUnit's XML, as CI systems read it: a `testsuite` a run, a `testcase` a case.
//!
//! A case that does not work as it is has a `failure` (an `error` where it hangs or crashes), one that was
//! skipped or is invalid a `skipped`.

use std::io;

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event as Xml},
};

use super::{Reporter, out_of_order};
use crate::{CaseResult, Event, Report, ReportBuilder, Verdict, text::is_unprintable};

/// Writes the XML when the run has ended.
pub struct Junit<W> {
    out: W,
    builder: ReportBuilder,
}

impl<W: io::Write> Junit<W> {
    /// A reporter that writes to `out`.
    pub fn new(out: W) -> Self {
        Junit {
            out,
            builder: ReportBuilder::default(),
        }
    }
}

impl<W: io::Write> Reporter for Junit<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.builder.event(event).map_err(out_of_order)?;
        let interrupted = match event {
            Event::RunFinished { .. } => None,
            Event::RunInterrupted { reason } => Some(reason.as_str()),
            _ => return Ok(()),
        };
        if let Some(report) = self.builder.report() {
            let mut xml = Writer::new_with_indent(&mut self.out, b' ', 2);
            suites(&mut xml, &[(report, interrupted)])?;
            self.out.write_all(b"\n")?;
            self.out.flush()?;
        }
        Ok(())
    }
}

/// Several runs in one document, a suite each.
pub(crate) fn junit_of(reports: &[Report]) -> String {
    let mut out = Vec::new();
    let mut xml = Writer::new_with_indent(&mut out, b' ', 2);
    let runs: Vec<_> = (reports.iter())
        .map(|report| {
            let interrupted = report.finished.is_none();
            (
                report,
                interrupted.then_some("it ended before its plan was done"),
            )
        })
        .collect();
    suites(&mut xml, &runs).expect("a Vec takes everything");
    out.push(b'\n');
    String::from_utf8(out).expect("every form is UTF-8")
}

fn suites<W: io::Write>(xml: &mut Writer<W>, runs: &[(&Report, Option<&str>)]) -> io::Result<()> {
    xml.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let mut root = vec![("name", "probe9p".to_owned())];
    root.extend(tally(runs.iter().map(|(report, _)| *report)));
    open(xml, "testsuites", &root)?;
    for (report, interrupted) in runs {
        suite(xml, report, *interrupted)?;
    }
    close(xml, "testsuites")
}

fn suite<W: io::Write>(
    xml: &mut Writer<W>,
    report: &Report,
    interrupted: Option<&str>,
) -> io::Result<()> {
    let mut suite = vec![
        ("name", report.stack.name()),
        ("timestamp", report.started.clone()),
        ("id", report.run_id.clone()),
    ];
    suite.extend(tally([report]));
    open(xml, "testsuite", &suite)?;
    open(xml, "properties", &[])?;
    for (name, value) in properties(report) {
        empty(
            xml,
            "property",
            &[("name", name.to_owned()), ("value", value)],
        )?;
    }
    close(xml, "properties")?;
    for case in &report.cases {
        testcase(xml, case)?;
    }
    for bench in &report.bench {
        open(
            xml,
            "testcase",
            &[
                ("classname", "bench".into()),
                ("name", bench.workload.clone()),
            ],
        )?;
        let figures = format!(
            "native {} {unit}, volume {} {unit}, volume/native {}",
            bench.native.median,
            bench.volume.median,
            bench.ratio,
            unit = bench.unit
        );
        text(xml, "system-out", &[], &figures)?;
        close(xml, "testcase")?;
    }
    if let Some(reason) = interrupted {
        text(
            xml,
            "system-err",
            &[],
            &format!("The run was interrupted: {reason}"),
        )?;
    }
    close(xml, "testsuite")
}

fn testcase<W: io::Write>(xml: &mut Writer<W>, case: &CaseResult) -> io::Result<()> {
    let family = case.id.split('.').next().unwrap_or_default();
    let attributes = [
        ("classname", family.to_owned()),
        ("name", case.id.clone()),
        ("time", seconds(case.volume.duration_ms)),
    ];
    if case.verdict == Verdict::Works {
        return empty(xml, "testcase", &attributes);
    }
    open(xml, "testcase", &attributes)?;
    let message = [
        ("message", case.note.clone()),
        ("type", case.verdict.name().to_owned()),
    ];
    match case.verdict {
        Verdict::Hangs | Verdict::Crashes => text(xml, "error", &message, &explain(case))?,
        Verdict::Skipped | Verdict::Invalid => empty(xml, "skipped", &message[..1])?,
        verdict if verdict.is_bad() => text(xml, "failure", &message, &explain(case))?,
        _ => text(
            xml,
            "system-out",
            &[],
            &format!("{}: {}", case.verdict, case.note),
        )?,
    }
    close(xml, "testcase")
}

/// What a person who sees the failure in a CI system needs: what was seen, why, and what helps.
fn explain(case: &CaseResult) -> String {
    let mut lines = vec![case.title.clone(), case.note.clone()];
    if let Some(cause) = &case.cause {
        lines.push(format!("cause: {}: {}", cause.id, cause.summary));
        lines.extend(cause.evidence.iter().map(|e| format!("evidence: {e}")));
    }
    lines.extend(
        case.remedies
            .iter()
            .filter(|r| r.verified)
            .map(|r| format!("verified remedy: {}", r.title)),
    );
    lines.join("\n")
}

fn tally<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Vec<(&'static str, String)> {
    let hard = |v| matches!(v, Verdict::Hangs | Verdict::Crashes);
    let (mut tests, mut failures, mut errors, mut skipped, mut time) = (0, 0, 0, 0, 0.0);
    for report in reports {
        tests += report.cases.len() + report.bench.len();
        for case in &report.cases {
            time += case.volume.duration_ms;
            match case.verdict {
                Verdict::Skipped | Verdict::Invalid => skipped += 1,
                verdict if hard(verdict) => errors += 1,
                verdict if verdict.is_bad() => failures += 1,
                _ => {}
            }
        }
    }
    vec![
        ("tests", tests.to_string()),
        ("failures", failures.to_string()),
        ("errors", errors.to_string()),
        ("skipped", skipped.to_string()),
        ("time", seconds(time)),
    ]
}

fn properties(report: &Report) -> Vec<(&'static str, String)> {
    let (stack, host) = (&report.stack, &report.host);
    [
        ("client", &stack.client),
        ("server", &stack.server),
        ("profile", &stack.profile),
        ("cache", &stack.cache),
        ("kernel", &stack.kernel),
        ("mount_options", &stack.mount_options),
        ("host_os", &host.os),
        ("host_kernel", &host.kernel),
        ("host_filesystem", &host.filesystem),
        ("probe9p", &host.probe9p),
    ]
    .map(|(name, value)| (name, value.clone()))
    .into()
}

fn seconds(ms: f64) -> String {
    format!("{:.3}", ms / 1e3)
}

type Attributes<'a> = [(&'a str, String)];

fn start<'a>(name: &'a str, attributes: &Attributes<'a>) -> BytesStart<'a> {
    let mut tag = BytesStart::new(name);
    for (key, value) in attributes {
        tag.push_attribute((*key, legal(value).as_str()));
    }
    tag
}

fn open<W: io::Write>(
    xml: &mut Writer<W>,
    name: &str,
    attributes: &Attributes<'_>,
) -> io::Result<()> {
    xml.write_event(Xml::Start(start(name, attributes)))
}

fn empty<W: io::Write>(
    xml: &mut Writer<W>,
    name: &str,
    attributes: &Attributes<'_>,
) -> io::Result<()> {
    xml.write_event(Xml::Empty(start(name, attributes)))
}

fn close<W: io::Write>(xml: &mut Writer<W>, name: &str) -> io::Result<()> {
    xml.write_event(Xml::End(BytesEnd::new(name)))
}

fn text<W: io::Write>(
    xml: &mut Writer<W>,
    name: &str,
    attributes: &Attributes<'_>,
    content: &str,
) -> io::Result<()> {
    open(xml, name, attributes)?;
    xml.write_event(Xml::Text(BytesText::new(&legal(content))))?;
    close(xml, name)
}

/// XML 1.0 has no way to write most control characters, so they stand escaped as in Rust.
fn legal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && c != '\t' && is_unprintable(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}
