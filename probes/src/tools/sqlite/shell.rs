//! Running statements and dot-commands, from the command line or from standard input, as `sqlite3` does.
//!
//! What must agree with the original, because scripts rely on it: a statement ends where `sqlite3_complete` says
//! so; rows are printed in list mode; after an error reading goes on unless `-bail` was given; the exit code is 1
//! if anything failed. Errors carry the call that failed besides SQLite's words.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    fs::File,
    io::{self, BufRead, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, ffi};

use super::{codes, dot, hooks, options::Options};

/// The shell's state: the database and how rows are printed.
pub struct Shell {
    pub(super) connection: Option<Connection>,
    pub(super) readonly: bool,
    pub(super) bail: bool,
    pub(super) header: bool,
    pub(super) separator: String,
    /// Where rows go instead of standard output (`.output`).
    pub(super) output: Option<File>,
    failed: bool,
}

/// Whether to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    Continue,
    /// `.exit`: end with this code.
    Exit(u8),
}

impl Shell {
    /// A shell on the database that the options name.
    pub fn new(options: &Options) -> Self {
        let mut shell = Shell {
            connection: None,
            readonly: options.readonly,
            bail: options.bail,
            header: options.header,
            separator: options.separator.clone().unwrap_or_else(|| "|".to_owned()),
            output: None,
            failed: false,
        };
        let database = options
            .database
            .clone()
            .unwrap_or_else(|| ":memory:".into());
        if let Err(problem) = shell.open(Path::new(&database)) {
            shell.complain(&problem);
        }
        shell
    }

    /// Opens a database in place of the one that is open.
    pub(super) fn open(&mut self, path: &Path) -> Result<(), String> {
        self.connection = None;
        let access = if self.readonly {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        } else {
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
        };
        let opened = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_URI);
        let connection = opened.map_err(|error| {
            format!(
                "unable to open database \"{}\": {}",
                path.display(),
                describe(&error)
            )
        })?;
        // rusqlite waits 5 s for locks unless told otherwise, the original not at all.
        connection
            .busy_timeout(Duration::ZERO)
            .map_err(|error| error.to_string())?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Runs what the options say, or standard input.
    pub fn run(&mut self, options: &Options) -> ExitCode {
        if self.failed {
            return ExitCode::from(1);
        }
        for text in options.before.iter().chain(&options.statements) {
            let next = if text.starts_with('.') {
                dot::run(self, text)
            } else {
                self.statements(text)
            };
            match next {
                Ok(Next::Continue) => {}
                Ok(Next::Exit(code)) => return ExitCode::from(code),
                Err(problem) => {
                    // Text on the command line ends the program at its first error, with or without -bail.
                    self.complain(&format!("Error: {problem}"));
                    return ExitCode::from(1);
                }
            }
        }
        if options.statements.is_empty() {
            match self.read(&mut io::stdin().lock()) {
                Next::Continue => {}
                Next::Exit(code) => return ExitCode::from(code),
            }
        }
        ExitCode::from(u8::from(self.failed))
    }

    /// Reads statements and dot-commands, line by line.
    pub(super) fn read(&mut self, from: &mut dyn BufRead) -> Next {
        let (mut pending, mut line, mut number, mut began) = (String::new(), Vec::new(), 0, 0);
        loop {
            line.clear();
            match from.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    self.complain(&format!("Error: standard input cannot be read: {error}"));
                    break;
                }
            }
            number += 1;
            let text = String::from_utf8_lossy(&line);
            let outcome = if pending.trim().is_empty() {
                began = number;
                pending.clear();
                if text.starts_with('.') {
                    dot::run(self, text.trim_end())
                } else {
                    pending.push_str(&text);
                    self.if_complete(&mut pending)
                }
            } else {
                pending.push_str(&text);
                self.if_complete(&mut pending)
            };
            match outcome {
                Ok(Next::Continue) => {}
                Ok(exit) => return exit,
                Err(problem) => {
                    self.complain(&format!("Runtime error near line {began}: {problem}"));
                    if self.bail {
                        return Next::Exit(1);
                    }
                }
            }
        }
        if !pending.trim().is_empty()
            && let Err(problem) = self.statements(&pending)
        {
            self.complain(&format!("Runtime error near line {began}: {problem}"));
        }
        Next::Continue
    }

    fn if_complete(&mut self, pending: &mut String) -> Result<Next, String> {
        let Ok(text) = CString::new(pending.as_str()) else {
            pending.clear();
            return Err("a statement holds a NUL byte".to_owned());
        };
        // SAFETY: a C string that lives for the call.
        if unsafe { ffi::sqlite3_complete(text.as_ptr()) } == 0 {
            return Ok(Next::Continue);
        }
        let statements = std::mem::take(pending);
        self.statements(&statements)
    }

    /// Runs statements and prints their rows.
    fn statements(&mut self, sql: &str) -> Result<Next, String> {
        let connection = self.connection.as_ref().ok_or("no database is open")?;
        let sql = CString::new(sql).map_err(|_| "a statement holds a NUL byte".to_owned())?;
        let mut stdout = io::stdout().lock();
        let out: &mut dyn Write = match &mut self.output {
            Some(file) => file,
            None => &mut stdout,
        };
        let mut rows = Rows {
            out,
            separator: &self.separator,
            header: self.header,
        };
        // SAFETY: the handle belongs to `connection`, which outlives the call; `row` gets `rows` back, which
        // lives as long; the error's text is not asked for.
        let code = unsafe {
            let rows = (&raw mut rows).cast::<c_void>();
            ffi::sqlite3_exec(
                connection.handle(),
                sql.as_ptr(),
                Some(row),
                rows,
                std::ptr::null_mut(),
            )
        };
        // Whoever waits for a row waits for it now.
        let _ = rows.out.flush();
        if code == ffi::SQLITE_OK {
            Ok(Next::Continue)
        } else {
            Err(last_error(connection))
        }
    }

    pub(super) fn complain(&mut self, problem: &str) {
        self.failed = true;
        let _ = io::stdout().flush();
        eprintln!("{problem}");
    }
}

struct Rows<'a> {
    out: &'a mut dyn Write,
    separator: &'a str,
    header: bool,
}

/// Prints one row. Called by `sqlite3_exec`, with `count` texts and names.
unsafe extern "C" fn row(
    rows: *mut c_void,
    count: c_int,
    values: *mut *mut c_char,
    names: *mut *mut c_char,
) -> c_int {
    // SAFETY: the pointer that `statements` gave, and the arrays that SQLite promises.
    let (rows, values, names) = unsafe {
        let count = count as usize;
        let names = std::slice::from_raw_parts(names, count);
        (
            &mut *rows.cast::<Rows<'_>>(),
            std::slice::from_raw_parts(values, count),
            names,
        )
    };
    let line = |cells: &[*mut c_char]| {
        let mut line = Vec::new();
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                line.extend_from_slice(rows.separator.as_bytes());
            }
            if !cell.is_null() {
                // SAFETY: SQLite's columns are C strings.
                line.extend_from_slice(unsafe { CStr::from_ptr(*cell) }.to_bytes());
            }
        }
        line.push(b'\n');
        line
    };
    let mut text = if rows.header { line(names) } else { Vec::new() };
    text.extend(line(values));
    rows.header = false;
    // A closed standard output ends the statement, as an interrupt would.
    c_int::from(rows.out.write_all(&text).is_err())
}

/// The connection's last error in SQLite's words, with its extended code and the call that failed.
pub(super) fn last_error(connection: &Connection) -> String {
    // SAFETY: the handle belongs to `connection`; the message is copied before anything else is called.
    let (message, code, errno) = unsafe {
        let handle = connection.handle();
        let message = CStr::from_ptr(ffi::sqlite3_errmsg(handle))
            .to_string_lossy()
            .into_owned();
        (
            message,
            ffi::sqlite3_extended_errcode(handle),
            ffi::sqlite3_system_errno(handle),
        )
    };
    with_call(&message, code, errno)
}

fn describe(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
            with_call(
                message.as_deref().unwrap_or("error"),
                failure.extended_code,
                errno,
            )
        }
        other => other.to_string(),
    }
}

fn with_call(message: &str, code: c_int, errno: c_int) -> String {
    let call = hooks::gave_up(code, errno).map_or_else(String::new, |call| format!(": {call}"));
    format!("{message} ({}) [{}{call}]", code & 0xff, codes::name(code))
}
