//! Modes, and what other users may do: what the client checks, what the server allows, and what is kept.

mod bits;
mod capability;
mod others;
mod owner;
mod root;

use super::prelude::*;

fn opened(path: &str, flags: OFlags) -> Result<OwnedFd, rustix::io::Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, mode(0o644))
}

fn mode_is(call: &str, path: &str, want: &str) -> CaseOutcome {
    expect(
        call,
        &format!("the mode of {path}"),
        permissions(&stat(path)?),
        want.into(),
    )
}
