//! `probe9p report`: pages for people, made of the results of runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use results::{Report, pages};

use super::{Exit, Failure, Outcome, output};

/// Options of `probe9p report`.
#[derive(Debug, Args)]
pub struct ReportPages {
    /// What runs wrote with --out or --jsonl
    #[arg(required = true, value_name = "RESULT.json")]
    results: Vec<PathBuf>,
    /// The directory that gets index.html and report.md; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl ReportPages {
    /// Reads all results, then writes the pages: nothing is written where one result cannot be read.
    pub fn run(self) -> Outcome {
        let mut reports = Vec::with_capacity(self.results.len());
        for path in &self.results {
            reports.push(Report::read(path).map_err(|error| Failure::Usage(error.to_string()))?);
        }
        let written = [
            ("index.html", pages::html(&reports)),
            ("report.md", pages::markdown(&reports)),
        ];
        fs::create_dir_all(&self.out).map_err(|error| cannot(&self.out, &error))?;
        let mut said = String::new();
        for (name, text) in written {
            let path = self.out.join(name);
            replace(&path, &text).map_err(|error| cannot(&path, &error))?;
            said += &format!("{}\n", path.display());
        }
        output::print(&said)?;
        Ok(Exit::Completed)
    }
}

/// Writes a file by way of another that then takes its place, so that it is never half written.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.to_owned().into_os_string();
    draft.push(format!(".{}.part", std::process::id()));
    let done = fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
    if done.is_err() {
        // What was wrong with the page itself is what counts.
        let _ = fs::remove_file(&draft);
    }
    done
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::NoStack(format!(
        "{} cannot be written: {error}; give a directory with --out that this user may write and that has space",
        path.display()
    ))
}
