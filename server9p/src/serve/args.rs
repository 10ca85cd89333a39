//! The command line of a server, shared by the programs that have one.

use std::path::PathBuf;

use clap::Args;

use super::{Listen, RunAs, ServeOptions};
use crate::{profile::Profile, session::Limits};

/// Serve a directory over 9P2000.L until SIGINT or SIGTERM.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where to wait for clients: unix:PATH, tcp:ADDRESS:PORT (tcp:PORT for loopback), or fd:N, a socket inherited
    /// from the parent process. May be given several times.
    #[arg(long, value_name = "PLACE", default_value = "tcp:127.0.0.1:5640")]
    pub listen: Vec<Listen>,
    /// Whose behaviour to take on: golem, qemu or posix.
    #[arg(long, default_value = "golem")]
    pub profile: Profile,
    /// The user to serve as, when started by root [default: the owner of DIR, or nobody where that is root].
    #[arg(long, value_name = "UID[:GID]")]
    pub run_as: Option<RunAs>,
    /// Refuse every change with EROFS.
    #[arg(long)]
    pub read_only: bool,
    /// Write one JSON line for every message to this file.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// The most fids that one connection may hold.
    #[arg(long, value_name = "N", default_value_t = Limits::default().fids)]
    pub max_fids: usize,
    /// The most requests in progress at once; more wait.
    #[arg(long, value_name = "N", default_value_t = Limits::default().requests)]
    pub max_requests: usize,
    /// The most bytes of large requests and replies in progress at once; more wait.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().bytes)]
    pub max_bytes: usize,
    /// The most connections at once; more are closed.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections)]
    pub max_connections: usize,
    /// The directory to serve.
    pub dir: PathBuf,
}

impl From<ServeArgs> for ServeOptions {
    fn from(args: ServeArgs) -> ServeOptions {
        ServeOptions {
            dir: args.dir,
            listen: args.listen,
            profile: args.profile,
            run_as: args.run_as,
            read_only: args.read_only,
            trace: args.trace,
            blocks_for: 0,
            counters: None,
            limits: Limits {
                fids: args.max_fids,
                requests: args.max_requests,
                bytes: args.max_bytes,
                connections: args.max_connections,
            },
        }
    }
}
