//! What a bench of several volumes writes: a table a workload, or one report a volume.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use results::{BenchResult, Event, Format, ReportBuilder, Reporter as _, comparison};

use super::super::{
    Failure,
    keep::{ReportFile, cannot, try_out, write_whole},
    terminal::look,
};

/// The volumes' reports, as they grow.
pub struct Many {
    format: Format,
    names: Vec<String>,
    reports: Vec<ReportBuilder>,
    files: Vec<(PathBuf, ReportFile)>,
    failure: Option<Failure>,
}

impl Many {
    /// For volumes of these names.
    ///
    /// # Errors
    /// A format that has no place for several, or a file that cannot be made.
    pub fn open(format: Format, out: Option<&Path>, names: Vec<String>) -> Result<Many, Failure> {
        if !matches!(format, Format::Table | Format::Json) {
            return Err(Failure::Usage(
                "several volumes are written as a table or as a JSON list of reports; take --format table or json, \
                 or measure them one by one"
                    .to_owned(),
            ));
        }
        let mut files = Vec::new();
        for name in &names {
            if let Some(path) = out {
                let path = path_of(path, name);
                files.push((path.clone(), ReportFile::new(&path)?));
            }
        }
        Ok(Many {
            format,
            reports: names.iter().map(|_| ReportBuilder::default()).collect(),
            names,
            files,
            failure: None,
        })
    }

    /// Something happened to one of them.
    pub fn emit(&mut self, index: usize, event: &Event) {
        if let Err(error) = self.reports[index].event(event) {
            self.fail(Failure::Fault(anyhow::Error::new(error)));
        }
        if let Some((path, file)) = self.files.get_mut(index)
            && let Err(error) = file.event(event)
        {
            let failure = cannot(path, &error);
            self.fail(failure);
        }
    }

    /// A workload was measured on all of them.
    pub fn measured(&mut self, results: &[BenchResult]) {
        for (index, result) in results.iter().enumerate() {
            self.emit(index, &Event::BenchFinished(Box::new(result.clone())));
        }
        if self.format == Format::Table {
            let names = self.names.iter().map(String::as_str);
            let named: Vec<_> = names.zip(results).collect();
            let text = comparison::table(&named, look().width);
            self.print(&text);
        }
    }

    /// Whether going on makes no sense.
    pub fn stopped(&self) -> bool {
        self.failure.is_some()
    }

    /// What remains to be written, and the first failure, if there was any.
    pub fn close(mut self) -> Result<(), Failure> {
        if self.format == Format::Json {
            let reports: Vec<_> = self
                .reports
                .iter()
                .filter_map(ReportBuilder::report)
                .collect();
            let text =
                serde_json::to_string_pretty(&reports).expect("reports can be written as JSON");
            self.print(&format!("{text}\n"));
        }
        self.failure.map_or(Ok(()), Err)
    }

    fn print(&mut self, text: &str) {
        if let Err(error) = io::stdout().write_all(text.as_bytes()) {
            self.fail(match error.kind() {
                io::ErrorKind::BrokenPipe => Failure::ReaderGone,
                _ => cannot(Path::new("standard output"), &error),
            });
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }
}

/// Where one volume's report goes: its name is put before the extension.
fn path_of(path: &Path, name: &str) -> PathBuf {
    let name: String = name
        .chars()
        .map(|c| if matches!(c, '/' | ' ' | '=') { '-' } else { c })
        .collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let file = match path.extension() {
        Some(extension) => format!("{stem}-{name}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{name}"),
    };
    path.with_file_name(file)
}

/// The picture that `--plot` asks for.
pub struct Plot {
    path: PathBuf,
    replaced: bool,
    names: Vec<String>,
    workloads: Vec<Vec<BenchResult>>,
}

impl Plot {
    /// Of volumes of these names.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn new(path: &Path, names: Vec<String>) -> Result<Plot, Failure> {
        Ok(Plot {
            path: path.to_owned(),
            replaced: try_out(path)?,
            names,
            workloads: Vec::new(),
        })
    }

    /// A workload was measured: the picture grows by it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn measured(&mut self, results: &[BenchResult]) -> Result<(), Failure> {
        self.workloads.push(results.to_vec());
        let named: Vec<Vec<_>> = self
            .workloads
            .iter()
            .map(|results| {
                let names = self.names.iter().map(String::as_str);
                names.zip(results).collect()
            })
            .collect();
        write_whole(&self.path, &comparison::picture(&named), self.replaced)
            .map_err(|error| cannot(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_volume_has_a_file_of_its_own() {
        let path = |name| path_of(Path::new("/d/bench.json"), name);
        assert_eq!(path("msize=8192"), Path::new("/d/bench-msize-8192.json"));
        assert_eq!(
            path("fuse/server9p/golem cache=mmap"),
            Path::new("/d/bench-fuse-server9p-golem-cache-mmap.json")
        );
        assert_eq!(path_of(Path::new("out"), "a"), Path::new("out-a"));
    }
}
