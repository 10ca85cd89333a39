//! Where a run's events go: standard output, the files that were asked for, and the progress.
//!
//! One that fails is told of once and gets nothing more; the others go on.

use std::{
    io,
    path::{Path, PathBuf},
};

use results::{Event, Format, Look, Reporter};

use super::{
    Failure,
    keep::{ReportFile, cannot, lines_file},
    terminal::Progress,
};

/// The consumers of one run's events.
pub struct Sinks {
    stdout: Option<Box<dyn Reporter>>,
    files: Vec<(PathBuf, Box<dyn Reporter>)>,
    progress: Progress,
    failure: Option<Failure>,
}

impl Sinks {
    /// Opens all of them; standard output as it is to look.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn open(
        format: Format,
        look: Look,
        out: Option<&Path>,
        jsonl: Option<&Path>,
    ) -> Result<Self, Failure> {
        let mut files: Vec<(PathBuf, Box<dyn Reporter>)> = Vec::new();
        if let Some(path) = out {
            files.push((path.to_owned(), Box::new(ReportFile::new(path)?)));
        }
        if let Some(path) = jsonl {
            files.push((path.to_owned(), Box::new(lines_file(path)?)));
        }
        Ok(Sinks {
            stdout: Some(format.reporter(io::stdout(), look)),
            files,
            // The table is written as results come, so it is its own progress.
            progress: Progress::new(format != Format::Table),
            failure: None,
        })
    }

    /// Hands an event to all of them.
    pub fn emit(&mut self, event: &Event) {
        // Standard error may be closed; that is nobody's concern.
        let _ = self.progress.event(event);
        if let Some(stdout) = &mut self.stdout
            && let Err(error) = self.progress.aside(|| stdout.event(event))
        {
            self.stdout = None;
            self.failure.get_or_insert(match error.kind() {
                io::ErrorKind::BrokenPipe => Failure::ReaderGone,
                // The order of events is the runner's matter.
                io::ErrorKind::InvalidInput => Failure::Fault(error.into()),
                _ => cannot(Path::new("standard output"), &error),
            });
        }
        let failure = &mut self.failure;
        self.files
            .retain_mut(|(path, file)| match file.event(event) {
                Ok(()) => true,
                Err(error) => {
                    // More pressing than a reader of standard output that left.
                    *failure = Some(cannot(path, &error));
                    false
                }
            });
    }

    /// Whether going on makes no sense: a file cannot be written, or nobody is left to read.
    pub fn stopped(&self) -> bool {
        match &self.failure {
            None => false,
            Some(Failure::ReaderGone) => self.files.is_empty(),
            Some(_) => true,
        }
    }

    /// The first failure, if there was any.
    pub fn close(self) -> Result<(), Failure> {
        match self.failure {
            Some(Failure::ReaderGone) if !self.files.is_empty() => Ok(()),
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}
