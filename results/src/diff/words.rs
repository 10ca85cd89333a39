//! The difference for people: in a terminal, and as Markdown.

use std::fmt::Write as _;

use super::{Change, Diff, OneSided, Seen};
use crate::{
    fidelity::ComparedRun,
    pages::{escape_markdown, markdown_code},
    text::{clean, number, plural, wrap},
};

impl Diff {
    /// The difference for a terminal of `width` columns, without colours. Regressions come first.
    pub fn table(&self, width: usize) -> String {
        let mut text = format!(
            "before: {}\nafter:  {}\n",
            run(&self.before),
            run(&self.after)
        );
        for (head, changes) in self.sections() {
            if changes.is_empty() {
                continue;
            }
            let _ = write!(text, "\n{} {head}\n", changes.len());
            for change in changes {
                let line = format!(
                    "{}  {} → {}",
                    change.id,
                    told(&change.before),
                    told(&change.after)
                );
                paragraph(&mut text, &clean(&line), "  ", width);
                paragraph(&mut text, &clean(&change.after.note), "      ", width);
            }
        }
        for change in &self.throughput {
            let _ = writeln!(
                text,
                "\nthroughput: {} {} → {} {} ({}×)",
                clean(&change.workload),
                number(change.before),
                number(change.after),
                clean(&change.unit),
                number(change.ratio),
            );
        }
        for (head, cases) in [("added", &self.added), ("removed", &self.removed)] {
            if !cases.is_empty() {
                let _ = write!(text, "\n{} {head}\n", cases.len());
                paragraph(&mut text, &clean(&listed(cases)), "  ", width);
            }
        }
        let _ = write!(text, "\n{}\n", self.summary());
        text
    }

    /// The difference as Markdown, for an issue or a pull request.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "**{}**\n\nbefore: {}  \nafter: {}\n",
            escape_markdown(&self.summary()),
            escape_markdown(&run(&self.before)),
            escape_markdown(&run(&self.after)),
        );
        for (head, changes) in self.sections() {
            if changes.is_empty() {
                continue;
            }
            let _ = write!(
                text,
                "\n### {} {head}\n\n| case | before | after |\n| --- | --- | --- |\n",
                changes.len()
            );
            for change in changes {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} |",
                    markdown_code(&change.id).replace('|', r"\|"),
                    escape_markdown(&told(&change.before)),
                    escape_markdown(
                        format!("{}: {}", told(&change.after), change.after.note)
                            .trim_end_matches(": ")
                    ),
                );
            }
        }
        if !self.throughput.is_empty() {
            text += "\n### Throughput\n\n| workload | before | after | ratio |\n| --- | ---: | ---: | ---: |\n";
        }
        for change in &self.throughput {
            let _ = writeln!(
                text,
                "| {} | {} | {} {} | {}× |",
                markdown_code(&change.workload).replace('|', r"\|"),
                number(change.before),
                number(change.after),
                escape_markdown(&change.unit),
                number(change.ratio),
            );
        }
        for (head, cases) in [("Added", &self.added), ("Removed", &self.removed)] {
            if !cases.is_empty() {
                let _ = write!(text, "\n{head}: {}\n", escape_markdown(&listed(cases)));
            }
        }
        text
    }

    /// `2 regressions, 1 improvement, 3 other changes, 360 unchanged`.
    pub fn summary(&self) -> String {
        let mut parts = vec![
            plural(self.regressions.len(), "regression"),
            plural(self.improvements.len(), "improvement"),
            plural(self.others.len(), "other change"),
        ];
        for (count, what) in [(self.added.len(), "added"), (self.removed.len(), "removed")] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.push(format!("{} unchanged", self.unchanged));
        parts.join(", ")
    }

    fn sections(&self) -> [(&'static str, &[Change]); 3] {
        [
            ("worse", &self.regressions),
            ("better", &self.improvements),
            ("changed otherwise", &self.others),
        ]
    }
}

/// One line on what a run was.
fn run(run: &ComparedRun) -> String {
    let stack = &run.stack;
    let unfinished = if run.finished { "" } else { " · interrupted" };
    clean(&format!(
        "{} · Linux {} · cache={} · {}{unfinished}",
        stack.name(),
        stack.kernel,
        stack.cache,
        run.run_id
    ))
}

/// `✗ fails (mkfifo: ENXIO)`.
fn told(seen: &Seen) -> String {
    let verdict = seen.verdict;
    let mut text = format!("{} {verdict}", verdict.symbol());
    if let Some(errno) = &seen.volume.errno {
        let call = seen.volume.call.as_deref().unwrap_or("a call");
        let _ = write!(text, " ({call}: {errno})");
    }
    text
}

fn listed(cases: &[OneSided]) -> String {
    let words: Vec<String> = (cases.iter())
        .map(|case| format!("{} ({})", case.id, case.verdict))
        .collect();
    words.join(", ")
}

fn paragraph(text: &mut String, words: &str, indent: &str, width: usize) {
    for line in wrap(words, width.saturating_sub(indent.len()).max(20)) {
        if !line.is_empty() {
            let _ = writeln!(text, "{indent}{line}");
        }
    }
}
