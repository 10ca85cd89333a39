//! Reading a recipe strictly: a broken one is refused with its file, its line and what is wrong with it.
//!
//! What the types of [`super::recipe`] cannot say is checked here: names that become ids, ids that occur twice,
//! remedies that nobody defined, limits out of range, cases whose success would prove nothing.

use std::{collections::HashSet, ops::Range, path::Path};

use toml::Spanned;

use super::recipe::Recipe;
use crate::ops;

/// A recipe that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("The recipe {file} cannot be read: {reason}.")]
    Unreadable {
        /// The file, as it was named.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// It is longer than an argument may be.
    #[error("The recipe {file} is longer than {LONGEST} bytes; divide it into several.")]
    TooLong {
        /// The file, as it was named.
        file: String,
    },
    /// Something in it is wrong.
    #[error("The recipe {file} is broken at line {line}, column {column}: {problem}.")]
    Broken {
        /// The file, as it was named.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong and what would be right, without a full stop.
        problem: String,
    },
}

/// How long a recipe of the user's may be, in bytes: it travels as an argument.
const LONGEST: usize = 100_000;

/// Reads the text of a recipe of the user's.
pub fn read(path: &Path) -> Result<String, RecipeError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| RecipeError::Unreadable {
        file: file.clone(),
        reason: error.to_string(),
    })?;
    if text.len() > LONGEST {
        return Err(RecipeError::TooLong { file });
    }
    Ok(text)
}

/// Reads a recipe from a file of the user's.
pub fn from_file(path: &Path) -> Result<Recipe, RecipeError> {
    from_text(&path.display().to_string(), &read(path)?)
}

/// Reads a recipe from its text; `file` is how errors name it.
pub fn from_text(file: &str, text: &str) -> Result<Recipe, RecipeError> {
    let broken = |span: Option<Range<usize>>, problem: String| {
        let (line, column) = position(text, span.map_or(0, |span| span.start));
        RecipeError::Broken {
            file: file.to_owned(),
            line,
            column,
            problem,
        }
    };
    let recipe: Recipe = toml::from_str(text).map_err(|error| {
        let problem = error.message().replace('\n', "; ");
        broken(error.span(), problem.trim_end_matches('.').to_owned())
    })?;
    check(&recipe).map_err(|fault| broken(Some(fault.span), fault.problem))?;
    Ok(recipe)
}

/// What is wrong, and where in the text.
struct Fault {
    span: Range<usize>,
    problem: String,
}

fn check(recipe: &Recipe) -> Result<(), Fault> {
    named(&recipe.name, "-")?;
    some(&recipe.variants, "a way to get the program ([[variants]])")?;
    some(&recipe.cases, "a case ([[cases]])")?;
    unique(
        "variant",
        recipe
            .variants
            .get_ref()
            .iter()
            .map(|variant| &variant.name),
        "-",
    )?;
    unique(
        "case",
        recipe.cases.get_ref().iter().map(|case| &case.id),
        "_",
    )?;
    unique(
        "remedy",
        recipe.remedies.iter().map(|remedy| &remedy.id),
        "-",
    )?;
    for variant in recipe.variants.get_ref() {
        if variant.builtin.is_none() && variant.programs.is_empty() {
            return Err(Fault {
                span: variant.name.span(),
                problem: format!(
                    "the variant `{}` names neither `programs` nor a `builtin`, so nothing says when it is there",
                    variant.name.get_ref()
                ),
            });
        }
    }
    for remedy in &recipe.remedies {
        if remedy.cache.is_some() && remedy.server.is_some() {
            return Err(Fault {
                span: remedy.id.span(),
                problem: format!(
                    "the remedy `{}` has both `cache` and `server`, but no server takes part in a ram or storage volume",
                    remedy.id.get_ref()
                ),
            });
        }
        if remedy.env.is_empty() && remedy.other().is_none() {
            return Err(Fault {
                span: remedy.id.span(),
                problem: format!(
                    "the remedy `{}` changes neither `env` nor `cache` nor `server`",
                    remedy.id.get_ref()
                ),
            });
        }
    }
    unique(
        "service",
        recipe.services.iter().map(|service| &service.id),
        "-",
    )?;
    for service in &recipe.services {
        let id = service.id.get_ref();
        filled(&service.command, &format!("the command of service `{id}`"))?;
        filled(
            &service.ready,
            &format!("the condition `ready` of service `{id}`"),
        )?;
        within(&service.within, 600, &format!("`within` of service `{id}`"))?;
    }
    let remedies: Vec<&str> = recipe
        .remedies
        .iter()
        .map(|known| known.id.get_ref().as_str())
        .collect();
    let services: Vec<&str> = recipe
        .services
        .iter()
        .map(|known| known.id.get_ref().as_str())
        .collect();
    for case in recipe.cases.get_ref() {
        let id = case.id.get_ref();
        filled(&case.script, &format!("the script of case `{id}`"))?;
        within(&case.limit, 3600, &format!("the limit of case `{id}`"))?;
        known(
            &case.remedies,
            &remedies,
            &format!("case `{id}` names the remedy"),
        )?;
        known(
            &case.services,
            &services,
            &format!("case `{id}` names the service"),
        )?;
        for operation in &case.operations {
            if ops::find(operation.get_ref()).is_none() {
                let problem = format!(
                    "case `{id}` names the operation `{}`, which is none of those that `probe9p list ops` shows",
                    operation.get_ref()
                );
                return Err(Fault {
                    span: operation.span(),
                    problem,
                });
            }
        }
    }
    Ok(())
}

/// What is to be run must not be empty: its success would prove nothing.
fn filled(text: &Spanned<String>, what: &str) -> Result<(), Fault> {
    if text.get_ref().trim().is_empty() {
        return Err(Fault {
            span: text.span(),
            problem: format!("{what} is empty"),
        });
    }
    Ok(())
}

/// A time in seconds, which has its bounds.
fn within(seconds: &Spanned<u64>, most: u64, what: &str) -> Result<(), Fault> {
    if (1..=most).contains(seconds.get_ref()) {
        return Ok(());
    }
    Err(Fault {
        span: seconds.span(),
        problem: format!("{what} must be 1 to {most} seconds"),
    })
}

/// What a case names must be there.
fn known(names: &[Spanned<String>], defined: &[&str], what: &str) -> Result<(), Fault> {
    match names
        .iter()
        .find(|name| !defined.contains(&name.get_ref().as_str()))
    {
        None => Ok(()),
        Some(name) => {
            let defined = if defined.is_empty() {
                "none".to_owned()
            } else {
                defined.join(", ")
            };
            Err(Fault {
                span: name.span(),
                problem: format!("{what} `{}`, the recipe defines {defined}", name.get_ref()),
            })
        }
    }
}

fn some<T>(list: &Spanned<Vec<T>>, what: &str) -> Result<(), Fault> {
    if list.get_ref().is_empty() {
        return Err(Fault {
            span: list.span(),
            problem: format!("the recipe needs {what}"),
        });
    }
    Ok(())
}

fn unique<'a>(
    what: &str,
    names: impl Iterator<Item = &'a Spanned<String>>,
    separator: &str,
) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    for name in names {
        named(name, separator)?;
        if !seen.insert(name.get_ref()) {
            let problem = format!("the {what} `{}` is there twice", name.get_ref());
            return Err(Fault {
                span: name.span(),
                problem,
            });
        }
    }
    Ok(())
}

/// Names become parts of ids, which others build on, so they are kept plain.
fn named(name: &Spanned<String>, separator: &str) -> Result<(), Fault> {
    let text = name.get_ref();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || separator.contains(c);
    if text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(plain) {
        return Ok(());
    }
    Err(Fault {
        span: name.span(),
        problem: format!(
            "`{text}` cannot be a name: it must begin with a lower-case letter and have only those, digits and `{separator}`"
        ),
    })
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"name = "zip"
summary = "zip"

[[variants]]
name = "zip"
programs = ["zip"]

[[cases]]
id = "update"
title = "updates"
script = "zip x.zip a"
remedies = ["elsewhere"]
operations = ["rename.over"]
services = ["queue"]
expect.files.a = { mode = "0640", pattern = "^x" }

[[services]]
id = "queue"
command = "exec true"
ready = "true"

[[remedies]]
id = "elsewhere"
title = "elsewhere"
env.ZIPOPT = "-b /tmp"
"#;

    /// The error of the good recipe with one thing in it changed.
    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        from_text("my.toml", &GOOD.replacen(from, to, 1))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn accepts_what_is_right() {
        let recipe = from_text("my.toml", GOOD).unwrap();
        assert_eq!(recipe.cases.get_ref()[0].limit().as_secs(), 60);
    }

    #[test]
    fn a_broken_recipe_is_refused_with_its_line() {
        for (from, to, line, says) in [
            ("id = \"update\"", "id = \"update", 9, "string"),
            (
                "title = \"updates\"",
                "titel = \"updates\"",
                10,
                "unknown field `titel`",
            ),
            ("title = \"updates\"\n", "", 8, "missing field `title`"),
            (
                "id = \"update\"",
                "id = \"Up date\"",
                9,
                "`Up date` cannot be a name",
            ),
            (
                "\"zip x.zip a\"",
                "\"  \"",
                11,
                "script of case `update` is empty",
            ),
            (
                "[\"elsewhere\"]",
                "[\"elsewere\"]",
                12,
                "names the remedy `elsewere`, the recipe defines elsewhere",
            ),
            ("script =", "limit = 0\nscript =", 11, "1 to 3600 seconds"),
            (
                "programs = [\"zip\"]\n",
                "",
                5,
                "neither `programs` nor a `builtin`",
            ),
            (
                "[\"rename.over\"]",
                "[\"rename.ovr\"]",
                13,
                "names the operation `rename.ovr`, which is none",
            ),
            (
                "[\"queue\"]",
                "[\"cue\"]",
                14,
                "names the service `cue`, the recipe defines queue",
            ),
            (
                "\"0640\"",
                "\"rw\"",
                15,
                "the mode `rw` is not one in octal",
            ),
            (
                "\"^x\"",
                "\"(x\"",
                15,
                "the pattern `(x` is no regular expression",
            ),
            (
                "\"exec true\"",
                "\"\"",
                19,
                "the command of service `queue` is empty",
            ),
            (
                "ready = \"true\"",
                "ready = \"true\"\nwithin = 0",
                21,
                "`within` of service `queue` must be 1 to 600 seconds",
            ),
            (
                "env.ZIPOPT = \"-b /tmp\"\n",
                "",
                23,
                "changes neither `env` nor `cache`",
            ),
            (
                "env.ZIPOPT = \"-b /tmp\"",
                "cache = \"lose\"",
                25,
                "unknown variant `lose`",
            ),
        ] {
            let text = refused(from, to);
            assert!(
                text.starts_with(&format!(
                    "The recipe my.toml is broken at line {line}, column "
                )),
                "{text}"
            );
            assert!(text.contains(says) && text.ends_with('.'), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        let twice = GOOD.replace(
            "[[remedies]]",
            "[[cases]]\nid = \"update\"\ntitle = \"again\"\nscript = \"true\"\n\n[[remedies]]",
        );
        let text = from_text("my.toml", &twice).unwrap_err().to_string();
        assert!(
            text.contains("line 23") && text.contains("the case `update` is there twice"),
            "{text}"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let text = from_file(Path::new("/nonexistent/my.toml"))
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with("The recipe /nonexistent/my.toml cannot be read: "),
            "{text}"
        );
    }
}
