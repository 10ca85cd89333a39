//! unpfs, the example server of rs9p. It knows no user but its own, so it runs as the ordinary user that our own
//! server runs as. It listens on a socket and serves on when a connection ends, so it lives under a keeper
//! ([`super::peer`]).

use std::{
    fs, io,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixStream,
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{Site, peer};
use crate::stack::{StackError, cache, live::Served, process};

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait before looking again whether it listens: it does not say so.
const PAUSE: Duration = Duration::from_millis(5);

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
pub(super) fn start(site: &Site) -> Result<(UnixStream, Served), StackError> {
    let failed = |err: io::Error| {
        StackError::Unavailable(format!("the 9P server unpfs cannot be started: {err}"))
    };
    let directory = site.scratch.join("unpfs");
    // What an earlier one, that was killed, has left there is in its way.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).map_err(failed)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    if let Some((uid, gid)) = site.run_as {
        chown(&directory, Some(uid), Some(gid)).map_err(failed)?;
    }
    // It puts the "port" behind the path.
    let address = format!("unix!{}!9p", directory.join("socket").display());
    let socket = directory.join("socket:9p");
    let arguments = [address.into(), site.export.as_os_str().to_owned()];
    let (mut keeper, life) =
        peer::start("the 9P server unpfs", &program()?, arguments, site.run_as).map_err(failed)?;
    let began = Instant::now();
    loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => {
                peer::serves(&life, &stream).map_err(failed)?;
                return Ok((stream, (keeper, life)));
            }
            Err(_) if !keeper.wait(PAUSE) && began.elapsed() < PATIENCE => {}
            Err(err) => {
                let ended = keeper.wait(Duration::ZERO);
                drop(life);
                let why = match ended {
                    true => keeper.obituary(),
                    false => format!("it does not listen at {}: {err}", socket.display()),
                };
                return Err(failed(io::Error::other(why)));
            }
        }
    }
}
