//! `probe9p publish`: the runs of a plan, one after the other, kept as committed reports, and the site of them all.
//!
//! The plan is data, `results/published/plan.toml`. A run that this machine cannot make is skipped, with the reason.
//! What was run already is not run again, so that a publication that was stopped goes on where it was.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use results::{Report, matrix::slug};
use serde::Deserialize;

use super::{
    Exit, Failure, Outcome,
    keep::{cannot, write_whole},
    output,
    report::{read_all, write_site},
};

/// Options of `probe9p publish`.
#[derive(Debug, Args)]
pub struct Publish {
    /// What to run
    #[arg(
        long,
        value_name = "FILE",
        default_value = "results/published/plan.toml"
    )]
    plan: PathBuf,
    /// Where reports are kept, each as RUN-ID/report.json
    #[arg(long, value_name = "DIR", default_value = "results/published")]
    published: PathBuf,
    /// Where the reports of this publication are while it goes on
    #[arg(long, value_name = "DIR", default_value = "target/publish")]
    work: PathBuf,
    /// Where the site of all published reports goes
    #[arg(long, value_name = "SITE", default_value = "target/site")]
    site: PathBuf,
    /// Only these runs of the plan
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Run again what was run already, as a new publication
    #[arg(long)]
    again: bool,
}

/// The plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    run: Vec<Planned>,
}

/// One run of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Planned {
    /// What it is called, here and in the work directory.
    name: String,
    /// The arguments of probe9p: `run` or `bench` and their options, without --out and --format.
    args: Vec<String>,
}

/// What came of a run.
enum Came {
    /// It is in the work directory.
    Done(Box<Report>),
    /// This machine cannot make it.
    Skipped(String),
}

impl Publish {
    /// Runs what the plan has and was not run, keeps the reports, and makes the site.
    pub fn run(self) -> Outcome {
        let plan = self.read_plan()?;
        fs::create_dir_all(&self.work).map_err(|error| cannot(&self.work, &error))?;
        let mut skipped = 0;
        for planned in &plan {
            let said = match self.one(planned)? {
                Came::Done(report) => self.keep(&report)?,
                Came::Skipped(reason) => {
                    skipped += 1;
                    format!("skipped: {reason}")
                }
            };
            output::print(&format!("{}: {said}\n", planned.name))?;
        }
        let reports = self.published()?;
        if reports.is_empty() {
            return Err(Failure::NoStack(format!(
                "none of the {skipped} runs can be made here, and {} holds none, so there is no site to make; \
                 `probe9p doctor` says what this machine lacks",
                self.published.display()
            )));
        }
        write_site(&reports, &self.site)?;
        output::print(&format!(
            "{} published runs, {skipped} skipped: {}\n",
            reports.len(),
            self.site.join("index.html").display()
        ))?;
        Ok(Exit::Completed)
    }

    fn read_plan(&self) -> Result<Vec<Planned>, Failure> {
        let usage =
            |why: String| Failure::Usage(format!("{} is no plan: {why}", self.plan.display()));
        let text = fs::read_to_string(&self.plan).map_err(|error| {
            usage(format!(
                "{error}; name one with --plan, or start this where the sources are"
            ))
        })?;
        let plan: Plan = toml::from_str(&text).map_err(|error| usage(error.to_string()))?;
        for name in &self.only {
            if plan.run.iter().all(|planned| planned.name != *name) {
                let names: Vec<_> = plan
                    .run
                    .iter()
                    .map(|planned| planned.name.as_str())
                    .collect();
                return Err(usage(format!(
                    "it has no run {name:?}; it has {}",
                    names.join(", ")
                )));
            }
        }
        let wanted = |planned: &Planned| self.only.is_empty() || self.only.contains(&planned.name);
        Ok(plan.run.into_iter().filter(wanted).collect())
    }

    /// One run, unless its whole report is there already.
    fn one(&self, planned: &Planned) -> Result<Came, Failure> {
        let out = self.work.join(format!("{}.json", slug(&planned.name)));
        if !self.again
            && let Ok(report) = Report::read(&out)
            && report.finished.is_some()
        {
            return Ok(Came::Done(Box::new(report)));
        }
        eprintln!("probe9p: {}: {}", planned.name, planned.args.join(" "));
        let mut child = Command::new(std::env::current_exe()?)
            .args(&planned.args)
            .args(["--format", "json", "--out"])
            .arg(&out)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut last = String::new();
        for line in BufReader::new(child.stderr.take().expect("it is piped")).lines() {
            let line = line?;
            eprintln!("{line}");
            last = line;
        }
        let status = child.wait()?;
        let last = last.strip_prefix("probe9p: ").unwrap_or(&last).to_owned();
        match status.code() {
            Some(0) => {
                let report =
                    Report::read(&out).map_err(|error| Failure::Usage(error.to_string()))?;
                Ok(Came::Done(Box::new(report)))
            }
            // A stack that this machine has not, or that this probe9p does not know.
            Some(code) if code == Exit::NoStack as i32 || code == Exit::Usage as i32 => {
                Ok(Came::Skipped(last))
            }
            _ => Err(Failure::NoStack(format!(
                "the run {} ended with {status}: {last}; start this again to go on from here",
                planned.name
            ))),
        }
    }

    /// Puts a report among the published ones.
    fn keep(&self, report: &Report) -> Result<String, Failure> {
        let dir = self.published.join(slug(&report.run_id));
        fs::create_dir_all(&dir).map_err(|error| cannot(&dir, &error))?;
        let path = dir.join("report.json");
        write_whole(&path, &report.to_compact_json(), true)
            .map_err(|error| cannot(&path, &error))?;
        let counts = report.counts();
        let counts: Vec<String> = counts
            .iter()
            .map(|(verdict, n)| format!("{n} {verdict}"))
            .collect();
        Ok(match counts.is_empty() {
            true => format!("{} workloads", report.bench.len()),
            false => counts.join(", "),
        })
    }

    /// Every published report.
    fn published(&self) -> Result<Vec<Report>, Failure> {
        let entries =
            fs::read_dir(&self.published).map_err(|error| unreadable(&self.published, &error))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|error| unreadable(&self.published, &error))?
                .path()
                .join("report.json");
            if path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        read_all(&paths)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::NoStack(format!(
        "{} cannot be read: {error}; name the published runs' directory with --published",
        path.display()
    ))
}
