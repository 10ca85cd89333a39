//! Any command of the user's, natively and on a volume, compared: `probe9p exec`.
//!
//! [`run()`] gives the command a fresh directory on one side, fills it with the seed ([`seed`]), runs the command,
//! and lists what it made of the directory ([`tree`]). [`compare`] makes two such runs the observations from which
//! the usual rules make a verdict, [`trace`] looks with strace for the calls that failed on the volume alone, and
//! [`remedies`] runs the command on other volumes.
//! Seed, tree and trace are children in the volume's own world, where its files are as the command sees them.

mod compare;
mod remedies;
mod seed;
mod trace;
mod tree;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use server9p::stack::{CommandSpec, Ended, Finished, SELF, StackError};

pub use compare::{alone, lines_alike, observations};
pub use remedies::try_all;
pub use trace::failed_calls;
pub use tree::Tree;

use crate::{runner::side::Side, tools::find};

/// How long filling a directory, or listing it, may take.
const CHORES: Duration = Duration::from_secs(600);

/// A command to run, and what its directory holds when it begins.
#[derive(Debug, Clone)]
pub struct Request {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// A directory whose content is copied in first.
    pub seed: Option<PathBuf>,
    /// After this long the command and all its children are killed.
    pub limit: Duration,
}

/// What came of a command on one side.
#[derive(Debug, Clone)]
pub enum Ran {
    /// It ran, and left this tree.
    Ended {
        /// How it ended, and what it wrote; its directory's name is replaced by `$PROBE9P_DIR` where outputs are
        /// compared.
        finished: Finished,
        /// The directory that it ran in, as it saw it.
        dir: PathBuf,
        /// What the directory then held; nothing after a hang, because listing would hang too.
        tree: Option<Tree>,
    },
    /// The seed could not be copied in.
    NotSeeded(seed::Refused),
}

/// The same command with its program's whole path, where that is found by this user's `PATH` alone, or from this
/// process's directory: guests, and commands under the VM runtime's conditions, look where programs usually are.
/// With a seed a relative path means what the seed brings.
pub fn located(mut argv: Vec<OsString>, seeded: bool) -> Vec<OsString> {
    let usual = |program: &OsString| {
        std::env::split_paths(find::DEFAULT_PATH).any(|dir| dir.join(program).exists())
    };
    if let Some(program) = argv.first_mut()
        && !(seeded && program.as_encoded_bytes().contains(&b'/'))
        && !usual(program)
        && let Some(path) = find::path_of(program)
        && let Ok(path) = std::path::absolute(path)
    {
        *program = path.into();
    }
    argv
}

/// Does what `args` ask for when that is a child of this module.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let (name, rest) = args.split_first()?;
    match name.to_str()? {
        "@exec-seed" => Some(seed::main(rest)),
        "@exec-tree" => Some(tree::main(rest)),
        "@exec-trace" => Some(trace::main(rest)),
        _ => None,
    }
}

/// Runs a command once on one side, in a fresh directory that is removed afterwards.
///
/// # Errors
/// What [`server9p::stack::World::run`] returns, and [`StackError::Unavailable`] when a child of ours fails.
pub fn run(side: &Side, request: &Request) -> Result<Ran, StackError> {
    let (here, there) = side.fresh("exec")?;
    let ran = in_directory(side, request, &there);
    let hangs = matches!(&ran, Ok(Ran::Ended { tree: None, .. }));
    if !side.keep && !hangs {
        // What cannot be removed now goes with the run's directory.
        let _ = fs::remove_dir_all(&here);
    }
    ran
}

fn in_directory(side: &Side, request: &Request, dir: &Path) -> Result<Ran, StackError> {
    if let Some(refused) = fill(side, request, dir)? {
        return Ok(Ran::NotSeeded(refused));
    }
    let command = CommandSpec::new(request.argv.clone(), dir)
        .env("PROBE9P_DIR", dir)
        .limit(request.limit);
    let finished = side.world.run(&command)?;
    let tree = match finished.ended {
        Ended::TimedOut | Ended::Crashed => None,
        Ended::Code(_) | Ended::Signal(_) => Some(tree::list(side, dir)?),
    };
    Ok(Ran::Ended {
        finished,
        dir: dir.to_owned(),
        tree,
    })
}

/// Copies the seed into a directory, if there is one; says what was refused.
fn fill(side: &Side, request: &Request, dir: &Path) -> Result<Option<seed::Refused>, StackError> {
    match &request.seed {
        Some(seed) => child(side, dir, "@exec-seed", &[seed.into(), dir.into()]),
        None => Ok(None),
    }
}

/// Runs a child of this module in the side's world, and reads what it prints.
fn child<T: serde::de::DeserializeOwned>(
    side: &Side,
    dir: &Path,
    name: &str,
    args: &[OsString],
) -> Result<T, StackError> {
    let argv = [SELF.into(), OsString::from(name)]
        .into_iter()
        .chain(args.iter().cloned());
    let finished = side.world.run(
        &CommandSpec::new(argv, dir)
            .env("PROBE9P_DIR", dir)
            .limit(CHORES),
    )?;
    serde_json::from_slice(&finished.stdout).map_err(|_| {
        StackError::Unavailable(format!(
            "the child {name} on the {} side ended ({:?}) without a result; it said: {}",
            side.name,
            finished.ended,
            String::from_utf8_lossy(&finished.stderr).trim()
        ))
    })
}

/// Prints a child's result.
fn tell(result: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string(result) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("The result cannot be written: {error}.");
            ExitCode::from(70)
        }
    }
}
