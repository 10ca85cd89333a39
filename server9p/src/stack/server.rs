//! The process at the other end of the 9P connection.

use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use nix::unistd::{User, geteuid};
use serde::{Deserialize, Serialize};

use crate::{
    profile::Profile,
    serve::{self, RunAs, ServeOptions},
    session::Limits,
    stack::{StackError, VolumeOptions, live::Served, process::Helper},
};

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Server {
    /// This library's own server.
    #[default]
    Own,
    /// Debian's diod.
    Diod,
}

/// What a server process of ours is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServeConfig {
    /// Inherited descriptor of its one connection, a stream socket; the server exits when that ends.
    pub socket: RawFd,
    /// Inherited descriptor of a pipe; when its other end closes, the server exits at once.
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
        let options = ServeOptions {
            dir: self.export,
            listen: Vec::new(),
            profile,
            run_as,
            read_only: self.read_only,
            trace: self.trace,
            limits: Limits::default(),
            blocks_for: self.blocks_for,
        };
        // SAFETY: the parent process passed both descriptors on, to this process alone.
        let [socket, life] = [self.socket, self.life].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        match serve::serve_connection(options, socket, life) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Server {
    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Server::Own => "server9p",
            Server::Diod => "diod",
        }
    }

    /// Its version, and that of nothing else.
    pub fn versions(self) -> BTreeMap<String, String> {
        let version = match self {
            Server::Own => format!("server9p {}", env!("CARGO_PKG_VERSION")),
            Server::Diod => diod_version(),
        };
        BTreeMap::from([("server".to_owned(), version)])
    }

    /// The name by which a client attaches to the export.
    pub fn aname(self, export: &Path) -> String {
        match self {
            Server::Own => "/".into(),
            Server::Diod => export.display().to_string(),
        }
    }

    /// Starts it on one end of a connection. The descriptor that comes back is its life line: it does not
    /// outlive that.
    ///
    /// # Errors
    /// [`StackError::Unavailable`].
    pub fn start(
        self,
        export: &Path,
        options: &VolumeOptions,
        run_as: Option<(u32, u32)>,
        connection: UnixStream,
    ) -> Result<Served, StackError> {
        let started = match self {
            Server::Own => start_own(export, options, run_as, &connection),
            Server::Diod => start_diod(export, &connection),
        };
        started.map_err(|err| {
            let hint = match (self, err.kind()) {
                (Server::Diod, io::ErrorKind::NotFound) => "; install it with `apt install diod`",
                _ => "",
            };
            StackError::Unavailable(format!(
                "the 9P server {} cannot be started: {err}{hint}",
                self.name()
            ))
        })
    }
}

fn start_own(
    export: &Path,
    options: &VolumeOptions,
    run_as: Option<(u32, u32)>,
    connection: &UnixStream,
) -> io::Result<Served> {
    let (theirs, life) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let config = ServeConfig {
        socket: connection.as_raw_fd(),
        life: theirs.as_raw_fd(),
        export: export.to_owned(),
        profile: options.profile.name().into(),
        run_as,
        read_only: options.read_only,
        trace: options.trace.clone(),
        // Linux 5.10 has no transport of streams with messages of more than 64 KiB; the VM runtime's has.
        blocks_for: match options.profile {
            Profile::Golem | Profile::Qemu => options.msize,
            Profile::Posix => 0,
        },
    };
    let keep = [connection.as_fd(), theirs.as_fd()];
    let server = Helper::start("the 9P server", "@serve", &config, &keep)?;
    Ok((server, life))
}

/// Started by root it acts as the user of each request, which is how its package sets it up.
fn start_diod(export: &Path, connection: &UnixStream) -> io::Result<Served> {
    let program = diod_program();
    let fd = connection.as_raw_fd().to_string();
    let mut command = Command::new(program);
    command
        .args(["--foreground", "--no-auth", "--nwthreads", "8"])
        .args(["--config-file", "/dev/null", "--logdest", "stderr"])
        .args(["--rfdno", &fd, "--wfdno", &fd])
        .arg("--export")
        .arg(export);
    // It exits with its one connection; there is nothing for a life line to end.
    let (_, life) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let server = Helper::spawn("the 9P server diod", command, &[connection.as_fd()])?;
    Ok((server, life))
}

/// Debian keeps it where ordinary users do not look.
fn diod_program() -> &'static str {
    let sbin = "/usr/sbin/diod";
    if Path::new(sbin).exists() {
        sbin
    } else {
        "diod"
    }
}

/// It has no option that tells; its package knows, where it came in one.
fn diod_version() -> String {
    let package = Command::new("dpkg-query")
        .args(["--show", "--showformat=diod ${Version}", "diod"])
        .output();
    match package {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        _ => "diod".into(),
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
