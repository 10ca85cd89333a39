//! An explanation for a reader at a terminal.

use std::fmt::Write as _;

use results::Verdict;

use super::{
    UNMATCHED,
    catalogue::Fault,
    explanation::{Differing, Explanation, Why},
};
use crate::strace::align::Kind;

impl Explanation {
    /// The explanation in lines.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}: {}\n", self.case, self.title);
        let _ = writeln!(
            text,
            "{} {} on {}, cache={}, Linux {}{}{}",
            self.verdict.symbol(),
            self.verdict,
            self.stack,
            self.cache,
            self.kernel,
            if self.note.is_empty() { "" } else { ": " },
            self.note
        );
        if matches!(
            self.verdict,
            Verdict::Works | Verdict::Skipped | Verdict::Invalid
        ) {
            let nothing = match self.verdict {
                Verdict::Works => "There is nothing to explain: it works as in a plain directory.",
                Verdict::Skipped => "There is nothing to explain: it was not run.",
                _ => "It fails in a plain directory too, so the volume is not the reason.",
            };
            let _ = writeln!(text, "{nothing}");
            return text;
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "\nNote: {remark}.");
        }
        if !self.calls.is_empty() {
            let _ = writeln!(text, "\nWhere the volume and the plain directory part:");
            for (number, call) in self.calls.iter().enumerate() {
                call.write(number + 1, &mut text);
            }
            if self.more_calls > 0 {
                let _ = writeln!(
                    text,
                    "  … and {} more (--calls shows more)",
                    self.more_calls
                );
            }
        }
        if !self.messages.is_empty() {
            let _ = writeln!(text, "\nMessages that the server refused:");
            for message in &self.messages {
                let _ = writeln!(text, "  {message}");
            }
        }
        if let Some(why) = &self.cause {
            why.write(&mut text);
        }
        if !self.remedies.is_empty() {
            let _ = writeln!(text, "\nTried:");
        }
        for remedy in &self.remedies {
            let (mark, state) = if remedy.verified {
                ("✓", "verified: the case passes with it")
            } else {
                ("✗", "does not help")
            };
            let detail = if remedy.detail.is_empty() {
                String::new()
            } else {
                format!("; {}", remedy.detail)
            };
            let _ = writeln!(text, "  {mark} {} ({state}{detail})", remedy.title);
        }
        text
    }
}

impl Differing {
    fn write(&self, number: usize, text: &mut String) {
        let process = match &*self.process {
            "0" | "" => String::new(),
            process => format!("[process {process}] "),
        };
        let (left, right) = (self.volume.as_deref(), self.native.as_deref());
        let _ = match (self.kind, left, right) {
            (Kind::OnlyNatively, _, Some(native)) => {
                writeln!(text, "{number:>3}. {process}natively alone: {native}")
            }
            (_, Some(volume), native) => {
                let _ = writeln!(text, "{number:>3}. {process}{volume}");
                match native {
                    Some(native) => writeln!(text, "     natively: {native}"),
                    None => writeln!(text, "     natively: no such call"),
                }
            }
            _ => Ok(()),
        };
        match &self.messages {
            None => {}
            Some(messages) if messages.is_empty() => {
                let _ = writeln!(
                    text,
                    "     9P: none; the client answered without asking the server"
                );
            }
            Some(messages) => {
                for message in messages {
                    let _ = writeln!(text, "     9P: {message}");
                }
                if self.more_messages > 0 {
                    let _ = writeln!(text, "     9P: … and {} more", self.more_messages);
                }
            }
        }
    }
}

impl Why {
    fn write(&self, text: &mut String) {
        let _ = match self.fault {
            Some(fault) => writeln!(text, "\nCause: {} (fault: {})", self.id, named(fault)),
            None => writeln!(text, "\nCause: {}", self.id),
        };
        let _ = writeln!(text, "  {}", self.mechanism);
        let _ = writeln!(text, "  Shown by:");
        for line in &self.evidence {
            let _ = writeln!(text, "    {line}");
        }
        if self.id == UNMATCHED {
            let _ = writeln!(
                text,
                "  This is a new cause: add an entry to probes/causes.toml whose evidence fits, or open an issue with \
                 this text."
            );
        }
        if !self.advice.is_empty() {
            let _ = writeln!(text, "  What one can do:");
        }
        for line in &self.advice {
            let _ = writeln!(text, "    {line}");
        }
        if !self.references.is_empty() {
            let _ = writeln!(text, "  See: {}", self.references.join(" · "));
        }
        if !self.seen.is_empty() {
            let mut stacks: Vec<&str> = self.seen.iter().map(|seen| &*seen.stack).collect();
            stacks.sort_unstable();
            stacks.dedup();
            let _ = writeln!(text, "  Seen on: {}", stacks.join(", "));
        }
    }
}

fn named(fault: Fault) -> &'static str {
    match fault {
        Fault::Client => "the client, v9fs",
        Fault::Server => "the 9P server",
        Fault::Configuration => "configuration",
        Fault::Runtime => "the runtime",
    }
}
