//! The process at the other end of the 9P connection: one file a server.

mod diod;
mod own;
pub mod peer;
mod unpfs;

use std::{
    collections::BTreeMap,
    fmt, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use nix::unistd::{User, geteuid};

pub use self::own::ServeConfig;
use crate::{
    session::Counters,
    stack::{StackError, VolumeOptions, live::Served, process::send_fd},
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

/// A server that was started for a client.
#[derive(Debug)]
pub struct Started {
    /// The client's end of its connection.
    pub connection: UnixStream,
    /// The process; it ends with that connection or with its life line.
    pub served: Served,
    /// How other clients come to it.
    pub door: Door,
}

/// How a further client comes to a server that runs.
#[derive(Debug, Clone)]
pub enum Door {
    /// Our own takes connections that come over its life line, which this does not keep open.
    LifeLine(Weak<OwnedFd>),
    /// A peer listens there.
    Socket(PathBuf),
}

impl Door {
    /// The further client's end of its connection.
    ///
    /// # Errors
    /// The system's; NotConnected when the server is no more.
    pub fn connect(&self) -> io::Result<UnixStream> {
        match self {
            Door::LifeLine(life) => {
                let life = life.upgrade().ok_or(io::ErrorKind::NotConnected)?;
                let (client, theirs) = UnixStream::pair()?;
                send_fd(&*life, theirs.as_fd())?;
                Ok(client)
            }
            Door::Socket(path) => UnixStream::connect(path),
        }
    }
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

    /// Starts it for one client, with which it ends.
    ///
    /// # Errors
    /// [`StackError::Unavailable`].
    pub fn start(self, site: &Site) -> Result<Started, StackError> {
        self.available()?;
        let failed = |err: io::Error| {
            StackError::Unavailable(format!("the 9P server {self} cannot be started: {err}"))
        };
        match self {
            Server::Unpfs => return unpfs::start(site),
            Server::Diod => {
                diod::can_serve(site.export)?;
                return diod::start(site).map_err(failed);
            }
            Server::Own => {}
        }
        let (connection, theirs) = UnixStream::pair().map_err(failed)?;
        let served = own::start(site, &theirs).map_err(failed)?;
        let door = Door::LifeLine(Arc::downgrade(&served.1));
        Ok(Started {
            connection,
            served,
            door,
        })
    }
}

/// Why a volume did not come up: when its server could not even start, that is why, else `told` is.
pub fn why_not(served: Option<Served>, told: StackError) -> StackError {
    let Some((mut server, _)) = served else {
        return told;
    };
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
