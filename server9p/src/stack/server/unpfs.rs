//! unpfs, the example server of rs9p. It knows no user but its own, so it runs as the ordinary user that our own
//! server runs as. It listens on a socket and serves on when a connection ends, so it lives under a keeper
//! ([`super::peer`]).

use std::{fs, path::PathBuf};

use super::{Site, Started, peer};
use crate::stack::{StackError, cache, process};

/// Where it is: in the user's cache, or on PATH.
///
/// # Errors
/// [`StackError::Unavailable`] with what brings it.
pub(super) fn program() -> Result<PathBuf, StackError> {
    let cached = cache::directory().map(|directory| directory.join("peers/bin/unpfs"));
    cached
        .filter(|program| program.is_file())
        .or_else(|| process::on_path("unpfs"))
        .ok_or_else(|| {
            StackError::Unavailable(
                "the 9P server unpfs is not installed: `scripts/setup --peers` builds it, as does `cargo install \
                 unpfs`"
                    .into(),
            )
        })
}

/// It has no option that tells; where cargo installed it, cargo has written it down.
pub(super) fn version() -> String {
    let known = program().ok().and_then(|program| {
        let list = program.parent()?.parent()?.join(".crates.toml");
        let list = fs::read_to_string(list).ok()?;
        let (_, rest) = list.split_once("\"unpfs ")?;
        Some(format!("unpfs {}", rest.split_whitespace().next()?))
    });
    known.unwrap_or_else(|| "unpfs".into())
}

/// Starts it and connects to it.
pub(super) fn start(site: &Site) -> Result<Started, StackError> {
    let program = program()?;
    let start = || {
        let directory = peer::directory(site, "unpfs", site.run_as)?;
        // It puts the "port" behind the path.
        let address = format!("unix!{}!9p", directory.join("socket").display());
        let arguments = [address.into(), site.export.as_os_str().to_owned()];
        let served = peer::start("the 9P server unpfs", &program, arguments, site.run_as)?;
        peer::connect(served, directory.join("socket:9p"))
    };
    start().map_err(|err| {
        StackError::Unavailable(format!("the 9P server unpfs cannot be started: {err}"))
    })
}
