//! The process that does what a case asks it to (`ops::host`): on the host, or where another client has the volume.

use std::{
    ffi::OsString,
    io,
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use server9p::stack::{CommandSpec, SELF, World, process};

use crate::ops::host;

/// A hand, which is gone when this is.
pub struct Hand {
    /// The case's end of the line to it.
    pub line: Arc<UnixStream>,
    process: Process,
}

/// What is at the other end.
enum Process {
    Child(Child),
    /// Waits for the end of a command of another world.
    Elsewhere(Option<JoinHandle<()>>),
}

impl Hand {
    /// Starts one for a case's directory, as this user and group when given: root may be another.
    ///
    /// # Errors
    /// The system's.
    pub fn start(dir: &Path, user: Option<(u32, u32)>) -> io::Result<Hand> {
        let (line, theirs) = UnixStream::pair()?;
        let mut command = process::again();
        command
            .arg(host::ARGUMENT)
            .arg(dir)
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        Ok(Hand {
            line: Arc::new(line),
            process: Process::Child(command.spawn()?),
        })
    }

    /// Starts one in another world, for the case's directory as that world sees it. It may do what a case may, for as
    /// long.
    ///
    /// # Errors
    /// The system's.
    pub fn within(world: Arc<dyn World>, dir: PathBuf, limit: Duration) -> io::Result<Hand> {
        let (line, theirs) = UnixStream::pair()?;
        let argv = [SELF.into(), host::ARGUMENT.into(), dir.into_os_string()];
        let mut command = CommandSpec::new(argv.map(OsString::from), "/").limit(limit);
        command.line = Some(Arc::new(theirs));
        // How it ends shows in the answers that the case gets, or does not get.
        let end = thread::spawn(move || drop(world.run(&command)));
        Ok(Hand {
            line: Arc::new(line),
            process: Process::Elsewhere(Some(end)),
        })
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        match &mut self.process {
            Process::Child(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Process::Elsewhere(end) => {
                // Its end of the line is the end of its work.
                let _ = self.line.shutdown(Shutdown::Both);
                if let Some(end) = end.take() {
                    let _ = end.join();
                }
            }
        }
    }
}
