//! The child that runs one tool case on one side: `probe9p @tool-case --recipe R --case ID --side S --dir DIR`.
//!
//! It runs the script in the directory that it is given, judges what came of it by the recipe's expectations, and
//! prints one [`Observation`]. When a program that cannot record its own calls fails on the volume and strace is
//! installed, the case is run twice more under strace, on the volume and natively, and the calls that failed on
//! the volume alone become the observation's evidence.

mod speed;
mod traced;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use results::{Observation, Outcome};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::{
    calls::{self, FailedCall},
    find, parse,
    recipe::{Case, Place, Recipe, Remedy, Variant},
    script::{self, Job, Ran},
    service,
};
use crate::strace::{self, Calls};

/// How many failing calls an observation keeps.
const KEPT_CALLS: usize = 60;

/// The child's command line.
#[derive(Debug, Parser)]
#[command(name = "@tool-case")]
struct Arguments {
    /// A recipe's name, or the path of one.
    #[arg(long)]
    recipe: OsString,
    /// The text of that recipe, when it does not come with probe9p.
    #[arg(long)]
    text: Option<String>,
    /// The case's whole id, `sqlite3-cli.wal`.
    #[arg(long)]
    case: String,
    /// The remedy that is being tried.
    #[arg(long)]
    remedy: Option<String>,
    /// Multiplies the limits of the script and of its services.
    #[arg(long, default_value_t = 1.0)]
    timeout_scale: f64,
    /// It is run again, so what strace sees of its failure is known.
    #[arg(long)]
    again: bool,
    #[arg(long)]
    side: Side,
    /// The case's own fresh directory.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    Native,
    Volume,
}

/// Runs the child; `arguments` are those after the helper's name.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let name = OsString::from("@tool-case");
    let arguments = match Arguments::try_parse_from(std::iter::once(name).chain(arguments)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let observation = observe(&arguments).unwrap_or_else(|reason| Observation {
        detail: reason,
        ..Default::default()
    });
    match serde_json::to_string(&observation) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("The observation cannot be written: {error}.");
            ExitCode::from(70)
        }
    }
}

/// Runs the case; an error is the reason why it was not run.
fn observe(arguments: &Arguments) -> Result<Observation, String> {
    let recipe = match &arguments.text {
        Some(text) => parse::from_text(&arguments.recipe.to_string_lossy(), text),
        None => super::recipe_named(&arguments.recipe),
    };
    let recipe = recipe.map_err(|error| error.to_string())?;
    let (variant, case) = select(&recipe, &arguments.case)?;
    let remedy = arguments
        .remedy
        .as_deref()
        .map(|id| remedy(&recipe, id))
        .transpose()?;
    find::present(&recipe, variant)?;
    find::users(&recipe, variant, case)?;
    find::needs(variant, case)?;
    own_namespaces();
    let run = Run {
        source: &arguments.recipe,
        text: arguments.text.as_deref(),
        recipe: &recipe,
        variant,
        case,
        remedy,
        timeout_scale: arguments.timeout_scale,
        dir: &arguments.dir,
    };

    let first = run
        .script(&arguments.dir, run.limit(), None)
        .map_err(|error| {
            format!(
                "The script of {} could not be run: {error}.",
                arguments.case
            )
        })?;
    let mut observation = run.judge(&first.ran, &first.scratch, &arguments.dir);
    let failed = matches!(observation.outcome, Outcome::Error | Outcome::Signal);
    if case.timed && observation.outcome == Outcome::Ok {
        run.pace(arguments.side, &mut observation);
    }
    let traceable = arguments.side == Side::Volume
        && variant.builtin.is_none()
        && remedy.is_none()
        && !arguments.again;
    if failed && traceable {
        run.trace(&mut observation);
    }
    Ok(observation)
}

fn select<'a>(recipe: &'a Recipe, id: &str) -> Result<(&'a Variant, &'a Case), String> {
    let found = id.split_once('.').and_then(|(variant, case)| {
        let variant = recipe
            .variants
            .get_ref()
            .iter()
            .find(|known| known.name.get_ref() == variant)?;
        Some((
            variant,
            recipe
                .cases
                .get_ref()
                .iter()
                .find(|known| known.id.get_ref() == case)?,
        ))
    });
    found.ok_or_else(|| format!("The recipe {} has no case {id}.", recipe.name.get_ref()))
}

fn remedy<'a>(recipe: &'a Recipe, id: &str) -> Result<&'a Remedy, String> {
    let found = recipe
        .remedies
        .iter()
        .find(|known| known.id.get_ref() == id);
    found.ok_or_else(|| format!("The recipe {} has no remedy {id}.", recipe.name.get_ref()))
}

/// A case on one side.
struct Run<'a> {
    source: &'a OsStr,
    text: Option<&'a str>,
    recipe: &'a Recipe,
    variant: &'a Variant,
    case: &'a Case,
    remedy: Option<&'a Remedy>,
    timeout_scale: f64,
    dir: &'a Path,
}

/// A script's run, with the local directory that it had.
struct Executed {
    ran: Ran,
    scratch: tempfile::TempDir,
    trace: String,
}

impl Run<'_> {
    fn limit(&self) -> Duration {
        self.case.limit().mul_f64(self.timeout_scale)
    }

    /// Runs the script in `dir`, under strace when a name for its trace is given.
    fn script(&self, dir: &Path, limit: Duration, trace: Option<&str>) -> io::Result<Executed> {
        let scratch = tempfile::Builder::new().prefix("probe9p-case-").tempdir()?;
        if let Some(builtin) = self.variant.builtin {
            let own = own_program()?;
            let helper = format!("@{}", builtin.program());
            script::provide(
                scratch.path(),
                builtin.program(),
                &[own.as_os_str(), OsStr::new(&helper)],
            )?;
        }
        if !self.case.services.is_empty() {
            let own = own_program()?;
            let copy = scratch.path().join("recipe.toml");
            let source = match self.text {
                Some(text) => fs::write(&copy, text).map(|()| copy.as_os_str())?,
                None => self.source,
            };
            let words = ["@service", "--recipe"].map(OsStr::new);
            let case = ["--case", self.case.id.get_ref(), "--scratch"].map(OsStr::new);
            let words = [&[own.as_os_str()], &words[..], &[source], &case[..]].concat();
            let scale = self.timeout_scale.to_string();
            let scale = [OsStr::new("--timeout-scale"), OsStr::new(&scale)];
            let words = [&words[..], &[scratch.path().as_os_str()], &scale].concat();
            script::provide(scratch.path(), service::PROGRAM, &words)?;
        }
        let homes = match self.case.tmpdir {
            Place::Native => scratch.path().to_owned(),
            Place::Volume => dir.join(".probe9p"),
        };
        let trace = trace.map(|name| scratch.path().join(name));
        let mut env: Vec<(String, OsString)> = Vec::new();
        if let Some(remedy) = self.remedy {
            env.extend(
                remedy
                    .env
                    .iter()
                    .map(|(name, value)| (name.clone(), value.into())),
            );
            env.push(("PROBE9P_REMEDY".to_owned(), remedy.id.get_ref().into()));
        } else {
            env.push(("PROBE9P_REMEDY".to_owned(), OsString::new()));
        }
        // strace ends when all that it traces has ended, so under it the services must end with the script.
        let ends_services = if trace.is_some() && !self.case.services.is_empty() {
            format!("trap '{} end' EXIT\n", service::PROGRAM)
        } else {
            String::new()
        };
        let ran = script::run(&Job {
            text: [
                &ends_services,
                &self.recipe.prelude,
                self.case.script.get_ref(),
            ],
            dir,
            scratch: scratch.path(),
            homes: &homes,
            env,
            under: trace
                .as_deref()
                .map(|trace| strace::command(trace, Calls::Failing))
                .unwrap_or_default(),
            limit,
            before_the_end: &|| service::stop_all(self.recipe, scratch.path()),
        })?;
        // Text that is not UTF-8 in a trace is strace's own escaping gone wrong; the rest is still evidence.
        let trace = trace.map(fs::read).transpose()?.unwrap_or_default();
        Ok(Executed {
            ran,
            scratch,
            trace: String::from_utf8_lossy(&trace).into_owned(),
        })
    }

    /// Compares what a script did with what the recipe expects of it.
    fn judge(&self, ran: &Ran, scratch: &tempfile::TempDir, dir: &Path) -> Observation {
        let exit_code = ran.status.and_then(|status| status.code());
        let last = last_lines(&ran.output, 6);
        let (outcome, detail) = if ran.status.is_none() {
            let limit = self.limit().as_secs();
            (
                Outcome::Timeout,
                format!("did not end within {limit} s and was killed; its last words: {last}"),
            )
        } else if let Some(signal) = ran.signal() {
            (
                Outcome::Signal,
                format!("ended by {signal}; its last words: {last}"),
            )
        } else if let Some(problem) = self.unmet(ran, exit_code, dir) {
            (
                Outcome::Error,
                format!(
                    "{problem}{}",
                    if last.is_empty() {
                        last
                    } else {
                        format!(": {last}")
                    }
                ),
            )
        } else {
            (Outcome::Ok, ran.notes.clone())
        };
        let failed = outcome != Outcome::Ok;
        let decisive = failed.then(|| calls::decisive(&ran.calls)).flatten();
        // Directories differ from run to run, and observations are compared.
        let detail = detail.replace(&dir.display().to_string(), "$PROBE9P_DIR");
        let detail = detail.replace(&scratch.path().display().to_string(), "$SCRATCH");
        Observation {
            outcome,
            errno: decisive.map(|call| call.errno.clone()),
            call: decisive.map(|call| call.call.clone()),
            exit_code,
            signal: ran.signal().map(|signal| signal.as_str().to_owned()),
            detail,
            facts: facts(ran),
            failed_calls: texts(ran.calls.clone(), Some(scratch.path())),
            duration_ms: ran.duration.as_secs_f64() * 1e3,
        }
    }

    /// The first expectation that is not met.
    fn unmet(&self, ran: &Ran, exit_code: Option<i32>, dir: &Path) -> Option<String> {
        let expect = &self.case.expect;
        if exit_code != Some(expect.exit) {
            let code = exit_code.map_or("no exit code".to_owned(), |code| {
                format!("exit code {code}")
            });
            return Some(if expect.exit == 0 {
                code
            } else {
                format!("{code} instead of {}", expect.exit)
            });
        }
        expect.unmet(&ran.output, &ran.facts, dir)
    }
}

/// Gives this process, where it may have them, System V IPC and mounts of its own, with an empty `/dev/shm`: what
/// scripts make there ends with the case, and does not meet what others made.
fn own_namespaces() {
    // SAFETY: the process has one thread yet, and shares no descriptor table.
    let own = unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWIPC) };
    // Who may not has the machine's.
    if own.is_ok()
        && mount_change(
            "/",
            MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
        )
        .is_ok()
    {
        let _ = mount(
            "tmpfs",
            "/dev/shm",
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            c"mode=1777",
        );
    }
}

/// A path by which this program can be run from the script, whether or not its own can be reached in the world
/// that the case runs in.
fn own_program() -> io::Result<PathBuf> {
    let identity = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino()));
    let path = std::env::current_exe()?;
    let running = identity(Path::new("/proc/self/exe"))?;
    let reachable = identity(&path).is_ok_and(|found| found == running);
    // The link of this process leads to the program itself, and this process outlives the script.
    Ok(if reachable {
        path
    } else {
        format!("/proc/{}/exe", std::process::id()).into()
    })
}

fn texts(calls: Vec<FailedCall>, scratch: Option<&Path>) -> Vec<String> {
    let plain = |call: FailedCall| {
        let args = match scratch {
            Some(scratch) => call
                .args
                .replace(&scratch.display().to_string(), "$SCRATCH"),
            None => call.args,
        };
        FailedCall {
            args: calls::without_random_names(&args),
            ..call
        }
    };
    let calls = calls.into_iter().map(plain).collect();
    calls::distinct(calls, KEPT_CALLS)
        .iter()
        .map(FailedCall::to_string)
        .collect()
}

fn facts(ran: &Ran) -> BTreeMap<String, String> {
    let mut facts = ran.facts.clone();
    // What a program gave up on names the failure better than its words do.
    if let Some(code) = ran.calls.iter().rev().find_map(|call| call.gave_up.clone()) {
        facts.entry("gave_up".to_owned()).or_insert(code);
    }
    facts
}

fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(most)..].join(" / ")
}
