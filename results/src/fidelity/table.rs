//! The comparison as a person reads it.

use std::fmt::Write as _;

use super::{Agreement, ComparedRun, Disagreement, Fidelity, Seen};
use crate::text::{clean, columns, pad_right, plural, wrap};

impl Fidelity {
    /// The comparison for a terminal of `width` columns, without colours.
    pub fn table(&self, width: usize) -> String {
        let mut text = String::new();
        paragraph(
            &mut text,
            &format!("reference: {}", run(&self.reference)),
            "",
            width,
        );
        for agreement in &self.candidates {
            text.push('\n');
            candidate(&mut text, &self.reference, agreement, width);
        }
        for missing in &self.unavailable {
            let line = format!("{} was not run: {}", missing.stack, missing.reason);
            text.push('\n');
            paragraph(&mut text, &clean(&line), "", width);
        }
        text
    }
}

impl Agreement {
    /// The share in percent with one decimal, rounded down so that only full agreement is 100 %.
    pub fn percent(&self) -> String {
        if self.compared == 0 {
            return "–".into();
        }
        let tenths = self.agreed as u128 * 1000 / self.compared as u128;
        format!("{}.{} %", tenths / 10, tenths % 10)
    }
}

/// One line on what a run was.
fn run(run: &ComparedRun) -> String {
    let stack = &run.stack;
    let unfinished = if run.finished { "" } else { " · interrupted" };
    let (name, kernel, cache) = (stack.name(), &stack.kernel, &stack.cache);
    clean(&format!(
        "{name} · Linux {kernel} · cache={cache}{unfinished}"
    ))
}

fn candidate(text: &mut String, reference: &ComparedRun, agreement: &Agreement, width: usize) {
    paragraph(text, &run(&agreement.candidate), "", width);
    let _ = writeln!(
        text,
        "  {} agree: {} of {}{}; {} counted apart",
        agreement.percent(),
        agreement.agreed,
        plural(agreement.compared, "case"),
        by_kind(agreement),
        agreement.apart.len(),
    );
    let (ours, theirs) = (&reference.stack.kernel, &agreement.candidate.stack.kernel);
    if series(ours) != series(theirs) {
        let note = format!(
            "! The kernels are of different series ({ours} and {theirs}), which may be what differs."
        );
        paragraph(text, &clean(&note), "  ", width);
    }
    let names = [reference.stack.name(), agreement.candidate.stack.name()].map(|n| clean(&n));
    for case in &agreement.disagreements {
        disagreement(text, case, &names, width);
    }
    if !agreement.apart.is_empty() {
        let _ = writeln!(text, "  apart, because nothing can be compared:");
    }
    for apart in &agreement.apart {
        let line = clean(&format!("{}: {}", apart.id, apart.reason));
        paragraph(text, &line, "    ", width);
    }
}

/// Both kinds' shares, when there are both.
fn by_kind(agreement: &Agreement) -> String {
    let Agreement {
        operations, tools, ..
    } = agreement;
    if operations.compared == 0 || tools.compared == 0 {
        return String::new();
    }
    format!(
        " (operations {} of {}, tools {} of {})",
        operations.agreed, operations.compared, tools.agreed, tools.compared
    )
}

fn disagreement(text: &mut String, case: &Disagreement, names: &[String; 2], width: usize) {
    let head = format!("≠ {}: {}", case.id, case.title);
    paragraph(text, &clean(&head), "  ", width);
    let widest = names.iter().map(|name| columns(name)).max().unwrap_or(0);
    for (name, seen) in names.iter().zip([&case.reference, &case.candidate]) {
        let name = pad_right(name, widest);
        let errno = seen.volume.errno.as_deref().unwrap_or("no errno");
        let verdict = pad_right(seen.verdict.name(), 10);
        let _ = writeln!(
            text,
            "    {name}  {} {verdict} {}",
            seen.verdict.symbol(),
            clean(errno)
        );
        evidence(text, seen, width);
    }
}

/// What one side saw: its note, what the case said unless the note has it, and the calls that failed.
fn evidence(text: &mut String, seen: &Seen, width: usize) {
    let (note, detail) = (clean(&seen.note), clean(&seen.volume.detail));
    let mut lines = vec![note.clone()];
    if !note.contains(detail.trim()) {
        lines.push(detail);
    }
    let calls = seen.volume.failed_calls.iter().map(|call| clean(call));
    let told = |call: &String| lines.iter().any(|line| line.contains(call));
    let untold: Vec<String> = calls.filter(|call| !told(call)).collect();
    lines.extend(untold.iter().map(|call| format!("failed: {call}")));
    for line in lines.iter().filter(|line| !line.is_empty()) {
        paragraph(text, line, "        ", width);
    }
}

/// Writes text in lines of at most `width` columns, each after `indent`.
fn paragraph(text: &mut String, words: &str, indent: &str, width: usize) {
    for line in wrap(words, width.saturating_sub(indent.len())) {
        let _ = writeln!(text, "{indent}{line}");
    }
}

/// The series of a kernel's release: `5.10` of `5.10.0-33-amd64`.
fn series(release: &str) -> String {
    let number = release.split(['-', '+', ' ']).next().unwrap_or_default();
    number.split('.').take(2).collect::<Vec<_>>().join(".")
}
