//! `probe9p list`: what can be run.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use probes::{
    bench::{WorkloadError, workload},
    case::PlannedCase,
    ops,
    runner::volume,
    tools::{self, parse::RecipeError},
};
use serde::Serialize;

use super::{Exit, Outcome, output, terminal};

/// Options of `probe9p list`.
#[derive(Debug, Args)]
pub struct List {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Operation cases: a few system calls each
    Ops,
    /// Programs that are put to work
    Tools,
    /// What `bench` measures
    Workloads,
    /// What a volume can be made of: client, server, profile
    Stacks,
    /// The JSON Schema of recipes, for editors and other programs
    RecipeSchema,
}

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person
    Table,
    /// For a program
    Json,
}

impl List {
    /// Prints the listing.
    pub fn run(self) -> Outcome {
        match (self.what, self.format) {
            (What::Ops, Format::Json) => output::print_json(&ops::listing())?,
            (What::Ops, Format::Table) => output::print(&ops_table())?,
            (What::Tools, Format::Json) => output::print_json(&listed_tools()?)?,
            (What::Tools, Format::Table) => output::print(&tools_table(&listed_tools()?))?,
            (What::RecipeSchema, _) => output::print_json(&tools::recipe_schema())?,
            (What::Workloads, Format::Json) => {
                output::print_json(&workload::load(None).map_err(anyhow::Error::from)?)?
            }
            (What::Workloads, Format::Table) => output::print(&workloads_table()?)?,
            (What::Stacks, Format::Json) => output::print_json(&volume::stacks())?,
            (What::Stacks, Format::Table) => output::print(&stacks_table())?,
        }
        Ok(Exit::Completed)
    }
}

/// Families with their cases under them.
fn ops_table() -> String {
    let cases = ops::listing();
    let width = cases.iter().map(|case| case.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for family in ops::families() {
        let _ = writeln!(text, "{}: {}", family.name, family.about);
        for case in cases.iter().filter(|case| case.family == family.name) {
            let _ = writeln!(text, "  {:width$}  {}", case.id, case.title);
        }
    }
    let _ = writeln!(
        text,
        "\n{} cases; run some with `probe9p run --ops NAME,…`",
        cases.len()
    );
    terminal::fit(&text)
}

fn workloads_table() -> Result<String, WorkloadError> {
    let workloads = workload::load(None)?;
    let width = workloads
        .iter()
        .map(|one| one.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for one in workloads {
        let _ = writeln!(
            text,
            "{:width$}  {:5}  {}",
            one.name,
            one.unit.name(),
            one.title
        );
    }
    Ok(terminal::fit(&text))
}

/// A tool, for the listing.
#[derive(Debug, Serialize)]
struct ListedTool {
    name: String,
    /// The recipe that it belongs to, whose name selects all its variants that this machine has.
    recipe: String,
    summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Why this machine cannot run it, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    cases: Vec<ListedCase>,
}

#[derive(Debug, Serialize)]
struct ListedCase {
    id: String,
    title: String,
    limit_seconds: u64,
}

fn listed_tools() -> Result<Vec<ListedTool>, RecipeError> {
    tools::list()?
        .into_iter()
        .map(|tool| {
            let planned = tools::planned(&tool.cases)?.unwrap_or_default();
            let case = |case: PlannedCase| ListedCase {
                id: case.id,
                title: case.title,
                limit_seconds: case.limit.as_secs(),
            };
            Ok(ListedTool {
                name: tool.name,
                recipe: tool.recipe,
                summary: tool.summary,
                version: tool.state.as_ref().ok().cloned(),
                missing: tool.state.err(),
                cases: planned.into_iter().map(case).collect(),
            })
        })
        .collect()
}

/// Tools with their cases under them.
fn tools_table(tools: &[ListedTool]) -> String {
    let cases = || tools.iter().flat_map(|tool| &tool.cases);
    let width = cases().map(|case| case.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for tool in tools {
        let state = match (&tool.version, &tool.missing) {
            (_, Some(why)) => format!("missing: {why}"),
            (version, None) => version.clone().unwrap_or_default(),
        };
        let _ = writeln!(text, "{}: {} ({state})", tool.name, tool.summary);
        for case in &tool.cases {
            let _ = writeln!(text, "  {:width$}  {}", case.id, case.title);
        }
    }
    let (tools, cases) = (tools.len(), cases().count());
    let _ = writeln!(
        text,
        "\n{tools} tools, {cases} cases; run some with `probe9p run --tool NAME,…`"
    );
    terminal::fit(&text)
}

fn stacks_table() -> String {
    let mut text = String::new();
    for stack in volume::stacks() {
        let _ = match &stack.missing {
            None => writeln!(text, "ready    {:24} {}", stack.name, stack.about),
            Some(why) => writeln!(text, "missing  {:24} {} ({why})", stack.name, stack.about),
        };
    }
    terminal::fit(&text)
}
