//! The options that say which cases run, which `run` and `fidelity` share.

use std::path::PathBuf;

use clap::Args;
use probes::{
    case::PlannedCase,
    catalogue::Catalogue,
    runner::select::{SelectError, Selection, select},
    tools,
};

use super::Failure;

/// Options that say which cases run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What runs")]
pub struct SelectArgs {
    /// Tools to run: names, patterns such as 'sql*', or all
    #[arg(
        long,
        short,
        visible_alias = "tools",
        value_name = "NAME,…",
        value_delimiter = ','
    )]
    tool: Vec<String>,
    /// Operation cases to run: families, ids, patterns such as '*.shared*', or all
    #[arg(long, short, value_name = "NAME,…", value_delimiter = ',')]
    ops: Vec<String>,
    /// A recipe of your own to run
    #[arg(long, value_name = "FILE")]
    recipe: Vec<PathBuf>,
    /// Single cases to run, of either kind
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    case: Vec<String>,
}

impl SelectArgs {
    /// The cases that were asked for.
    pub fn cases(&self) -> Result<Vec<PlannedCase>, Failure> {
        let catalogue = Catalogue::with_recipes(&self.recipe)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let mut selection = Selection {
            ops: self.ops.clone(),
            tools: self.tool.clone(),
            cases: self.case.clone(),
        };
        for file in &self.recipe {
            let cases = tools::planned_from_file(file)
                .map_err(|error| Failure::Usage(error.to_string()))?;
            selection
                .cases
                .extend(cases.into_iter().map(|case| case.id));
        }
        select(&catalogue, &selection).map_err(|error| match error {
            SelectError::Nothing => Failure::NothingSelected(error.to_string()),
            _ => Failure::Usage(error.to_string()),
        })
    }

    /// As [`Self::cases`], and every case where none was named.
    pub fn cases_or_all(mut self) -> Result<Vec<PlannedCase>, Failure> {
        let named = [&self.ops, &self.tool, &self.case];
        if named.iter().all(|names| names.is_empty()) && self.recipe.is_empty() {
            self.ops.push("all".into());
            self.tool.push("all".into());
        }
        self.cases()
    }
}
