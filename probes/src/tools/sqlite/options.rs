//! The command line of the built-in `sqlite3`: the options that scripts use, refused by name where unknown.

use std::ffi::OsString;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-version`: print it and end.
    pub version: bool,
    /// `-bail`: end at the first error.
    pub bail: bool,
    /// `-readonly`.
    pub readonly: bool,
    /// `-header`: column names before the rows.
    pub header: bool,
    /// `-separator`, between columns.
    pub separator: Option<String>,
    /// `-cmd` and `-init` in their order: what to run before anything else.
    pub before: Vec<String>,
    /// The database's file; in memory when absent.
    pub database: Option<OsString>,
    /// Statements or dot-commands to run instead of reading standard input.
    pub statements: Vec<String>,
}

/// Reads the arguments; an error is a sentence.
pub fn parse(arguments: Vec<OsString>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_str();
        // As in the original, an option may have one hyphen or two, and may stand after the database's name.
        let option =
            text.and_then(|text| text.strip_prefix("--").or_else(|| text.strip_prefix('-')));
        let mut value = || {
            arguments
                .next()
                .and_then(|value| value.into_string().ok())
                .ok_or_else(|| format!("the option -{} needs a value", option.unwrap_or_default()))
        };
        match option {
            Some("version") => options.version = true,
            Some("bail") => options.bail = true,
            Some("readonly") => options.readonly = true,
            Some("header") => options.header = true,
            // What a program without a terminal does anyway.
            Some("batch" | "noheader" | "list") => {}
            Some("csv") => options.separator = Some(",".to_owned()),
            Some("tabs") => options.separator = Some("\t".to_owned()),
            Some("separator") => options.separator = Some(value()?),
            Some("cmd") => options.before.push(value()?),
            Some("init") => {
                let file = value()?;
                options.before.push(format!(".read {file}"));
            }
            Some(unknown) => return Err(format!("the built-in sqlite3 has no option -{unknown}")),
            None if options.database.is_none() => options.database = Some(argument),
            None => match argument.into_string() {
                Ok(statement) => options.statements.push(statement),
                Err(_) => return Err("a statement on the command line is not UTF-8".to_owned()),
            },
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Options, String> {
        parse(arguments.iter().map(OsString::from).collect())
    }

    #[test]
    fn reads_what_scripts_use() {
        let options = parsed(&[
            "-batch",
            "--bail",
            "-cmd",
            ".timeout 5",
            "a.db",
            "SELECT 1;",
        ])
        .unwrap();
        assert!(options.bail);
        assert_eq!(options.before, [".timeout 5"]);
        assert_eq!(options.database, Some("a.db".into()));
        assert_eq!(options.statements, ["SELECT 1;"]);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(
            parsed(&["-ascii-art", "a.db"])
                .unwrap_err()
                .contains("-ascii-art")
        );
        assert!(
            parsed(&["a.db", "-cmd"])
                .unwrap_err()
                .contains("-cmd needs a value")
        );
    }
}
