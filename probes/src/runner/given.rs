//! The directories of a run on a volume that somebody else mounted.
//!
//! The run's cases get a subdirectory there, which is noted in the run's own directory under the temporary
//! one: a run that is killed removes nothing, and the next one finds by the note what it left on the volume.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};
use server9p::stack::{StackError, workdir::Workdir};

/// The file of a run's directory that names its directory on the volume.
const NOTE: &str = "elsewhere";
/// The file of a run's directory that is locked while the run lives (see [`Workdir`]).
const OWNER: &str = "owner";
/// How long the removal of a directory on the volume may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The directories of a run on a given volume; they are removed when this is dropped.
#[derive(Debug)]
pub struct Given {
    native: PathBuf,
    volume: PathBuf,
    kept: bool,
    /// Last, so that the note in it is there until what it names is removed.
    workdir: Workdir,
}

impl Given {
    /// Makes a subdirectory of `dir` and, in the temporary directory, the native one; removes what dead runs
    /// left in either.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when one of them cannot be written.
    pub fn new(dir: &Path) -> Result<Self, StackError> {
        remove_noted(&std::env::temp_dir());
        let workdir = Workdir::new().map_err(|error| StackError::Unavailable(error.to_string()))?;
        let native = workdir
            .directory("native", None)
            .map_err(|error| refused(workdir.path(), "written", &error, "set TMPDIR to another"))?;
        let dir = fs::canonicalize(dir).map_err(|error| {
            let remedy = "give --path the mount point of the volume or a directory in it";
            refused(dir, "opened", &error, remedy)
        })?;
        let name = workdir
            .path()
            .file_name()
            .unwrap_or(OsStr::new("probe9p-run"));
        let volume = dir.join(name);
        // Noted first: a run that dies between the two must not leave a directory that nobody knows of.
        fs::write(workdir.path().join(NOTE), volume.as_os_str().as_bytes())
            .map_err(|error| refused(workdir.path(), "written", &error, "set TMPDIR to another"))?;
        DirBuilder::new()
            .mode(0o755)
            .create(&volume)
            .map_err(|error| {
                let remedy = match error.kind() {
                    io::ErrorKind::NotADirectory => "give --path a directory, not a file",
                    _ => "give --path a directory that this user may write, on a volume with space",
                };
                refused(&dir, "written", &error, remedy)
            })?;
        Ok(Given {
            native,
            volume,
            kept: false,
            workdir,
        })
    }

    /// Leaves everything where it is at the end.
    pub fn keep(&mut self) {
        self.kept = true;
        self.workdir.keep();
    }

    /// The run's directory under the temporary one.
    pub fn workdir(&self) -> &Path {
        self.workdir.path()
    }

    /// Where cases run natively.
    pub fn native(&self) -> &Path {
        &self.native
    }

    /// Where cases run on the volume.
    pub fn volume(&self) -> &Path {
        &self.volume
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if !self.kept {
            remove_on_volume(&self.volume);
        }
    }
}

fn refused(path: &Path, tried: &str, error: &io::Error, remedy: &str) -> StackError {
    StackError::Unavailable(format!(
        "{} cannot be {tried} ({error}); {remedy}",
        path.display()
    ))
}

/// Removes what dead runs noted that they left on volumes.
fn remove_noted(under: &Path) {
    let Ok(runs) = fs::read_dir(under) else {
        return;
    };
    for run in runs.filter_map(Result::ok).map(|run| run.path()) {
        let Some(name) = run.file_name() else {
            continue;
        };
        if !name.as_bytes().starts_with(b"probe9p-") || !is_ours(&run) {
            continue;
        }
        let (Ok(owner), Ok(note)) = (File::open(run.join(OWNER)), fs::read(run.join(NOTE))) else {
            continue;
        };
        let noted = Path::new(OsStr::from_bytes(&note));
        let dead = flock(&owner, FlockOperation::NonBlockingLockExclusive).is_ok();
        // A note can name nothing but what the run that wrote it made.
        if dead && noted.is_absolute() && noted.file_name() == Some(name) {
            remove_on_volume(noted);
        }
    }
}

fn is_ours(run: &Path) -> bool {
    let me = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(run).is_ok_and(|meta| meta.is_dir() && meta.uid() == me)
}

/// Removes a directory on a volume, by a process that can be left behind when the volume hangs.
fn remove_on_volume(dir: &Path) {
    let removed = Command::new("rm")
        .args(["-rf", "--"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .and_then(|mut child| {
            let end = Instant::now() + PATIENCE;
            loop {
                match child.try_wait()? {
                    Some(status) => return Ok(status.success()),
                    None if Instant::now() > end => {
                        child.kill()?;
                        return Ok(false);
                    }
                    None => std::thread::sleep(Duration::from_millis(10)),
                }
            }
        });
    if !removed.unwrap_or(false) {
        let dir = dir.display();
        eprintln!("probe9p: {dir} could not be removed; remove it when the volume answers again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_run_noted_is_removed_and_nothing_else() {
        let (tmp, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = |name: &str, noted: &Path| {
            let run = tmp.path().join(name);
            fs::create_dir(&run).unwrap();
            fs::create_dir_all(noted.join("case")).unwrap();
            fs::write(run.join(NOTE), noted.as_os_str().as_bytes()).unwrap();
            File::create(run.join(OWNER)).unwrap()
        };
        let [dead, live, odd] =
            ["probe9p-dead", "probe9p-live", "mine"].map(|n| volume.path().join(n));
        drop(run("probe9p-dead", &dead));
        let lock = run("probe9p-live", &live);
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        drop(run("probe9p-odd", &odd));
        remove_noted(tmp.path());
        assert!(!dead.exists(), "the dead run's directory is removed");
        assert!(live.exists(), "a living run's stays");
        assert!(odd.exists(), "a name that no run makes stays");
    }
}
