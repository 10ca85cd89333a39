//! `probe9p report`: what the results of runs become: a site, or one of the other forms.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use clap::Args;
use probes::{explain::catalogue, tools};
use results::{Background, CauseWords, Form, Report, site::site};

use super::{Exit, Failure, Outcome, output, terminal::look};

/// Options of `probe9p report`.
#[derive(Debug, Args)]
pub struct ReportPages {
    /// What runs wrote with --out or --jsonl
    #[arg(required = true, value_name = "RESULT.json")]
    results: Vec<PathBuf>,
    /// The directory that gets the site; made if it is not there
    #[arg(long, value_name = "SITE", required_unless_present = "format")]
    out: Option<PathBuf>,
    /// What standard output gets: table (the matrix), markdown, matrix (as data), csv, junit or tap
    #[arg(long, short, value_name = "FORM", value_parser = Form::from_str)]
    format: Option<Form>,
}

impl ReportPages {
    /// Reads all results, then writes: nothing is written where one result cannot be read.
    pub fn run(self) -> Outcome {
        let reports = read_all(&self.results)?;
        if let Some(out) = &self.out {
            write_site(&reports, out)?;
        }
        match (&self.out, self.format) {
            (_, Some(form)) => output::print(&form.write(&reports, look().width))?,
            (Some(out), None) => output::print(&format!("{}\n", out.join("index.html").display()))?,
            (None, None) => unreachable!("clap asks for one of them"),
        }
        Ok(Exit::Completed)
    }
}

/// Reads reports; one that cannot be read refuses them all.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Report>, Failure> {
    (paths.iter())
        .map(|path| Report::read(path).map_err(|error| Failure::Usage(error.to_string())))
        .collect()
}

/// Writes the site of these reports below `out`. Pages of an earlier site whose cases are gone are left.
pub fn write_site(reports: &[Report], out: &Path) -> Result<(), Failure> {
    let site = site(reports, &background()?);
    for (name, text) in site.pages.iter().chain(&site.downloads) {
        let path = out.join(name);
        let dir = path.parent().unwrap_or(out);
        fs::create_dir_all(dir).map_err(|error| cannot(dir, &error))?;
        replace(&path, text).map_err(|error| cannot(&path, &error))?;
    }
    Ok(())
}

/// What the catalogues of this probe9p say of causes and tools.
fn background() -> Result<Background, Failure> {
    let causes = catalogue::catalogue().iter().map(|entry| {
        let fault = serde_json::to_value(entry.fault);
        let words = CauseWords {
            summary: entry.summary.clone(),
            fault: fault
                .ok()
                .and_then(|fault| Some(fault.as_str()?.to_owned()))
                .unwrap_or_default(),
            remedies: entry.remedies.clone(),
            references: entry.references.clone(),
        };
        (entry.id.clone(), words)
    });
    let recipes = tools::recipes().map_err(|error| Failure::Usage(error.to_string()))?;
    let summaries = recipes.iter().flat_map(|recipe| {
        let variants = recipe
            .variants
            .get_ref()
            .iter()
            .map(|variant| variant.name.get_ref());
        let names = std::iter::once(recipe.name.get_ref()).chain(variants);
        names.map(|name| (name.clone(), recipe.summary.clone()))
    });
    Ok(Background {
        causes: causes.collect(),
        summaries: summaries.collect(),
    })
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
