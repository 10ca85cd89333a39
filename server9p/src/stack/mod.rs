//! Bringing a volume up and down: the same trait over every kind of client.
//!
//! A volume is a *world* in which commands run: the FUSE client's private mount namespace, a guest, or just
//! a path. Whoever tests a volume hands it commands and gets their ends back; what the commands do is not
//! known here.

pub mod agent;
pub mod cache;
pub mod fuse;
pub mod fuse_world;
mod guard;
pub mod guest;
mod ids;
pub mod kernel;
pub mod kernels;
mod live;
pub mod local;
pub mod mounts;
pub mod namespaces;
pub mod path;
pub mod process;
pub mod processor;
pub mod qemu;
pub mod root;
pub mod server;
pub mod uml;
mod v9fs;
pub mod visible;
pub mod volume;
pub mod workdir;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{profile::Profile, session::Wire};

/// How the client caches, as v9fs's `cache=` option names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// Nothing is cached: every call goes to the server. What the VM runtime uses.
    #[default]
    None,
    /// Reads ahead, writes through.
    Readahead,
    /// Pages of shared mappings are cached and written back.
    Mmap,
    /// Data and attributes are cached without any coherence.
    Loose,
    /// As loose, with a persistent local cache.
    Fscache,
}

impl Cache {
    /// Every mode, in the order that help texts list them.
    pub const ALL: [Cache; 5] = [
        Cache::None,
        Cache::Readahead,
        Cache::Mmap,
        Cache::Loose,
        Cache::Fscache,
    ];

    /// The name that `cache=` takes.
    pub fn name(self) -> &'static str {
        match self {
            Cache::None => "none",
            Cache::Readahead => "readahead",
            Cache::Mmap => "mmap",
            Cache::Loose => "loose",
            Cache::Fscache => "fscache",
        }
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Cache {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Cache::ALL
            .into_iter()
            .find(|c| c.name() == text)
            .ok_or_else(|| {
                format!(
                    "there is no cache mode {text:?}; take none, readahead, mmap, loose or fscache"
                )
            })
    }
}

/// The Linux series whose v9fs a client is, or behaves as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Series {
    /// 5.10, which the VM runtime ships.
    #[serde(rename = "5.10")]
    Linux5_10,
    /// 6.1, which the VM runtime supports.
    #[serde(rename = "6.1")]
    Linux6_1,
}

impl Series {
    /// As `--kernel` and reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Series::Linux5_10 => "5.10",
            Series::Linux6_1 => "6.1",
        }
    }

    /// The series that a profile means unless told otherwise.
    pub fn of(profile: Profile) -> Series {
        match profile {
            Profile::Golem => Series::Linux5_10,
            Profile::Qemu | Profile::Posix => Series::Linux6_1,
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Series {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Series::Linux5_10, Series::Linux6_1]
            .into_iter()
            .find(|s| s.name() == text)
            .ok_or_else(|| format!("there is no kernel series {text:?} here; take 5.10 or 6.1"))
    }
}

/// What a volume shall be, whichever client mounts it.
#[derive(Debug, Clone)]
pub struct VolumeOptions {
    /// Whose behaviour the server takes on.
    pub profile: Profile,
    /// How the client caches.
    pub cache: Cache,
    /// The kernel series of the client.
    pub series: Series,
    /// User and group that the server runs as when it is started by root; unless given the export's owner
    /// if that is not root, else nobody.
    pub run_as: Option<(u32, u32)>,
    /// Whether the server answers every change with EROFS.
    pub read_only: bool,
    /// Where the server writes one JSON line a message.
    pub trace: Option<PathBuf>,
    /// The msize that the client asks for, in bytes.
    pub msize: u32,
}

impl VolumeOptions {
    /// The VM runtime's own options under `profile`: cache=none, and the msize that virtio leaves of the
    /// runtime's 104857600.
    pub fn new(profile: Profile) -> VolumeOptions {
        VolumeOptions {
            profile,
            cache: Cache::None,
            series: Series::of(profile),
            run_as: None,
            read_only: false,
            trace: None,
            msize: 512_000,
        }
    }
}

/// What a mount turned out to be, for the report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// `fuse`, `uml`, `qemu`, `kernel`, or `path`.
    pub client: String,
    /// `server9p`, `qemu`, `diod`, or `unknown` for a directory that was mounted already.
    pub server: String,
    /// The client's kernel release; for FUSE the series whose v9fs it behaves as.
    pub kernel: String,
    /// The options as the client got them, with the negotiated msize.
    pub options: String,
    /// The negotiated msize in bytes, where it is known.
    pub msize: Option<u32>,
    /// Versions of the parts (`server`, `client`, `qemu` …), by name.
    pub versions: BTreeMap<String, String>,
    /// What surrounds its commands.
    pub conditions: Conditions,
}

/// What surrounds the commands of a world: their root, their environment, the names of hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conditions {
    /// Those of an ordinary system.
    #[default]
    Ordinary,
    /// The VM runtime's: a private root of 128 MiB, nothing in the environment, no names of hosts.
    Runtime,
    /// Ordinary ones, although the profile has the runtime's, for this reason.
    Refused(String),
}

/// As the first of [`CommandSpec::argv`]: the program that is running, whatever its path is in the world and
/// whether or not the command's user could reach it there.
pub const SELF: &str = "@self";

/// A command to run in a volume's world.
#[derive(Debug, Clone)]
pub struct CommandSpec {
    /// The program ([`SELF`] for our own; looked up in the command's PATH if it has no slash) and its
    /// arguments.
    pub argv: Vec<OsString>,
    /// Variables added to the environment.
    pub env: Vec<(OsString, OsString)>,
    /// Whether the command starts with nothing but `env`.
    pub clear_env: bool,
    /// Working directory, as the world sees it.
    pub cwd: PathBuf,
    /// Whether that directory is made before, and removed with all that is in it after.
    pub fresh: bool,
    /// User and group to run as, when not the world's root.
    pub user: Option<(u32, u32)>,
    /// The mask of its file modes; the world's (022) unless given.
    pub umask: Option<u32>,
    /// After this long the command and all its children are killed.
    pub limit: Duration,
    /// Its standard input, and the way to answer there: what the command writes to descriptor 0 comes out of this
    /// stream's other end, wherever the command runs. Shut down when the command has ended. Meant for short words
    /// in turn: an answer of more than a socket's buffer that the command does not read ends the stream.
    pub line: Option<Arc<UnixStream>>,
    /// A program that sees every call of the command from its first on, such as strace: its words, to which
    /// `-o FILE -p PID` are added. It says on standard error that it is attached. What it writes to the file is
    /// [`Finished::trace`].
    pub tracer: Option<Vec<OsString>>,
}

impl CommandSpec {
    /// The command `argv` in directory `cwd`, as the world's root, for at most a minute.
    pub fn new<A: Into<OsString>>(
        argv: impl IntoIterator<Item = A>,
        cwd: impl Into<PathBuf>,
    ) -> CommandSpec {
        CommandSpec {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            clear_env: false,
            cwd: cwd.into(),
            fresh: false,
            user: None,
            umask: None,
            limit: Duration::from_secs(60),
            line: None,
            tracer: None,
        }
    }

    /// The same with another limit.
    pub fn limit(mut self, limit: Duration) -> CommandSpec {
        self.limit = limit;
        self
    }

    /// The same with one more variable in its environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> CommandSpec {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It exited with this code; 127 and 126 with a sentence on standard error when it could not be started.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was killed at its limit.
    TimedOut,
    /// The kernel that it ran on died under it: a guest's panic. The world comes up anew for the next
    /// command.
    Crashed,
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub ended: Ended,
    /// What it wrote to standard output, at most 1 MiB of it.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, at most 1 MiB of it.
    pub stderr: Vec<u8>,
    /// From start to end.
    pub duration: Duration,
    /// What the command's tracer wrote, at most 32 MiB of it, or why there is nothing; `None` where it had none.
    pub trace: Option<Result<Vec<u8>, String>>,
}

/// A mounted volume, and the world that it is mounted in.
pub trait World: Send + Sync {
    /// The volume's mount point, as commands run by [`World::run`] see it.
    fn path(&self) -> &Path;

    /// What the mount turned out to be.
    fn mounted(&self) -> Mounted;

    /// Runs a command and waits for its end and for the end of every process that it left. May be called
    /// from several threads at once.
    ///
    /// # Errors
    /// [`StackError::Lost`] when the volume died under the command; the next call brings it up anew.
    fn run(&self, command: &CommandSpec) -> Result<Finished, StackError>;

    /// The process of this host in whose mount namespace the volume's directory is served; nothing where no process of
    /// ours serves it.
    fn server_process(&self) -> Option<u32> {
        None
    }

    /// A plain directory of the same host file system as the export, that commands of this world reach too:
    /// where the same things run natively, by the same users.
    fn native(&self) -> Option<&Path> {
        None
    }

    /// Another client of the same volume, in a world of its own, which sees the same files below [`World::path`].
    ///
    /// # Errors
    /// [`StackError::Unavailable`]: why there is none.
    fn twin(&self) -> Result<Arc<dyn World>, StackError> {
        Err(StackError::Unavailable(
            "a volume that was mounted already has no second client of ours; run without --path"
                .into(),
        ))
    }

    /// Unmounts the volume and ends its server; the next [`World::run`] brings both up anew over the same files.
    /// Commands that run meanwhile are lost. False, and nothing is done, where this world cannot.
    fn remount(&self) -> bool {
        false
    }

    /// How many times the volume has gone down or was lost so far: what a command saw of it while that changed says nothing
    /// of the command.
    fn losses(&self) -> u64 {
        0
    }

    /// What has gone over the wire between client and server so far, where the server counts it: our own does.
    fn wire(&self) -> Option<Wire> {
        None
    }

    /// Kills every command that runs in this world, so that each [`World::run`] under way returns soon with
    /// [`StackError::Cancelled`], and refuses new ones. Called when a run is interrupted.
    fn stop(&self);
}

/// Why a volume could not be brought up, or was lost. Each text is a sentence that names the object and the
/// remedy.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StackError {
    /// It could not be brought up.
    #[error("{0}")]
    Unavailable(String),
    /// It was up and died; [`World::run`] brings it up anew.
    #[error("{0}")]
    Lost(String),
    /// [`World::stop`] was called.
    #[error("the run was cancelled")]
    Cancelled,
}
