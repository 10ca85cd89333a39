//! Places to wait for clients at.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs},
    os::{
        fd::{FromRawFd, OwnedFd, RawFd},
        unix::{
            fs::{DirBuilderExt, FileTypeExt, PermissionsExt, chown},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use super::RunAs;

/// A place to wait for clients at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
    /// An inherited descriptor: a connected stream, or a socket that listens.
    Fd(RawFd),
}

/// Why a place to listen at cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another server is there.
    #[error("another server listens on {0}; stop it, or name another socket")]
    InUse(String),
    /// Something else has the socket's name.
    #[error("{0} exists and is not a socket; it was left alone: name another path for the socket")]
    NotASocket(String),
    /// The kernel refuses.
    #[error("cannot listen on {place}: {source}; name a place that is free and that you may use")]
    Bind {
        /// Where.
        place: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// No such descriptor was inherited.
    #[error("descriptor {0} is not open; fd:N names a socket that the parent process passed on")]
    NoDescriptor(RawFd),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Listen::Unix(path.into())),
            Some(("tcp", address)) => tcp(address)
                .map(Listen::Tcp)
                .ok_or_else(|| format!("{address:?} is no TCP address; write tcp:127.0.0.1:5640, or tcp:5640 for loopback")),
            Some(("fd", number)) => number
                .parse()
                .ok()
                .filter(|number| *number >= 0)
                .map(Listen::Fd)
                .ok_or_else(|| format!("{number:?} is no descriptor; write fd:N with a number")),
            _ => Err(format!("{text:?} names no place to listen at; write unix:PATH, tcp:ADDRESS:PORT or fd:N")),
        }
    }
}

/// An address; without a host it is the loopback's.
fn tcp(text: &str) -> Option<SocketAddr> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse()
        .ok()
        .or_else(|| text.to_socket_addrs().ok()?.next())
}

/// A place that was taken.
pub(super) enum Bound {
    Unix {
        listener: UnixListener,
        removal: Removal,
    },
    Tcp(TcpListener),
    Fd {
        fd: OwnedFd,
        number: RawFd,
        listens: bool,
    },
}

/// Removes a socket, and its directory where that was made for it, when dropped.
#[derive(Debug)]
pub(super) struct Removal {
    socket: Option<PathBuf>,
    dir: Option<PathBuf>,
    /// The process that made them: a fork's other half must not remove them.
    owner: u32,
}

impl Drop for Removal {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        // Where they cannot be removed any more, nobody can be told.
        if let Some(socket) = &self.socket {
            let _ = fs::remove_file(socket);
        }
        if let Some(dir) = &self.dir {
            let _ = fs::remove_dir(dir);
        }
    }
}

impl Bound {
    /// Takes a place; what is made for it belongs to `user` where one is given.
    pub fn new(place: &Listen, user: Option<RunAs>) -> Result<Bound, ListenError> {
        match place {
            Listen::Unix(path) => unix(path, user),
            Listen::Tcp(address) => {
                let bind = |source| ListenError::Bind {
                    place: format!("tcp:{address}"),
                    source,
                };
                let listener = TcpListener::bind(address).map_err(bind)?;
                listener.set_nonblocking(true).map_err(bind)?;
                Ok(Bound::Tcp(listener))
            }
            Listen::Fd(number) => {
                // SAFETY: fcntl only looks whether the number is open.
                if unsafe { libc::fcntl(*number, libc::F_GETFD) } < 0 {
                    return Err(ListenError::NoDescriptor(*number));
                }
                // SAFETY: the descriptor is open, and whoever names it on the command line gives it to us.
                let fd = unsafe { OwnedFd::from_raw_fd(*number) };
                let listens = rustix::net::sockopt::socket_acceptconn(&fd).unwrap_or(false);
                Ok(Bound::Fd {
                    fd,
                    number: *number,
                    listens,
                })
            }
        }
    }

    /// Whether there is something to remove at the end.
    pub fn needs_removal(&self) -> bool {
        matches!(self, Bound::Unix { .. })
    }

    /// The place as a client would name it, with the port that was given.
    pub fn name(&self) -> String {
        match self {
            Bound::Unix { removal, .. } => {
                format!(
                    "unix:{}",
                    removal.socket.as_deref().unwrap_or(Path::new("")).display()
                )
            }
            Bound::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("tcp:{address}"),
                Err(_) => "tcp".to_owned(),
            },
            Bound::Fd { number, .. } => format!("fd:{number}"),
        }
    }

    /// Makes the place ready for tokio; what is returned beside removes the socket when dropped.
    pub fn start(self) -> io::Result<(Incoming, Option<Removal>)> {
        Ok(match self {
            Bound::Unix { listener, removal } => (
                Incoming::Unix(tokio::net::UnixListener::from_std(listener)?),
                Some(removal),
            ),
            Bound::Tcp(listener) => (
                Incoming::Tcp(tokio::net::TcpListener::from_std(listener)?),
                None,
            ),
            Bound::Fd {
                fd, listens: false, ..
            } => (Incoming::Once(Some(fd)), None),
            Bound::Fd {
                fd, listens: true, ..
            } => {
                rustix::io::ioctl_fionbio(&fd, true)?;
                let incoming = match rustix::net::sockopt::socket_domain(&fd)? {
                    rustix::net::AddressFamily::UNIX => {
                        Incoming::Unix(tokio::net::UnixListener::from_std(UnixListener::from(fd))?)
                    }
                    _ => Incoming::Tcp(tokio::net::TcpListener::from_std(TcpListener::from(fd))?),
                };
                (incoming, None)
            }
        })
    }
}

fn unix(path: &Path, user: Option<RunAs>) -> Result<Bound, ListenError> {
    let bind = |source| ListenError::Bind {
        place: format!("unix:{}", path.display()),
        source,
    };
    let mut removal = Removal {
        socket: None,
        dir: None,
        owner: std::process::id(),
    };
    if let Some(dir) = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty() && !dir.exists())
    {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(dir)
            .map_err(bind)?;
        removal.dir = Some(dir.to_owned());
        if let Some(user) = user {
            chown(dir, Some(user.uid), Some(user.gid)).map_err(bind)?;
        }
    }
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(ListenError::NotASocket(path.display().to_string()));
        }
        // A socket that nobody answers at was left by a server that was killed.
        if UnixStream::connect(path).is_ok() {
            return Err(ListenError::InUse(format!("unix:{}", path.display())));
        }
        fs::remove_file(path).map_err(bind)?;
    }
    let listener = UnixListener::bind(path).map_err(bind)?;
    removal.socket = Some(path.to_owned());
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(bind)?;
    listener.set_nonblocking(true).map_err(bind)?;
    Ok(Bound::Unix { listener, removal })
}

/// Connections as they come.
pub(super) enum Incoming {
    Unix(tokio::net::UnixListener),
    Tcp(tokio::net::TcpListener),
    Once(Option<OwnedFd>),
}

impl Incoming {
    /// The next connection; `None` when there will be no more.
    pub async fn next(&mut self) -> io::Result<Option<OwnedFd>> {
        match self {
            Incoming::Unix(listener) => Ok(Some(listener.accept().await?.0.into_std()?.into())),
            Incoming::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                // Replies are small and awaited.
                stream.set_nodelay(true)?;
                Ok(Some(stream.into_std()?.into()))
            }
            Incoming::Once(stream) => Ok(stream.take()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_is_loopback_unless_told_otherwise() {
        assert_eq!(
            "tcp:5640".parse(),
            Ok(Listen::Tcp("127.0.0.1:5640".parse().unwrap()))
        );
        assert_eq!(
            "tcp::0".parse(),
            Ok(Listen::Tcp("127.0.0.1:0".parse().unwrap()))
        );
        assert_eq!(
            "tcp:0.0.0.0:5640".parse(),
            Ok(Listen::Tcp("0.0.0.0:5640".parse().unwrap()))
        );
    }

    #[test]
    fn a_place_that_is_none_is_refused_with_the_ways_to_write_one() {
        for text in ["", "unix:", "fd:-1", "fd:x", "tcp:nowhere:port", "pipe:3"] {
            assert!(
                text.parse::<Listen>().unwrap_err().contains("write"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("s");
        drop(Bound::new(&Listen::Unix(path.clone()), None).unwrap());
        assert!(
            !path.parent().unwrap().exists(),
            "the socket and its directory are removed"
        );

        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let bound = Bound::new(&Listen::Unix(path.clone()), None).unwrap();
        assert!(matches!(
            Bound::new(&Listen::Unix(path.clone()), None),
            Err(ListenError::InUse(_))
        ));
        drop(bound);
        assert!(!path.exists());

        fs::write(&path, "mine").unwrap();
        assert!(matches!(
            Bound::new(&Listen::Unix(path.clone()), None),
            Err(ListenError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
