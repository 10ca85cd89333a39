//! `probe9p exec`: any command, natively and on a volume, and whether it did the same.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use clap::{Args, ValueEnum};
use probes::{
    exec::{self, Ran, Request},
    explain,
    runner::{
        cancel::Cancel,
        clock, host,
        volume::{Volume, Wanted},
    },
};
use results::{
    CaseKind, CaseResult, FailOn, Observation, Report, RunStarted, SCHEMA_VERSION, Verdict, verdict,
};
use server9p::stack::StackError;

use super::{
    Exit, Failure, Outcome,
    interrupt::Interrupt,
    output, values,
    volume_args::{VolumeArgs, bring_up},
};

/// Options of `probe9p exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The command; it runs in a fresh directory, which is $PROBE9P_DIR too
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,

    #[command(flatten)]
    volume: VolumeArgs,
    /// Use this directory, which is mounted already, instead of bringing a volume up
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "The volume",
        conflicts_with_all = ["client", "server", "profile", "cache", "kernel", "run_as"]
    )]
    path: Option<PathBuf>,

    /// Run it on the volume only; the verdict is then by its exit code alone
    #[arg(long)]
    volume_only: bool,
    /// If it does not work, run it on the other volumes that the client can have (each cache mode, ram, storage) and say where it
    /// works
    #[arg(long, conflicts_with = "volume_only")]
    try_remedies: bool,
    /// Copy this directory's content into the fresh one first, on both sides
    #[arg(long, value_name = "DIR")]
    seed: Option<PathBuf>,
    /// After so many seconds the command is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    limit: u64,
    /// Leave the directories where they are, and say where
    #[arg(long)]
    keep: bool,
    /// What standard output gets: with table the command's own output and then the verdict, with json the report
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// End with exit code 1 if the verdict is at least so bad: degraded, workaround, unstable, fails, hangs,
    /// crashes or never
    #[arg(long, value_name = "VERDICT", default_value = "never", value_parser = values::verdict)]
    fail_on: FailOn,
}

/// What standard output gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The command's output, then the verdict
    Table,
    /// The report, with the command's output in it
    Json,
}

impl Exec {
    /// Runs the command on both sides and compares.
    pub fn run(self) -> Outcome {
        let request = Request {
            argv: exec::located(self.command.clone(), self.seed.is_some()),
            seed: self.seed.as_deref().map(readable).transpose()?,
            limit: Duration::from_secs(self.limit),
        };
        let cancel = Arc::new(Cancel::default());
        let interrupt = Interrupt::watch(Arc::clone(&cancel))?;
        let began = SystemTime::now();
        let mut wanted = Wanted {
            path: self.path.clone(),
            keep: self.keep,
            ..self.volume.wanted()
        };
        let up = bring_up(&mut wanted)?;
        if self.keep {
            let (native, volume) = (up.native.here.display(), up.volume.here.display());
            eprintln!("probe9p: the directories of the command stay in {native} and {volume}");
        }
        cancel.watch(&up.native.world);
        cancel.watch(&up.volume.world);

        let compared = match self.compare(&wanted, &up, &request, &cancel) {
            Err(StackError::Cancelled) => {
                let signal = interrupt.signal().unwrap_or("a signal");
                eprintln!("probe9p: stopped by {signal}; the command has no verdict");
                return Ok(Exit::Interrupted);
            }
            other => other?,
        };
        match self.format {
            Format::Table => {
                if let Ran::Ended { finished, .. } = &compared.ran {
                    io::stdout().write_all(&finished.stdout)?;
                    io::stdout().flush()?;
                    io::stderr().write_all(&finished.stderr)?;
                }
                output::print(&table(&compared.result, &up))?;
            }
            // The report has the command's output.
            Format::Json => output::print(&report(&compared, &up, began).to_json())?,
        }
        let crossed = self.fail_on.is_crossed_by(compared.result.verdict);
        Ok(if crossed {
            Exit::VerdictCrossed
        } else {
            Exit::Completed
        })
    }

    fn compare(
        &self,
        wanted: &Wanted,
        up: &Volume,
        request: &Request,
        cancel: &Cancel,
    ) -> Result<Compared, StackError> {
        let mut native = Vec::new();
        if !self.volume_only {
            native.push(exec::run(&up.native, request)?);
        }
        let volume = exec::run(&up.volume, request)?;
        let (mut natively, mut on_volume) = exec::observations(&native, &volume);
        let mut judged = self.judge(&natively, &on_volume);
        if judged.0.is_bad() && !self.volume_only {
            // A command that differs from run to run differs between the sides as well.
            native.push(exec::run(&up.native, request)?);
            (natively, on_volume) = exec::observations(&native, &volume);
            judged = self.judge(&natively, &on_volume);
        }
        if judged.0.is_bad() && judged.0 != Verdict::Hangs && !self.volume_only {
            let unknown = match exec::failed_calls(&up.native, &up.volume, request) {
                Ok(Some(calls)) => {
                    on_volume.failed_calls = calls;
                    None
                }
                Ok(None) => Some(WITHOUT_STRACE.to_owned()),
                // The verdict stands without them.
                Err(StackError::Unavailable(why)) => {
                    Some(format!("(the calls that failed are not known: {why})"))
                }
                Err(error) => return Err(error),
            };
            if let Some(unknown) = unknown {
                on_volume.detail = [&*on_volume.detail, &*unknown].join(" ").trim().to_owned();
            }
        }
        let remedies = if self.try_remedies && judged.0.is_bad() {
            exec::try_all(wanted, request, &native, cancel)?
        } else {
            Vec::new()
        };
        let words: Vec<_> = self
            .command
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        let mut result = CaseResult {
            id: "exec".to_owned(),
            kind: CaseKind::Tool,
            title: words.join(" "),
            native: natively,
            volume: on_volume,
            verdict: verdict::with_remedies(judged.0, &remedies),
            note: judged.1,
            cause: None,
            remedies,
            runs: 1,
        };
        result.cause = explain::diagnose(&result);
        Ok(Compared {
            result,
            ran: volume,
        })
    }

    fn judge(&self, native: &Observation, volume: &Observation) -> (Verdict, String) {
        if !self.volume_only {
            return verdict::judge(std::slice::from_ref(native), std::slice::from_ref(volume));
        }
        // Nothing to compare with but success.
        let success = Observation {
            exit_code: Some(0),
            facts: volume.facts.clone(),
            ..Observation::default()
        };
        let success = Observation {
            outcome: results::Outcome::Ok,
            ..success
        };
        verdict::judge(&[success], std::slice::from_ref(volume))
    }
}

const WITHOUT_STRACE: &str = "(strace would show the calls that failed: apt-get install -y strace)";

/// The result, and what the command did on the volume.
struct Compared {
    result: CaseResult,
    ran: Ran,
}

/// The seed, which must be a directory that can be listed.
fn readable(seed: &std::path::Path) -> Result<PathBuf, Failure> {
    let listed =
        std::fs::canonicalize(seed).and_then(|seed| std::fs::read_dir(&seed).map(|_| seed));
    listed.map_err(|error| {
        Failure::NoStack(format!(
            "the seed {} cannot be listed ({error}); give --seed a directory that this user may read",
            seed.display()
        ))
    })
}

fn table(result: &CaseResult, up: &Volume) -> String {
    let verdict = result.verdict;
    let compared = match (verdict, result.native.outcome) {
        (Verdict::Works, results::Outcome::NotRun) => {
            "exit code 0 on the volume; nothing to compare with".to_owned()
        }
        (Verdict::Works, _) => {
            let code = result.volume.exit_code.unwrap_or(0);
            format!("exit code {code}, output and tree are the same natively and on the volume")
        }
        _ if both_ended(result) => format!("{} differ", differing(result).join(", ")),
        _ => result.note.clone(),
    };
    let stack = format!(
        "{}, cache={}, Linux {}",
        up.stack.name(),
        up.stack.cache,
        up.stack.kernel
    );
    let mut text = format!("{} {verdict}: {compared} ({stack})\n", verdict.symbol());
    let names: BTreeSet<&String> = result
        .native
        .facts
        .keys()
        .chain(result.volume.facts.keys())
        .collect();
    for name in names.into_iter().filter(|_| both_ended(result)) {
        let (native, volume) = (result.native.facts.get(name), result.volume.facts.get(name));
        if native != volume {
            let alike = match (native, volume) {
                (Some(native), Some(volume)) => exec::lines_alike(native, volume),
                _ => 0,
            };
            let (native, volume) = (shortened(native, alike), shortened(volume, alike));
            let _ = writeln!(
                text,
                "  {name}\n    natively       {native}\n    on the volume  {volume}"
            );
        }
    }
    for call in &result.volume.failed_calls {
        let _ = writeln!(text, "  failed on the volume only: {call}");
    }
    if verdict == Verdict::Works && !result.volume.detail.is_empty() {
        let _ = writeln!(text, "  {}", result.volume.detail);
    }
    if let Some(cause) = result
        .cause
        .as_ref()
        .filter(|cause| cause.id != explain::UNMATCHED)
    {
        let _ = writeln!(text, "  cause: {} ({})", cause.summary, cause.id);
        for remedy in explain::catalogue::find(&cause.id)
            .map(|entry| &*entry.remedies)
            .unwrap_or_default()
        {
            let _ = writeln!(text, "  try: {remedy}");
        }
    }
    for remedy in &result.remedies {
        let _ = match (remedy.verified, &*remedy.detail) {
            (true, "") => writeln!(text, "  ✓ works: {}", remedy.title),
            (true, but) => writeln!(text, "  ✓ works: {} ({but})", remedy.title),
            (false, why) if why.starts_with("was not run") => {
                writeln!(text, "  - not tried: {} ({why})", remedy.title)
            }
            (false, why) => writeln!(text, "  ✗ does not help: {} ({why})", remedy.title),
        };
    }
    if result.remedies.iter().all(|remedy| !remedy.verified) && !result.remedies.is_empty() {
        let _ = writeln!(text, "  none of the other volumes makes it work");
    }
    text
}

fn both_ended(result: &CaseResult) -> bool {
    [&result.native, &result.volume]
        .iter()
        .all(|side| side.outcome == results::Outcome::Ok)
}

/// What is not the same on both sides.
fn differing(result: &CaseResult) -> Vec<String> {
    let (native, volume) = (&result.native, &result.volume);
    let mut found = Vec::new();
    if let (Some(left), Some(right)) = (native.exit_code, volume.exit_code)
        && left != right
    {
        found.push(format!(
            "exit codes ({left} natively, {right} on the volume)"
        ));
    }
    for part in ["output", "error output"] {
        if native.facts.get(part) != volume.facts.get(part) {
            found.push(format!("{part}s"));
        }
    }
    let entries = |side: &Observation| -> Vec<(String, String)> {
        let facts = side
            .facts
            .iter()
            .filter(|(name, _)| name.starts_with("tree: "));
        facts
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    if entries(native) != entries(volume) {
        found.push("trees".to_owned());
    }
    found
}

/// A fact's value on one line, from where it differs.
fn shortened(value: Option<&String>, alike: usize) -> String {
    const MOST: usize = 200;
    let Some(value) = value else {
        return "absent".to_owned();
    };
    let lines: Vec<&str> = value.lines().skip(alike).collect();
    let mut line = match lines.is_empty() {
        true => "(no more)".to_owned(),
        false => lines.join(" ⏎ "),
    };
    if alike > 0 {
        line.insert_str(0, &format!("line {}: ", alike + 1));
    }
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

fn report(compared: &Compared, up: &Volume, began: SystemTime) -> Report {
    let result = compared.result.clone();
    let started = RunStarted {
        schema_version: SCHEMA_VERSION,
        run_id: clock::run_id(began),
        started: clock::rfc3339(began),
        host: host::describe(&up.native.here),
        stack: up.stack.clone(),
        planned: vec![result.id.clone()],
        part: None,
    };
    let mut report = Report::begin(&started);
    report.cases.push(result);
    report.finished = Some(clock::rfc3339(SystemTime::now()));
    report
}
