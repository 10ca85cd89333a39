//! `probe9p explain`: why one case fails, with the calls and messages that show it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use probes::{
    case::PlannedCase,
    catalogue::Catalogue,
    explain::{
        explanation::{Explanation, ServerTrace, Traces},
        messages,
    },
    runner::{
        cancel::Cancel,
        engine::{Ending, Options, Retrace},
        select::{Selection, select},
        slowness,
        volume::{Server, Volume, Wanted},
        whole,
    },
    tools,
};
use results::{CaseResult, Event, Verdict};
use server9p::stack::StackError;

use super::{
    Exit, Failure, Outcome,
    interrupt::Interrupt,
    list::Format,
    output,
    values::scale,
    volume_args::{VolumeArgs, bring_up},
};

/// Options of `probe9p explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The case, of either kind: mmap.shared_write, sqlite3-cli.wal
    #[arg(value_name = "CASE")]
    case: String,
    /// A recipe of your own that has the case
    #[arg(long, value_name = "FILE")]
    recipe: Vec<PathBuf>,

    #[command(flatten)]
    volume: VolumeArgs,
    /// Use this directory, which is mounted already, instead of bringing a volume up; there are no messages then
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "The volume",
        conflicts_with_all = ["client", "server", "profile", "cache", "kernel", "run_as", "qemu"]
    )]
    path: Option<PathBuf>,

    /// How many places where the traces part are shown, from the first on
    #[arg(long, value_name = "N", default_value_t = 6)]
    calls: usize,
    /// Multiply every time limit
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = scale)]
    timeout_scale: f64,
    /// What standard output gets
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Explain {
    /// Runs the case on both sides, its remedies, and then once more under strace.
    pub fn run(self) -> Outcome {
        let case = self.case()?;
        let cancel = Arc::new(Cancel::default());
        let interrupt = Interrupt::watch(Arc::clone(&cancel))?;
        let scratch = tempfile::Builder::new()
            .prefix("probe9p-explain-")
            .tempdir()?;
        let trace = scratch.path().join("trace");
        let mut wanted = Wanted {
            path: self.path.clone(),
            trace: self.path.is_none().then(|| trace.clone()),
            ..self.volume.wanted()
        };
        let up = bring_up(&mut wanted)?;
        let stopped = || {
            let signal = interrupt.signal().unwrap_or("a signal");
            eprintln!("probe9p: stopped by {signal}; the case is not explained");
            Ok(Exit::Interrupted)
        };
        let mut found = None;
        let timeout_scale = self.timeout_scale * slowness::measure(wanted.client, &up, 1);
        let options = Options {
            jobs: 1,
            repeat: 1,
            timeout_scale,
            explain: true,
            retrace: Retrace::Never,
        };
        let ended = whole::run(
            &wanted,
            std::slice::from_ref(&up),
            std::slice::from_ref(&case),
            options,
            &cancel,
            &mut |event| {
                if let Event::CaseFinished(result) = event {
                    found = Some(result.as_ref().clone());
                }
            },
        );
        let result: CaseResult = match (ended.ending, found) {
            (Ending::Complete, Some(result)) => result,
            (Ending::Lost(error), _) => return Err(error.into()),
            _ => return stopped(),
        };
        let traces = if worth_tracing(result.verdict) {
            let limit = case.limit.mul_f64(timeout_scale);
            let (native, volume) = (&up.native, &up.volume);
            let case = tools::with_timeout_scale(&case, timeout_scale);
            match Traces::take(native, volume, &case, limit, true) {
                Ok(traces) => Some(traces),
                Err(StackError::Cancelled) => return stopped(),
                // The verdict and the cause are known without.
                Err(error) => {
                    eprintln!("probe9p: there are no traces: {error}");
                    None
                }
            }
        } else {
            None
        };
        let server = self.server_trace(&wanted, &up, &trace);
        let explanation =
            Explanation::new(&result, &up.stack, traces.as_ref(), &server, self.calls);
        match self.format {
            Format::Table => output::print(&explanation.to_text())?,
            Format::Json => output::print_json(&explanation)?,
        }
        Ok(Exit::Completed)
    }

    fn case(&self) -> Result<PlannedCase, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
        let catalogue = Catalogue::with_recipes(&self.recipe).map_err(|e| usage(&e))?;
        let selection = Selection {
            cases: vec![self.case.clone()],
            ..Selection::default()
        };
        let mut cases = select(&catalogue, &selection).map_err(|e| usage(&e))?;
        match cases.len() {
            1 => Ok(cases.remove(0)),
            count => Err(Failure::Usage(format!(
                "{:?} means {count} cases, and one is explained at a time; `probe9p list` shows their ids",
                self.case
            ))),
        }
    }

    /// What the server wrote, read as it writes.
    fn server_trace(&self, wanted: &Wanted, up: &Volume, trace: &Path) -> ServerTrace {
        let none = |why: String| ServerTrace::None(why);
        if wanted.path.is_some() {
            return none(
                "the volume was mounted by somebody else, so its messages are not seen here".into(),
            );
        }
        let read = match wanted.server {
            Server::Server9p => messages::of_server9p,
            Server::Qemu => messages::of_qemu,
            _ => {
                return none(format!(
                    "the server {} writes no trace that is read here, so messages are not shown",
                    up.stack.server
                ));
            }
        };
        if matches!(wanted.server, Server::Qemu) {
            // Its events name no export.
            eprintln!(
                "probe9p: QEMU's trace tells of the guest's root as well; its messages may stand among the volume's"
            );
        }
        match fs::read(trace) {
            Ok(text) => ServerTrace::Messages(read(&String::from_utf8_lossy(&text))),
            Err(error) => none(format!("the server's trace cannot be read ({error})")),
        }
    }
}

/// Whether a verdict says that the two sides are not alike.
fn worth_tracing(verdict: Verdict) -> bool {
    !matches!(
        verdict,
        Verdict::Works | Verdict::Skipped | Verdict::Invalid
    )
}
