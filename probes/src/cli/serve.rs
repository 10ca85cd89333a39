//! `probe9p serve`: a directory over 9P2000.L, for any client, until SIGINT or SIGTERM.

use clap::Args;
use server9p::serve::{ServeArgs, ServeError, serve};

use super::{Exit, Failure, Outcome};

/// Options of `probe9p serve`.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    args: ServeArgs,
}

impl Serve {
    /// Serves until it is told to stop.
    pub fn run(self) -> Outcome {
        // The server may change its user, which takes a process of one thread: no other has been started.
        match serve(self.args.into()) {
            Ok(()) => Ok(Exit::Completed),
            Err(error @ ServeError::Resources(_)) => Err(Failure::Fault(error.into())),
            Err(error) => Err(Failure::NoStack(error.to_string())),
        }
    }
}
