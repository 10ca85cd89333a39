//! The recipe format: what a tool is, how it is found, the cases that put it to work, and the remedies.
//!
//! A recipe is a TOML file in `probes/tools/`, or a user's own given with `--recipe FILE`. Adding a tool needs
//! no Rust: every field is here with its meaning, a key that is not here is refused, and whatever is wrong is
//! reported with its file and line (see [`super::parse`]). [`super::recipe_schema`] is the JSON Schema
//! that is made of these types.
//!
//! ```toml
//! name = "zip"                       # the file's name too, and the first part of the cases' ids
//! summary = "zip, archives as everybody can open them"
//!
//! [[variants]]                       # one or more ways to get the same program
//! name = "zip"                       # the case `update` is then `zip.update`
//! programs = ["zip", "unzip"]        # all must be on PATH, else its cases are skipped with the command to install
//! version = "zip -v | sed -n 2p"     # a shell command; its first line is the version
//! packages.debian = ["zip", "unzip"] # what brings it
//!
//! [[cases]]
//! id = "update"
//! title = "zip replaces a member of an archive"
//! limit = 30                         # seconds, for the script
//! script = '''                       # /bin/sh -eu, in a fresh directory, which is $PROBE9P_DIR too
//! echo one > a && zip -q x.zip a
//! echo two > a && zip -q x.zip a
//! fact content "$(unzip -p x.zip a)" # natively and on the volume, facts must be the same
//! '''
//! expect.facts.content = "two"       # and what must hold on both, so that a script that does nothing cannot pass
//! remedies = ["temp-elsewhere"]
//!
//! [[remedies]]                       # tried when the case fails on the volume only
//! id = "temp-elsewhere"
//! title = "zip -b /tmp, so that the temporary archive is not on the volume"
//! env.ZIPOPT = "-b /tmp"             # and $PROBE9P_REMEDY is the remedy's id
//! ```
//!
//! A program that must run beside the script is a service. The script starts it, which waits until it is ready;
//! whatever still runs when the case ends, however it ends, is stopped:
//!
//! ```toml
//! [[services]]
//! id = "server"
//! user = "redis"                     # a user of the system; without one it runs as the script does
//! command = "exec redis-server --port 0 --unixsocket $TMPDIR/s --dir $PROBE9P_DIR"
//! ready = "redis-cli -s $TMPDIR/s ping"
//!
//! [[cases]]
//! id = "rdb"
//! title = "SAVE writes a dump, and the next server reads it"
//! services = ["server"]              # those that it may start; also what must be there to run it
//! users = ["redis"]                  # users that it needs besides, for `run_as USER COMMAND…`
//! script = '''
//! start server
//! redis-cli -s $TMPDIR/s set a 1 && redis-cli -s $TMPDIR/s save
//! stop server                        # or `kill9 server`
//! '''
//! expect.files."dump.rdb" = { mode = "0644", pattern = "^REDIS" }
//! expect.patterns = ["^OK$"]         # of the output, line by line
//! ```
//!
//! The script's helpers (`fact`, `fail`, `note`, `timed`, `start`, `stop`, `kill9`, `run_as`, `open_root`, `owner`) and its environment are described
//! in [`super::script`].

mod expect;

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use server9p::stack::{Cache, local::Local};
use toml::Spanned;

use crate::{case::Other, ops::needs};

pub use expect::{Expect, FileState, Kind, Pattern};

/// A tool: a program, the cases that put it to work, and what makes the failing ones work.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The tool's name, `sqlite`: lower-case letters, digits and hyphens.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// What the tool is, in one line.
    pub summary: String,
    /// Shell functions that every script of this recipe has.
    #[serde(default)]
    pub prelude: String,
    /// The ways to get the program. Every case is run through each; the first is the one that counts most.
    #[schemars(with = "Vec<Variant>", length(min = 1))]
    pub variants: Spanned<Vec<Variant>>,
    /// Programs that scripts run beside them.
    #[serde(default)]
    pub services: Vec<Service>,
    /// What the tool is put to.
    #[schemars(with = "Vec<Case>", length(min = 1))]
    pub cases: Spanned<Vec<Case>>,
    /// Changes that may make a failing case work. Cases name them.
    #[serde(default)]
    pub remedies: Vec<Remedy>,
}

/// One way to get the program: a package of the system, or what probe9p itself has.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// First part of its cases' ids, `sqlite3-cli`: lower-case letters, digits and hyphens.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// Programs that must be on `PATH`.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Files that must be there besides, by their absolute paths: a program's module, `h5py/__init__.py`.
    #[serde(default)]
    pub files: Vec<String>,
    /// A program that probe9p has itself, which its scripts then find on `PATH` under the usual name.
    #[serde(default)]
    pub builtin: Option<Builtin>,
    /// A shell command whose first line is the program's version.
    #[serde(default)]
    pub version: Option<String>,
    /// What brings the programs.
    #[serde(default)]
    pub packages: Packages,
}

/// A program that probe9p has itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Builtin {
    /// SQLite's shell, as `sqlite3`; it records every system call of SQLite's that fails.
    Sqlite3,
}

impl Builtin {
    /// The name under which scripts find it, and its helper's name without the `@`.
    pub fn program(self) -> &'static str {
        match self {
            Builtin::Sqlite3 => "sqlite3",
        }
    }
}

/// Packages that bring a program, by where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Packages of Debian 12.
    #[serde(default)]
    pub debian: Vec<String>,
    /// Packages of the Python index.
    #[serde(default)]
    pub pip: Vec<String>,
    /// Packages of the npm registry.
    #[serde(default)]
    pub npm: Vec<String>,
    /// Crates with a program in them.
    #[serde(default)]
    pub cargo: Vec<String>,
}

impl Packages {
    /// The command that installs them, or nothing where none are named.
    pub fn install_command(&self) -> Option<String> {
        let managers = [
            ("apt-get install -y", &self.debian),
            ("pip install", &self.pip),
            ("npm install -g", &self.npm),
            ("cargo install", &self.cargo),
        ];
        let commands: Vec<String> = managers
            .iter()
            .filter(|(_, packages)| !packages.is_empty())
            .map(|(command, packages)| format!("{command} {}", packages.join(" ")))
            .collect();
        (!commands.is_empty()).then(|| commands.join(" && "))
    }
}

/// A program that a script starts, that runs beside it, and that is always stopped.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name that scripts start it by: lower-case letters, digits and hyphens.
    #[schemars(with = "String")]
    pub id: Spanned<String>,
    /// The user that it runs as: a name, a number, or `$VARIABLE` for one that the script exports. Unless given it
    /// runs as the script does.
    #[serde(default)]
    pub user: Option<String>,
    /// Shell commands that become the service, in the case's directory, with what the script has exported and the
    /// recipe's prelude. They must not put themselves into the background.
    #[schemars(with = "String")]
    pub command: Spanned<String>,
    /// A shell condition that holds once the service can be used; tried over and over.
    #[schemars(with = "String")]
    pub ready: Spanned<String>,
    /// How long it may take to be ready, and to stop, in seconds.
    #[serde(default = "default_within")]
    #[schemars(with = "u64", range(min = 1, max = 600))]
    pub within: Spanned<u64>,
    /// The signal that asks it to stop.
    #[serde(default)]
    pub stop: StopSignal,
}

fn default_within() -> Spanned<u64> {
    Spanned::new(0..0, 20)
}

/// A signal that asks a service to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// SIGTERM
    #[default]
    Term,
    /// SIGINT
    Int,
    /// SIGQUIT
    Quit,
}

/// One thing that the tool is put to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Last part of the case's id: lower-case letters, digits and underscores.
    #[schemars(with = "String")]
    pub id: Spanned<String>,
    /// What a user relies on, in one line.
    pub title: String,
    /// The shell script. Its exit code, its facts and its output are the observation.
    #[schemars(with = "String")]
    pub script: Spanned<String>,
    /// How long the script may take, in seconds.
    #[serde(default = "default_limit")]
    #[schemars(with = "u64", range(min = 1, max = 3600))]
    pub limit: Spanned<u64>,
    /// Where `TMPDIR` and `HOME` are.
    #[serde(default)]
    pub tmpdir: Place,
    /// Users of the system, whom packages create, that the script needs (`run_as USER COMMAND…`). Where one is missing,
    /// or probe9p cannot become him, the case is skipped.
    #[serde(default)]
    pub users: Vec<String>,
    /// What the script needs of the machine besides. Where one is missing, the case is skipped.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Ids of the services that the script starts.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub services: Vec<Spanned<String>>,
    /// Whether it must have the volume to itself, because it changes what other cases see, such as the mode of `/`.
    #[serde(default)]
    pub alone: bool,
    /// Whether its time counts: that of its `timed` commands, or of all of it where it has none. On the volume it is
    /// then run several times, by turns there and in a local directory of the same machine; more than ten times slower
    /// over the whole interval is a guarantee lost. Under an emulated processor or in a user-mode Linux, which cannot tell, it
    /// is not measured.
    #[serde(default)]
    pub timed: bool,
    /// What must hold on both sides.
    #[serde(default)]
    pub expect: Expect,
    /// Ids of the remedies to try when it fails on the volume only.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub remedies: Vec<Spanned<String>>,
    /// Ids of the operation cases (`mmap.shared_write`) that it rests on.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Spanned<String>>,
}

impl Case {
    /// How long the script may take.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(*self.limit.get_ref())
    }
}

fn default_limit() -> Spanned<u64> {
    Spanned::new(0..0, 60)
}

/// What a script needs that no package brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// To mount file systems that are in files.
    LoopMount,
}

impl Need {
    /// Why the need is not met, or `None` when it is.
    pub fn unmet(self) -> Option<String> {
        let parts = match self {
            Need::LoopMount => [needs::Need::HostRoot, needs::Need::LoopDevice],
        };
        parts.into_iter().find_map(needs::Need::unmet)
    }
}

/// Which filesystem a directory is on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A local one, whatever is being tested.
    #[default]
    Native,
    /// That of the case's directory.
    Volume,
}

/// A change under which a failing case is run again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remedy {
    /// Stable id, `journal-mode-delete`: lower-case letters, digits and hyphens.
    #[schemars(with = "String")]
    pub id: Spanned<String>,
    /// The change, as one would do it.
    pub title: String,
    /// Variables for the script, which knows what to do with them.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The volume is mounted with this cache mode instead.
    #[serde(default)]
    pub cache: Option<CacheMode>,
    /// The case is run on this kind of volume instead.
    #[serde(default)]
    pub server: Option<LocalVolume>,
}

impl Remedy {
    /// The volume to take instead, when the change is that.
    pub fn other(&self) -> Option<Other> {
        let cache = self.cache.map(|mode| Other::Cache(mode.into()));
        cache.or(self.server.map(|kind| Other::Local(kind.into())))
    }
}

/// A volume that the VM runtime gives instead of a directory of the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LocalVolume {
    /// A tmpfs.
    Ram,
    /// An ext2 on a block device.
    Storage,
}

impl From<LocalVolume> for Local {
    fn from(kind: LocalVolume) -> Self {
        match kind {
            LocalVolume::Ram => Local::Ram,
            LocalVolume::Storage => Local::Storage,
        }
    }
}

/// The client's cache mode, as v9fs's `cache=` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// Reads ahead, writes through.
    Readahead,
    /// Pages of shared mappings are cached and written back.
    Mmap,
    /// Data and attributes are cached without any coherence.
    Loose,
    /// As loose, with a persistent local cache.
    Fscache,
}

impl From<CacheMode> for Cache {
    fn from(mode: CacheMode) -> Self {
        match mode {
            CacheMode::Readahead => Cache::Readahead,
            CacheMode::Mmap => Cache::Mmap,
            CacheMode::Loose => Cache::Loose,
            CacheMode::Fscache => Cache::Fscache,
        }
    }
}
