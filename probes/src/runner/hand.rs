//! The process of the host that does what a case asks it to (`ops::host`).

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Child, Stdio},
    sync::Arc,
};

use server9p::stack::process;

use crate::ops::host;

/// A hand, which is gone when this is.
pub struct Hand {
    /// The case's end of the line to it.
    pub line: Arc<UnixStream>,
    child: Child,
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
            child: command.spawn()?,
        })
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
