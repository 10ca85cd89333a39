//! Bringing a volume up and down: the same trait over every kind of client.
//!
//! A volume is a *world* in which commands run: the FUSE client's private mount namespace, a guest, or just
//! a path. Whoever tests a volume hands it commands and gets their ends back; what the commands do is not
//! known here.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

/// How the client caches, as v9fs's `cache=` option names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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

/// A command to run in a volume's world.
#[derive(Debug, Clone)]
pub struct CommandSpec {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Variables added to the environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory, as the world sees it.
    pub cwd: PathBuf,
    /// User and group to run as, when not the world's root.
    pub user: Option<(u32, u32)>,
    /// After this long the command and all its children are killed.
    pub limit: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was killed at its limit.
    TimedOut,
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
}

/// A mounted volume, and the world that it is mounted in.
pub trait World: Send + Sync {
    /// The volume's mount point, as commands run by [`World::run`] see it.
    fn path(&self) -> &Path;

    /// Runs a command and waits for its end. May be called from several threads at once.
    fn run(&self, command: &CommandSpec) -> Result<Finished, StackError>;

    /// Kills every command that runs in this world, so that each [`World::run`] under way returns soon, and
    /// refuses new ones. Called when a run is interrupted.
    fn stop(&self);
}

/// Why a volume could not be brought up, or was lost.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A sentence that names the object and the remedy.
    #[error("{0}")]
    Unavailable(String),
}
