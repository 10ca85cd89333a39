//! Tool cases: real programs that are put to work on a volume, described by recipes.
//!
//! [`recipe`] is the format, [`parse`] reads it strictly, this module has the recipes that come with probe9p and
//! turns what a user names into [`PlannedCase`]s. [`child`] runs one case in a process of its own, by [`script`], with
//! the programs beside it ([`service`]), and measures what its time is compared with ([`pace`]);
//! [`calls`] are failing system calls, recorded by the program or by [`crate::strace`]; [`sqlite`] is the one program that is built in.

pub mod calls;
mod child;
mod emulated;
pub mod find;
mod pace;
pub mod parse;
pub mod recipe;
mod script;
mod service;
mod sqlite;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::ExitCode,
    sync::LazyLock,
    time::Duration,
};

use results::CaseKind;

use crate::case::{PlannedCase, PlannedRemedy};
use parse::RecipeError;
use recipe::{Case, Recipe, Variant};

/// The recipes that come with probe9p, `probes/tools/*.toml`: their file's name and text, in order.
const RECIPES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// A tool as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolInfo {
    /// The variant's name, the first part of its cases' ids.
    pub name: String,
    /// The recipe that it belongs to.
    pub recipe: String,
    /// What it is, in one line.
    pub summary: String,
    /// Ids of its cases.
    pub cases: Vec<String>,
    /// Its version, or why it cannot be run here.
    pub state: Result<String, String>,
}

/// Names that no recipe has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTools {
    /// The names, as they were given.
    pub names: Vec<String>,
}

/// Does what `args` (without the program's name) asks for when that is a child of this module, `@tool-case`, `@service`
/// or the built-in `@sqlite3`; `None` leaves them to the rest of the program.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let (name, rest) = args.split_first()?;
    match name.to_str()? {
        "@tool-case" => Some(child::main(rest.to_vec())),
        "@service" => Some(service::main(rest.to_vec())),
        "@sqlite3" => Some(sqlite::main(rest.to_vec())),
        _ => None,
    }
}

/// Every recipe that comes with probe9p.
pub fn recipes() -> Result<&'static [Recipe], RecipeError> {
    static PARSED: LazyLock<Result<Vec<Recipe>, RecipeError>> = LazyLock::new(|| {
        let parsed = RECIPES
            .iter()
            .map(|(file, text)| parse::from_text(file, text));
        parsed.collect()
    });
    PARSED.as_deref().map_err(RecipeError::clone)
}

/// Every name that [`planned`] accepts: of tools, of their variants, and of cases.
pub fn names() -> Result<Vec<String>, RecipeError> {
    let mut names = Vec::new();
    for recipe in recipes()? {
        names.push(recipe.name.get_ref().clone());
        for variant in recipe.variants.get_ref() {
            names.push(variant.name.get_ref().clone());
            names.extend(recipe.cases.get_ref().iter().map(|case| id(variant, case)));
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The names of every recipe, and of its variants.
pub fn variants() -> Result<Vec<(&'static str, Vec<&'static str>)>, RecipeError> {
    let named = |recipe: &'static Recipe| {
        let variants = recipe.variants.get_ref().iter();
        (
            recipe.name.get_ref().as_str(),
            variants
                .map(|variant| variant.name.get_ref().as_str())
                .collect(),
        )
    };
    Ok(recipes()?.iter().map(named).collect())
}

/// Every tool with its cases, and whether this machine has it.
pub fn list() -> Result<Vec<ToolInfo>, RecipeError> {
    let info = |recipe: &Recipe, variant: &Variant| ToolInfo {
        name: variant.name.get_ref().clone(),
        recipe: recipe.name.get_ref().clone(),
        summary: recipe.summary.clone(),
        cases: recipe
            .cases
            .get_ref()
            .iter()
            .map(|case| id(variant, case))
            .collect(),
        state: find::present(recipe, variant)
            .map(|()| find::version(variant).unwrap_or_else(|| "installed".to_owned())),
    };
    let recipes = recipes()?;
    Ok(recipes
        .iter()
        .flat_map(|r| r.variants.get_ref().iter().map(move |v| info(r, v)))
        .collect())
}

/// The cases of the tools that were named; `all` names every one.
///
/// A recipe's name means all of its variants that this machine has (its first in any case, which is then skipped
/// with the reason); a variant's name means that one; a case's whole id means that case.
pub fn planned(wanted: &[String]) -> Result<Result<Vec<PlannedCase>, UnknownTools>, RecipeError> {
    let recipes = recipes()?;
    let (mut cases, mut unknown): (Vec<PlannedCase>, Vec<String>) = Default::default();
    for name in wanted {
        let before = cases.len();
        for recipe in recipes {
            let source = [recipe.name.get_ref().into()];
            for found in matching(recipe, &source, name) {
                if !cases.iter().any(|known| known.id == found.id) {
                    cases.push(found);
                }
            }
        }
        let known = cases.len() > before
            || cases
                .iter()
                .any(|case| case.id == *name || case.id.starts_with(&format!("{name}.")));
        if !known {
            unknown.push(name.clone());
        }
    }
    Ok(if unknown.is_empty() {
        Ok(cases)
    } else {
        Err(UnknownTools { names: unknown })
    })
}

/// The cases of a user's own recipe.
///
/// The child is given the recipe's text: a guest need not see the file, and has another working directory.
pub fn planned_from_file(file: &Path) -> Result<Vec<PlannedCase>, RecipeError> {
    let text = parse::read(file)?;
    let recipe = parse::from_text(&file.display().to_string(), &text)?;
    let source = [file.as_os_str().to_owned(), "--text".into(), text.into()];
    Ok(matching(&recipe, &source, recipe.name.get_ref()))
}

/// The case with its script's own limits, and those of its services, multiplied as the runner's are.
pub fn with_timeout_scale(case: &PlannedCase, scale: f64) -> PlannedCase {
    let mut case = case.clone();
    if case.kind == CaseKind::Tool && scale != 1.0 {
        let told = ["--timeout-scale".into(), scale.to_string().into()];
        case.child_args.extend(told);
    }
    case
}

/// What a case's child is told besides when the case is run again after a failure: a tool's is not looked at with
/// strace once more.
pub fn again(kind: CaseKind) -> Vec<OsString> {
    match kind {
        CaseKind::Tool => vec!["--again".into()],
        CaseKind::Op => Vec::new(),
    }
}

/// The JSON Schema of recipes.
pub fn recipe_schema() -> schemars::Schema {
    schemars::schema_for!(Recipe)
}

/// Whether a recipe of that name comes with probe9p.
fn is_built_in(name: &str) -> bool {
    RECIPES
        .iter()
        .any(|(file, _)| Path::new(file).file_stem() == Some(OsStr::new(name)))
}

/// The recipe of that name, or in that file.
fn recipe_named(name: &OsStr) -> Result<Recipe, RecipeError> {
    let known = |(file, _): &&(&str, &str)| Path::new(file).file_stem() == Some(name);
    match RECIPES.iter().find(known) {
        Some((file, text)) => parse::from_text(file, text),
        None => parse::from_file(Path::new(name)),
    }
}

fn id(variant: &Variant, case: &Case) -> String {
    format!("{}.{}", variant.name.get_ref(), case.id.get_ref())
}

/// The cases of a recipe that a name means; `source` is what follows the child's `--recipe`.
fn matching(recipe: &Recipe, source: &[OsString], name: &str) -> Vec<PlannedCase> {
    let whole = name == "all" || name == recipe.name.get_ref();
    let (variant_name, case_name) = name
        .split_once('.')
        .map_or((name, None), |(v, c)| (v, Some(c)));
    let mut planned = Vec::new();
    for (index, variant) in recipe.variants.get_ref().iter().enumerate() {
        let selected = if whole {
            index == 0 || find::present(recipe, variant).is_ok()
        } else {
            variant.name.get_ref() == variant_name
        };
        if selected {
            let cases = recipe.cases.get_ref().iter();
            let cases =
                cases.filter(|case| case_name.is_none_or(|wanted| wanted == case.id.get_ref()));
            planned.extend(cases.map(|case| plan(recipe, source, variant, case)));
        }
    }
    planned
}

fn plan(recipe: &Recipe, source: &[OsString], variant: &Variant, case: &Case) -> PlannedCase {
    let id = id(variant, case);
    let child = ["@tool-case".into(), "--recipe".into()];
    let of_case = ["--case".into(), id.clone().into()];
    let arguments = [&child[..], source, &of_case].concat();
    let remedies = case.remedies.iter().filter_map(|wanted| {
        let remedy = recipe
            .remedies
            .iter()
            .find(|known| known.id.get_ref() == wanted.get_ref())?;
        Some(PlannedRemedy {
            id: remedy.id.get_ref().clone(),
            title: remedy.title.clone(),
            child_args: vec!["--remedy".into(), remedy.id.get_ref().into()],
            other: remedy.other(),
        })
    });
    PlannedCase {
        id,
        kind: CaseKind::Tool,
        title: case.title.clone(),
        // The child itself keeps the script's limit; a failing script may be run twice more, under strace.
        limit: case.limit() * (3 + if case.timed { pace::RUNS } else { 0 })
            + Duration::from_secs(15),
        child_args: arguments,
        alone: case.alone || case.timed,
        remedies: remedies.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(wanted: &[&str]) -> Vec<String> {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        planned(&wanted)
            .unwrap()
            .unwrap()
            .into_iter()
            .map(|case| case.id)
            .collect()
    }

    #[test]
    fn every_recipe_parses_and_has_its_files_name() {
        for (file, text) in RECIPES {
            let recipe = parse::from_text(file, text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                Path::new(file).file_stem(),
                Some(OsStr::new(recipe.name.get_ref()))
            );
        }
    }

    #[test]
    fn a_tools_name_a_variants_and_a_cases_select_what_they_say() {
        assert!(ids(&["sqlite"]).contains(&"sqlite.wal".to_owned()));
        assert!(
            ids(&["sqlite3-cli"])
                .iter()
                .all(|id| id.starts_with("sqlite3-cli."))
        );
        assert_eq!(
            ids(&["sqlite.wal", "sqlite.vacuum", "sqlite.wal"]),
            ["sqlite.wal", "sqlite.vacuum"]
        );
        assert_eq!(ids(&["sqlite", "sqlite.wal"]), ids(&["sqlite"]));
    }

    #[test]
    fn unknown_names_come_back() {
        let wanted = [
            "sqlite".to_owned(),
            "sqlight".to_owned(),
            "sqlite.wall".to_owned(),
        ];
        let unknown = planned(&wanted).unwrap().unwrap_err();
        assert_eq!(unknown.names, ["sqlight", "sqlite.wall"]);
    }

    #[test]
    fn the_schema_knows_every_part_of_a_recipe() {
        let schema = serde_json::to_string(&recipe_schema()).unwrap();
        for part in [
            "prelude",
            "variants",
            "builtin",
            "packages",
            "remedies",
            "script",
            "additionalProperties",
        ] {
            assert!(schema.contains(part), "{part}");
        }
    }
}
