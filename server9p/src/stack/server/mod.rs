//! The process at the other end of the 9P connection: one file a server.

mod diod;
mod own;
pub mod peer;
mod unpfs;

use std::{collections::BTreeMap, fmt, io, os::unix::net::UnixStream, path::Path, time::Duration};

use nix::unistd::{User, geteuid};

pub use self::own::ServeConfig;
use crate::{
    session::Counters,
    stack::{StackError, VolumeOptions, live::Served},
};

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Server {
    /// This library's own server.
    #[default]
    Own,
    /// Debian's diod.
    Diod,
    /// unpfs, the example server of rs9p.
    Unpfs,
}

/// What a server is to serve, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The directory.
    pub export: &'a Path,
    /// How.
    pub options: &'a VolumeOptions,
    /// Whom it becomes when root starts it, where it is one that becomes anyone.
    pub run_as: Option<(u32, u32)>,
    /// A directory of the run, which others may pass through but not list.
    pub scratch: &'a Path,
    /// What counts the messages, where it is a server that does.
    pub counters: &'a Counters,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Server {
    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Server::Own => "server9p",
            Server::Diod => "diod",
            Server::Unpfs => "unpfs",
        }
    }

    /// Its version, and that of nothing else.
    pub fn versions(self) -> BTreeMap<String, String> {
        let version = match self {
            Server::Own => format!("server9p {}", env!("CARGO_PKG_VERSION")),
            Server::Diod => diod::version(),
            Server::Unpfs => unpfs::version(),
        };
        BTreeMap::from([("server".to_owned(), version)])
    }

    /// Whether this machine has it.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] with what brings it.
    pub fn available(self) -> Result<(), StackError> {
        match self {
            Server::Own => Ok(()),
            Server::Diod => diod::available(),
            Server::Unpfs => unpfs::program().map(drop),
        }
    }

    /// The name by which a client attaches to the export.
    pub fn aname(self, export: &Path) -> String {
        match self {
            Server::Own | Server::Unpfs => "/".into(),
            Server::Diod => export.display().to_string(),
        }
    }

    /// Starts it: the client's end of its one connection, and its process with its life line, which it does not
    /// outlive.
    ///
    /// # Errors
    /// [`StackError::Unavailable`].
    pub fn start(self, site: &Site) -> Result<(UnixStream, Served), StackError> {
        self.available()?;
        let failed = |err: io::Error| {
            StackError::Unavailable(format!("the 9P server {self} cannot be started: {err}"))
        };
        if self == Server::Unpfs {
            return unpfs::start(site);
        }
        if self == Server::Diod {
            diod::can_serve(site.export)?;
        }
        let (client, connection) = UnixStream::pair().map_err(failed)?;
        let served = match self {
            Server::Diod => diod::start(site.export, &connection),
            _ => own::start(
                site.export,
                site.options,
                site.run_as,
                &connection,
                site.counters,
            ),
        };
        Ok((client, served.map_err(failed)?))
    }
}

/// Why a volume did not come up: when its server could not even start, that is why, else `told` is.
pub fn why_not((mut server, _): Served, told: StackError) -> StackError {
    let died = server.wait(Duration::from_millis(100)) && !server.succeeded();
    let why = died.then(|| server.obituary());
    let _ = server.finish(Duration::ZERO);
    match why {
        Some(why) => StackError::Unavailable(format!("the volume did not come up: {why}")),
        None => told,
    }
}

/// Whom the server becomes: nobody, unless told otherwise, when it is started by root.
///
/// # Errors
/// [`StackError::Unavailable`] when an ordinary user asks for another.
pub fn run_as(options: &VolumeOptions) -> Result<Option<(u32, u32)>, StackError> {
    let me = geteuid();
    if me.is_root() {
        let nobody = || {
            let nobody = User::from_name("nobody").ok().flatten();
            nobody.map_or((65534, 65534), |user| {
                (user.uid.as_raw(), user.gid.as_raw())
            })
        };
        return Ok(Some(options.run_as.unwrap_or_else(nobody)));
    }
    match options.run_as {
        Some((uid, _)) if uid != me.as_raw() => Err(StackError::Unavailable(format!(
            "user {me} cannot run the server as user {uid}: start probe9p as root for that, or leave \
             --run-as out"
        ))),
        _ => Ok(None),
    }
}
