//! The dot-commands that scripts use. One that is not here is refused by name, never passed over.

use std::{
    fs::File,
    io::{BufReader, Write},
    path::Path,
    process::Command,
    time::Duration,
};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::shell::{Next, Shell, last_error};

/// Runs one dot-command, given with its dot.
pub fn run(shell: &mut Shell, line: &str) -> Result<Next, String> {
    let line = line.trim().trim_start_matches('.');
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let words = words(rest);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (command, words.as_slice()) {
        ("timeout", [milliseconds]) => {
            let wait = milliseconds
                .parse()
                .map_err(|_| format!("`{milliseconds}` is no number of milliseconds"))?;
            let set = connection(shell)?.busy_timeout(Duration::from_millis(wait));
            set.map_err(|error| error.to_string())?;
        }
        ("backup" | "save", [file]) => backup(connection(shell)?, "main", file)?,
        ("backup" | "save", [database, file]) => backup(connection(shell)?, database, file)?,
        ("restore", [file]) => restore(shell, file)?,
        ("open", [file]) => shell.open(Path::new(file))?,
        ("read", [file]) => {
            let file =
                File::open(file).map_err(|error| format!("{file} cannot be read: {error}"))?;
            return Ok(shell.read(&mut BufReader::new(file)));
        }
        // The whole rest of the line is the shell's, quotes and all.
        ("shell" | "system", [_, ..]) => {
            let _ = std::io::stdout().flush();
            let status = Command::new("sh").arg("-c").arg(rest).status();
            let status = status.map_err(|error| format!("sh cannot be run: {error}"))?;
            if !status.success() {
                return Err(format!("the command `{rest}` ended with {status}"));
            }
        }
        ("output", [] | ["stdout"]) => shell.output = None,
        ("output", [file]) => {
            let file =
                File::create(file).map_err(|error| format!("{file} cannot be written: {error}"))?;
            shell.output = Some(file);
        }
        ("print", words) => println!("{}", words.join(" ")),
        ("bail", [value]) => shell.bail = on(value)?,
        ("header" | "headers", [value]) => shell.header = on(value)?,
        ("separator", [value]) => shell.separator = (*value).to_owned(),
        ("mode", ["list"]) => shell.separator = "|".to_owned(),
        ("mode", ["tabs"]) => shell.separator = "\t".to_owned(),
        ("quit", []) => return Ok(Next::Exit(0)),
        ("exit", []) => return Ok(Next::Exit(0)),
        ("exit", [code]) => {
            return code
                .parse()
                .map(Next::Exit)
                .map_err(|_| format!("`{code}` is no exit code (0 to 255)"));
        }
        _ => return Err(format!("the built-in sqlite3 has no command `.{line}`")),
    }
    Ok(Next::Continue)
}

fn connection(shell: &Shell) -> Result<&Connection, String> {
    shell
        .connection
        .as_ref()
        .ok_or_else(|| "no database is open".to_owned())
}

fn on(value: &str) -> Result<bool, String> {
    match value {
        "on" | "yes" | "1" => Ok(true),
        "off" | "no" | "0" => Ok(false),
        _ => Err(format!("`{value}` is neither on nor off")),
    }
}

fn backup(from: &Connection, database: &str, file: &str) -> Result<(), String> {
    let mut to =
        Connection::open(file).map_err(|error| format!("cannot open \"{file}\": {error}"))?;
    copy(from, database, &mut to, "main")
}

fn restore(shell: &mut Shell, file: &str) -> Result<(), String> {
    let from =
        Connection::open(file).map_err(|error| format!("cannot open \"{file}\": {error}"))?;
    let to = shell.connection.as_mut().ok_or("no database is open")?;
    copy(&from, "main", to, "main")
}

fn copy(from: &Connection, source: &str, to: &mut Connection, target: &str) -> Result<(), String> {
    let outcome = (|| {
        let backup = Backup::new_with_names(from, source, to, target)?;
        // The same steps as the original's: locks are let go between them.
        loop {
            match backup.step(100)? {
                StepResult::More => {}
                other => return Ok(other),
            }
        }
    })();
    match outcome {
        Ok(StepResult::Done) => Ok(()),
        Ok(_) => Err("the source database is busy".to_owned()),
        Err::<_, rusqlite::Error>(_) => Err(last_error(to)),
    }
}

/// Splits as the original does: at blanks, with 'single' and "double" quotes around words that hold some.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '\'' | '"' => rest[1..].split_once(first).unwrap_or((&rest[1..], "")),
            _ => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_is_quoted() {
        assert_eq!(words("main 'a b.db'"), ["main", "a b.db"]);
        assert_eq!(words(r#"  "x" y "#), ["x", "y"]);
        assert!(words("").is_empty());
    }
}
