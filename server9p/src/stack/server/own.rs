//! This library's own server, as a process of its own: `@serve`.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::Site;
use crate::{
    profile::Profile,
    serve::{self, RunAs, ServeOptions},
    session::{Counters, Limits},
    stack::{live::Served, process::Helper},
};

/// What a server process of ours is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServeConfig {
    /// Inherited descriptor of its first connection, a stream socket; the server exits when that ends.
    pub socket: RawFd,
    /// Inherited descriptor of a socket, over which further connections may come; when its other end closes, the server
    /// exits at once.
    pub life: RawFd,
    /// The directory to serve.
    pub export: PathBuf,
    /// Name of the profile.
    pub profile: String,
    /// Whom to become first, when started by root.
    pub run_as: Option<(u32, u32)>,
    /// Whether to answer every change with EROFS.
    pub read_only: bool,
    /// Where to write one JSON line a message; opened before the change of user.
    pub trace: Option<PathBuf>,
    /// See [`crate::export::Export::blocks_for`].
    pub blocks_for: u32,
    /// Inherited descriptor of the counters that it shares with this process.
    pub counters: RawFd,
}

impl ServeConfig {
    /// The server process: serves until its connection or its life line ends.
    pub fn serve(self) -> ExitCode {
        let run_as = self.run_as.map(|(uid, gid)| RunAs { uid, gid });
        let Ok(profile) = self.profile.parse::<Profile>() else {
            eprintln!(
                "a server process of probe9p was asked for the profile {:?}, which there is not",
                self.profile
            );
            return ExitCode::FAILURE;
        };
        // SAFETY: the parent process passed these descriptors on, to this process alone.
        let [socket, life, counters] =
            [self.socket, self.life, self.counters].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let options = ServeOptions {
            dir: self.export,
            listen: Vec::new(),
            profile,
            run_as,
            read_only: self.read_only,
            trace: self.trace,
            limits: Limits::default(),
            blocks_for: self.blocks_for,
            // Without them it serves all the same.
            counters: Counters::of(counters).ok(),
        };
        match serve::serve_connection(options, socket, life) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Starts it on one end of a connection. Its life line takes further ones ([`super::Door::LifeLine`]).
///
/// # Errors
/// The system's.
pub(super) fn start(site: &Site, connection: &UnixStream) -> io::Result<Served> {
    let (options, counters) = (site.options, site.counters);
    let (theirs, life) = UnixStream::pair()?;
    let config = ServeConfig {
        socket: connection.as_raw_fd(),
        life: theirs.as_raw_fd(),
        export: site.export.to_owned(),
        profile: options.profile.name().into(),
        run_as: site.run_as,
        read_only: options.read_only,
        trace: options.trace.clone(),
        // Linux 5.10 has no transport of streams with messages of more than 64 KiB; the VM runtime's has.
        blocks_for: match options.profile {
            Profile::Golem | Profile::Qemu => options.msize,
            Profile::Posix => 0,
        },
        counters: counters.fd().as_raw_fd(),
    };
    let keep = [connection.as_fd(), theirs.as_fd(), counters.fd()];
    let server = Helper::start("the 9P server", "@serve", &config, &keep)?;
    Ok((server, Arc::new(life.into())))
}
