//! Why one case fails, with all that shows it: the calls that fail or differ on the volume alone, the messages that
//! the server got for them, the cause, and what helps.

use std::time::Duration;

use results::{CaseResult, Cause, Remedy, Verdict};
use serde::Serialize;
use server9p::stack::StackError;

use super::{
    catalogue::{self, Fault},
    diagnose,
    marks::Marks,
    messages::Message,
    rerun::{self, Traced},
    seen::{Seen, seen},
};
use crate::{
    case::PlannedCase,
    runner::side::Side,
    strace::align::{self, Difference, Kind, Step},
    tools,
};

/// How far a message may lie outside of its call, in seconds: clocks have a grain.
const GRAIN: f64 = 20e-6;

/// How many messages of one call are kept.
const MESSAGES: usize = 12;

/// What strace would bring.
const WITHOUT_STRACE: &str = "so calls are not known, and what follows is from the server's trace alone (apt-get install -y strace)";

/// What the server says of the case's messages.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerTrace {
    /// Its messages, of every run that there was.
    Messages(Vec<Message>),
    /// Why there are none.
    None(String),
}

/// An explained case.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The case.
    pub case: String,
    /// What a program relies on.
    pub title: String,
    /// `client/server/profile`.
    pub stack: String,
    /// The cache mode.
    pub cache: String,
    /// The client's kernel.
    pub kernel: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Its note.
    pub note: String,
    /// Why; nothing where the case works.
    pub cause: Option<Why>,
    /// Where the traces part, the first ones.
    pub calls: Vec<Differing>,
    /// How many more differences there are.
    pub more_calls: usize,
    /// What must be known of the traces: that strace is missing, that the case passed this time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Messages that the server refused on the volume, where calls are not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
    /// The changes that were tried.
    pub remedies: Vec<Remedy>,
}

/// The cause of a case that does not work.
#[derive(Debug, Clone, Serialize)]
pub struct Why {
    /// Its id, or `unmatched`.
    pub id: String,
    /// The mechanism.
    pub mechanism: String,
    /// Who would have to change; nothing where no cause is known.
    pub fault: Option<Fault>,
    /// What shows it.
    pub evidence: Vec<String>,
    /// What one can do, from the catalogue.
    pub advice: Vec<String>,
    /// Where it is documented.
    pub references: Vec<String>,
    /// Real runs that showed it, which are kept.
    pub seen: Vec<Seen>,
}

/// A call that fails or differs on the volume alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Differing {
    /// In what way.
    pub kind: Kind,
    /// The process that made it, by whose which child it is.
    pub process: String,
    /// The call on the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The call natively.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    /// The messages that the server got for it; nothing where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<Message>>,
    /// How many more messages there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_messages: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Traces of one case on both sides.
pub struct Traces {
    /// In the plain directory.
    pub native: Traced,
    /// On the volume.
    pub volume: Traced,
    /// In the plain directory once more, where what differs by chance matters.
    pub native_again: Option<Traced>,
    /// Which messages of the server's belong to the volume's run, where they are asked for.
    pub marks: Option<Marks>,
}

impl Traces {
    /// Runs the case once on the volume and twice natively, under strace where that is installed. With `marked` the
    /// server's messages can be told from others.
    ///
    /// # Errors
    /// What [`rerun::run`] and [`Marks::around`] return.
    pub fn take(
        native: &Side,
        volume: &Side,
        case: &PlannedCase,
        limit: Duration,
        marked: bool,
    ) -> Result<Traces, StackError> {
        // A tool's case that fails would start a strace of its own.
        let args = [case.child_args.as_slice(), &tools::again(case.kind)].concat();
        let on = |side| rerun::run(side, &case.id, &args, limit);
        let (marks, volume) = match marked && volume.shared {
            true => {
                let (marks, volume) = Marks::around(volume, || on(volume))?;
                (Some(marks), volume)
            }
            false => (None, on(volume)?),
        };
        Ok(Traces {
            marks,
            volume,
            native: on(native)?,
            native_again: Some(on(native)?),
        })
    }

    /// Where they part, but for what parts two native runs; or why that is not known: a sentence.
    ///
    /// # Errors
    /// What the traced runs say.
    pub fn differences<'t>(&'t self) -> Result<Vec<Difference>, &'t str> {
        let steps = |traced: &'t Traced| traced.steps.as_deref().map_err(String::as_str);
        let native = steps(&self.native)?;
        let found = align::differences(native, steps(&self.volume)?);
        Ok(match &self.native_again {
            Some(again) => align::without_chance(found, &align::differences(native, steps(again)?)),
            None => found,
        })
    }
}

/// A result with what the traces show, as far as its own run did not: the calls that failed on the volume alone.
pub fn with_calls(result: &CaseResult, differences: &[Difference]) -> CaseResult {
    let mut result = result.clone();
    let failing = differences.iter().filter(|d| d.kind == Kind::Fails);
    for step in failing.filter_map(|difference| difference.volume.as_ref()) {
        if !result.volume.failed_calls.contains(&step.text) {
            result.volume.failed_calls.push(step.text.clone());
        }
    }
    result
}

/// Where the traces part, a line each.
pub fn lines(differences: &[Difference]) -> impl Iterator<Item = String> {
    differences.iter().filter_map(|difference| {
        Some(match (&difference.volume, &difference.native) {
            (Some(volume), Some(native)) => {
                // Of the very same call only what came of it.
                let call = format!("{}({}) = ", volume.call, volume.args);
                let natively = native.text.strip_prefix(&call).unwrap_or(&native.text);
                format!("{}; natively {natively}", volume.text)
            }
            (Some(volume), None) => format!("{}; not natively", volume.text),
            (None, Some(native)) => format!("natively alone: {}", native.text),
            (None, None) => return None,
        })
    })
}

/// The cause by all that is known; what no entry fits is given whole, with where the traces part.
pub fn cause(result: &CaseResult, differences: &[Difference]) -> Option<Cause> {
    let mut cause = match &result.cause {
        Some(cause) if cause.id != super::UNMATCHED => cause.clone(),
        _ => diagnose(&with_calls(result, differences))?,
    };
    if cause.id == super::UNMATCHED {
        for line in lines(differences) {
            if !cause.evidence.contains(&line) {
                cause.evidence.push(line);
            }
        }
    }
    Some(cause)
}

impl Explanation {
    /// Puts together what is known of a case. `most` is how many differences are shown.
    pub fn new(
        result: &CaseResult,
        stack: &results::Stack,
        traces: Option<&Traces>,
        server: &ServerTrace,
        most: usize,
    ) -> Self {
        let differences = traces.map(Traces::differences);
        let known = differences.as_ref().and_then(|found| found.as_deref().ok());
        let cause = cause(result, known.unwrap_or_default());
        let mut explanation = Explanation {
            case: result.id.clone(),
            title: result.title.clone(),
            stack: stack.name(),
            cache: stack.cache.clone(),
            kernel: stack.kernel.clone(),
            verdict: result.verdict,
            note: result.note.clone(),
            cause: cause.map(Why::from),
            calls: Vec::new(),
            more_calls: 0,
            remarks: Vec::new(),
            messages: Vec::new(),
            remedies: result.remedies.clone(),
        };
        if let Some((traces, differences)) = traces.zip(differences) {
            explanation.add(traces, differences, server, most);
        }
        explanation
    }

    fn add(
        &mut self,
        traces: &Traces,
        differences: Result<Vec<Difference>, &str>,
        server: &ServerTrace,
        most: usize,
    ) {
        let messages = match server {
            ServerTrace::None(why) => {
                self.remarks.push(why.clone());
                None
            }
            ServerTrace::Messages(all) => {
                let place = &traces.volume.place;
                let own = traces
                    .marks
                    .as_ref()
                    .and_then(|marks| marks.messages(all, place));
                if own.is_none() {
                    let lost =
                        "the server's trace does not have this run, so messages are not shown";
                    self.remarks.push(lost.to_owned());
                }
                own
            }
        };
        if traces.volume.timed_out() {
            self.remarks
                .push("it did not end within its limit, and was stopped".to_owned());
        }
        let differences = match differences {
            Ok(differences) => differences,
            Err(why) => {
                self.remarks.push(format!("{why}, {WITHOUT_STRACE}"));
                let refused = messages.unwrap_or_default().into_iter();
                self.messages = refused.filter(Message::failed).collect();
                return;
            }
        };
        if differences.is_empty() {
            self.remarks.push(
                "under strace the same calls had the same results on both sides: what differs is not in their \
                 results (a state, an order, the time), or did not happen this time"
                    .to_owned(),
            );
        }
        self.more_calls = differences.len().saturating_sub(most);
        let shown = differences.iter().take(most);
        self.calls = shown
            .map(|difference| Differing::new(difference, messages.as_deref()))
            .collect();
    }
}

impl Differing {
    fn new(difference: &Difference, messages: Option<&[Message]>) -> Self {
        let step = difference.volume.as_ref().or(difference.native.as_ref());
        let text = |step: &Option<Step>| step.as_ref().map(|step| step.text.clone());
        let when = difference.volume.as_ref().and_then(|step| step.when);
        let during = messages.zip(when).map(|(messages, (begun, ended))| {
            let during = |m: &&Message| (begun - GRAIN..=ended + GRAIN).contains(&m.begun);
            messages.iter().filter(during).cloned().collect::<Vec<_>>()
        });
        let more_messages = during
            .as_ref()
            .map_or(0, |m| m.len().saturating_sub(MESSAGES));
        Differing {
            kind: difference.kind,
            process: step.map(|step| step.process.clone()).unwrap_or_default(),
            volume: text(&difference.volume),
            native: text(&difference.native),
            messages: during.map(|mut messages| {
                messages.truncate(MESSAGES);
                messages
            }),
            more_messages,
        }
    }
}

impl From<Cause> for Why {
    fn from(cause: Cause) -> Self {
        let entry = catalogue::find(&cause.id);
        Why {
            fault: entry.map(|entry| entry.fault),
            advice: entry
                .map(|entry| entry.remedies.clone())
                .unwrap_or_default(),
            references: entry
                .map(|entry| entry.references.clone())
                .unwrap_or_default(),
            seen: seen(&cause.id),
            id: cause.id,
            mechanism: cause.summary,
            evidence: cause.evidence,
        }
    }
}
