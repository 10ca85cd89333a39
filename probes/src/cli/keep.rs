//! Keeping results in files, so that neither a crash nor a full disk leaves half of one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use results::{Event, ReportBuilder, Reporter, reporter::JsonLines};

use super::Failure;

/// Writes the whole report to a file anew after every result, each time by way of a second file that then
/// takes the first one's place: whoever reads it, and whenever this process dies, it is one whole report.
pub struct ReportFile {
    path: PathBuf,
    builder: ReportBuilder,
    /// False for a pipe or a device, which cannot be replaced: it gets the report once, at the end.
    replaced: bool,
}

impl ReportFile {
    /// Keeps the report in `path`.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        Ok(ReportFile {
            path: path.to_owned(),
            builder: ReportBuilder::default(),
            replaced: try_out(path)?,
        })
    }
}

/// Tries before a run whether a file can be written, without touching what is there already. Says whether it is
/// replaced at each writing: a pipe or a device cannot be.
///
/// # Errors
/// When no file can be made there.
pub fn try_out(path: &Path) -> Result<bool, Failure> {
    let there = fs::metadata(path).ok();
    if there.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(refused(path, "it is a directory; name a file"));
    }
    let replaced = there.is_none_or(|there| there.is_file());
    if replaced {
        File::create(draft(path)).map_err(|error| cannot(path, &error))?;
        let _ = fs::remove_file(draft(path));
    }
    Ok(replaced)
}

fn draft(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{}.part", std::process::id()));
    name.into()
}

/// Writes a file whole, by way of another that takes its place if it is `replaced`.
pub fn write_whole(path: &Path, text: &str, replaced: bool) -> io::Result<()> {
    if !replaced {
        return OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(text.as_bytes());
    }
    let draft = draft(path);
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

impl Reporter for ReportFile {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.builder.event(event).map_err(io::Error::other)?;
        let last = matches!(
            event,
            Event::RunFinished { .. } | Event::RunInterrupted { .. }
        );
        match (event, self.builder.report()) {
            (Event::CaseStarted { .. }, _) | (_, None) => Ok(()),
            (_, Some(report)) if self.replaced || last => {
                write_whole(&self.path, &report.to_json(), self.replaced)
            }
            _ => Ok(()),
        }
    }
}

/// A file that gets each event as a line of JSON.
///
/// # Errors
/// When it cannot be made.
pub fn lines_file(path: &Path) -> Result<JsonLines<File>, Failure> {
    File::create(path)
        .map(JsonLines::new)
        .map_err(|error| cannot(path, &error))
}

/// A file that cannot be written, as the sentence that ends the run.
pub fn cannot(path: &Path, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("{error}; free space there or name a file elsewhere")
        }
        io::ErrorKind::NotFound => format!("{error}; make its directory first"),
        _ => format!("{error}; name a file in a directory that this user may write"),
    };
    refused(path, &why)
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::NoStack(format!("{} cannot be written: {why}", path.display()))
}
