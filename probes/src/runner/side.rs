//! One execution of a case on one side: a fresh directory, a child process, an observation.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use results::{Observation, Outcome};
use server9p::stack::{
    CommandSpec, Conditions, Ended, Finished, SELF, StackError, World, server::Server,
};

use super::{hand::Hand, prepare::Mounts};
use crate::{
    ops::{
        self, host,
        needs::{self, AGAIN, CONDITIONS, Need},
        prepared::{MADE, PREPARED, Prepared},
    },
    tools::find,
};

/// The name of the side that is under test.
pub const VOLUME: &str = "volume";

/// A place where cases run: a world, and a directory in it for their fresh directories.
pub struct Side {
    /// As the child is told: `native` or `volume`.
    pub name: &'static str,
    /// Where the child runs.
    pub world: Arc<dyn World>,
    /// The directory as this process sees it.
    pub here: PathBuf,
    /// The same directory as the child sees it.
    pub there: PathBuf,
    /// Whom fresh directories belong to, when not this process's user.
    pub owner: Option<(u32, u32)>,
    /// Numbers the fresh directories.
    pub next: AtomicU64,
    /// A directory of the run, on a local file system that the child may write too: for the child's temporary
    /// files, so that nothing is left of them when the run is killed. A guest has its own.
    pub local: Option<PathBuf>,
    /// Leaves the directories of cases behind.
    pub keep: bool,
    /// Whether what this process makes `here` is `there` for the child. A file system of a guest's own is seen by
    /// nobody else, and all it holds is gone with it.
    pub shared: bool,
}

impl Side {
    /// A side whose fresh directories are made in `dir`, for the user who owns it, and which is the same
    /// directory for this process and for the child.
    pub fn new(name: &'static str, world: Arc<dyn World>, dir: &Path) -> Self {
        let owner = fs::metadata(dir).ok().map(|meta| (meta.uid(), meta.gid()));
        Side {
            name,
            world,
            here: dir.to_owned(),
            there: dir.to_owned(),
            owner: owner.filter(|(uid, _)| *uid != rustix::process::geteuid().as_raw()),
            next: AtomicU64::new(1),
            local: None,
            keep: false,
            shared: true,
        }
    }

    /// A tmpfs beside the volume in the same world, as the VM runtime mounts a ram volume beside others; nothing where
    /// the world's root is not its own, so that somebody else would see the mount.
    pub fn ram(&self) -> Option<Side> {
        if self.world.mounted().conditions != Conditions::Runtime {
            return None;
        }
        let mut there = self.there.clone().into_os_string();
        there.push("-ram");
        let script = "mkdir \"$1\" && mount -t tmpfs -o nodev,mode=0700,size=50% tmpfs \"$1\"";
        let words = ["sh", "-c", script, "sh"].map(OsString::from);
        let mounts = CommandSpec::new(words.into_iter().chain([there.clone()]), "/");
        let ended = self.world.run(&mounts).ok()?.ended;
        (ended == Ended::Code(0)).then(|| Side {
            there: there.into(),
            local: self.local.clone(),
            shared: false,
            ..Side::new(VOLUME, Arc::clone(&self.world), &self.here)
        })
    }

    /// Runs the case that `child_args` mean once and says what it saw.
    ///
    /// # Errors
    /// What [`World::run`] returns, and [`StackError::Unavailable`] when no fresh directory can be made.
    pub fn observe(
        &self,
        id: &str,
        child_args: &[OsString],
        limit: Duration,
    ) -> Result<Observation, StackError> {
        let (here, there) = self.named(id)?;
        let mut argv = vec![OsString::from(SELF)];
        argv.extend(child_args.iter().cloned());
        argv.extend([
            "--side".into(),
            self.name.into(),
            "--dir".into(),
            there.clone().into(),
        ]);
        let mut command = CommandSpec::new(argv, there.clone()).limit(limit);
        command.fresh = !self.shared;
        if self.name == VOLUME {
            command = command.env(CONDITIONS, conditions(&self.world.mounted().conditions));
        }
        if let Some(dir) = find::installed() {
            command = command.env(find::TOOLS_DIR, dir);
        }
        if let Some(path) = env::var_os("PATH") {
            command = command.env(find::TOOLS_PATH, path);
        }
        let temporary = self.temporary(&here)?;
        if let Some(dir) = &temporary {
            command = command.env("TMPDIR", dir);
        }
        let needs = ops::find(id).map_or(&[][..], |case| case.needs);
        let hand = self.hand_for(needs, &here, &there, limit, &mut command);
        let mut mounts = None;
        if self.name == VOLUME
            && let Some(what) = Prepared::of(needs)
        {
            let made = self
                .provider()
                .and_then(|server| Mounts::make(what, &here, self.owner, server));
            let said = made.as_ref().map_or_else(Clone::clone, |_| MADE.into());
            command = command.env(PREPARED, said);
            mounts = made.ok();
        }
        let finished = match needs.contains(&Need::Remount) {
            true => self.run_twice(command),
            false => self.world.run(&command),
        };
        drop((mounts, hand));
        if let Some(dir) = &temporary {
            let _ = fs::remove_dir_all(dir);
        }
        // What cannot be removed now goes with the run's directory; a volume that hangs is not touched.
        let hangs = matches!(
            &finished,
            Ok(Finished {
                ended: Ended::TimedOut,
                ..
            })
        );
        if self.shared && !self.keep && !hangs {
            let _ = fs::remove_dir_all(&here);
        }
        Ok(observation(&finished?, limit))
    }

    /// The process that serves the volume's directory, or why there is none of ours.
    fn provider(&self) -> Result<u32, String> {
        let server = self.world.server_process();
        server.ok_or_else(|| match self.shared {
            true => "somebody else serves this volume; run without --path".into(),
            false => "no server provides this volume; take another --server".into(),
        })
    }

    /// Gives a command the hand that a case with these needs asks things of, if any.
    pub(crate) fn hand_for(
        &self,
        needs: &[Need],
        here: &Path,
        there: &Path,
        limit: Duration,
        command: &mut CommandSpec,
    ) -> Option<Hand> {
        match () {
            () if needs.contains(&Need::HostView) => self.hand(here, command),
            () if needs.contains(&Need::SecondClient) => {
                self.second_client(here, there, limit, command)
            }
            () => None,
        }
    }

    /// Gives a command a hand on the host in its directory, as the provider has it; natively that is one's own.
    fn hand(&self, dir: &Path, command: &mut CommandSpec) -> Option<Hand> {
        let user = match self.name {
            // It acts as the user of each request, so its provider is root, to whom belongs what a guest's root makes.
            VOLUME if self.world.mounted().server == Server::Diod.name() => {
                self.provider().map(|_| None)
            }
            VOLUME => self.provider().map(|_| self.owner),
            _ => Ok(None),
        };
        let hand = user.and_then(|user| {
            Hand::start(dir, user).map_err(|error| format!("no process can be started ({error})"))
        });
        handed(hand, command)
    }

    /// Gives a command a hand in the same directory where another client has the volume; natively there is one file
    /// system, and any other process will do.
    fn second_client(
        &self,
        here: &Path,
        there: &Path,
        limit: Duration,
        command: &mut CommandSpec,
    ) -> Option<Hand> {
        if self.name != VOLUME {
            return self.hand(here, command);
        }
        let hand = self
            .world
            .twin()
            .and_then(|twin| {
                let inner = there.strip_prefix(self.world.path()).unwrap_or(there);
                let dir = twin.path().join(inner);
                let started = Hand::within(twin, dir, limit);
                started.map_err(|error| StackError::Unavailable(error.to_string()))
            })
            .map_err(|error| error.to_string());
        handed(hand, command)
    }

    /// Runs a case twice in its directory, and mounts the volume anew between: nothing else may run there. What the
    /// first run says counts when it does not end well.
    fn run_twice(&self, command: CommandSpec) -> Result<Finished, StackError> {
        if self.name == VOLUME && !self.shared {
            return self.world.run(&command);
        }
        let first = self.world.run(&command.clone().env(AGAIN, "no"))?;
        let went_well = last_line(&first.stdout).is_some_and(|seen| seen.outcome == Outcome::Ok);
        if !went_well {
            return Ok(first);
        }
        if self.name == VOLUME && !self.world.remount() {
            return self.world.run(&command);
        }
        self.world.run(&command.env(AGAIN, "yes"))
    }

    /// Makes a fresh directory, and names it as this process and as the side's world see it.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] when it cannot be made.
    pub fn fresh(&self, id: &str) -> Result<(PathBuf, PathBuf), StackError> {
        let (here, there) = self.named(id)?;
        if !self.shared {
            let made = self.world.run(&CommandSpec::new(
                [OsStr::new("mkdir"), there.as_os_str()],
                "/",
            ))?;
            if made.ended != Ended::Code(0) {
                let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
                return Err(unmade(&there, &io::Error::other(said)));
            }
        }
        Ok((here, there))
    }

    /// Names a fresh directory, and makes it where the child finds what this process makes.
    fn named(&self, id: &str) -> Result<(PathBuf, PathBuf), StackError> {
        let name = format!("{}-{id}", self.next.fetch_add(1, Ordering::Relaxed));
        let here = self.here.join(&name);
        if self.shared {
            self.make(&here).map_err(|error| unmade(&here, &error))?;
        }
        Ok((here, self.there.join(&name)))
    }

    /// Makes the directory for the temporary files of the child whose fresh directory is `here`.
    fn temporary(&self, here: &Path) -> Result<Option<PathBuf>, StackError> {
        let Some(local) = &self.local else {
            return Ok(None);
        };
        let name = here.file_name().unwrap_or_default().to_string_lossy();
        // Its number alone: sockets in it have short names only.
        let number = name.split('-').next().unwrap_or_default();
        let dir = local.join(format!("tmp-{}-{number}", self.name));
        self.make(&dir).map_err(|error| unmade(&dir, &error))?;
        Ok(Some(dir))
    }

    fn make(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)?;
        // Whatever the umask is: the server may run as another user.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        match self.owner {
            Some((uid, gid)) => chown(dir, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}

/// Tells a command of its hand, or why it has none.
fn handed(hand: Result<Hand, String>, command: &mut CommandSpec) -> Option<Hand> {
    let said = hand
        .as_ref()
        .map_or_else(Clone::clone, |_| host::HERE.into());
    command.env.push((host::HAND.into(), said.into()));
    let hand = hand.ok()?;
    command.line = Some(Arc::clone(&hand.line));
    Some(hand)
}

/// What [`CONDITIONS`] says of these.
fn conditions(of: &Conditions) -> String {
    match of {
        Conditions::Runtime => needs::RUNTIME.into(),
        Conditions::Ordinary => "run it on a volume of probe9p's own, with --profile golem".into(),
        Conditions::Refused(why) => why.clone(),
    }
}

fn unmade(dir: &Path, error: &io::Error) -> StackError {
    StackError::Unavailable(format!(
        "{} cannot be made for a case ({error}); free space there, or see that its parent can be written",
        dir.display()
    ))
}

/// What a child's end says: its own observation if it came to write one, else how it ended.
fn observation(finished: &Finished, limit: Duration) -> Observation {
    let duration_ms = finished.duration.as_secs_f64() * 1e3;
    let ended_by = |outcome, signal, detail: String| Observation {
        outcome,
        signal,
        detail: format!("{detail}{}", said(&finished.stderr)),
        duration_ms,
        ..Observation::default()
    };
    match finished.ended {
        Ended::TimedOut => ended_by(
            Outcome::Timeout,
            None,
            format!("did not end within {:.0} s", limit.as_secs_f64()),
        ),
        Ended::Crashed => ended_by(Outcome::Signal, None, "the kernel it ran on died".into()),
        Ended::Signal(number) => {
            let name = Signal::try_from(number)
                .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string());
            ended_by(
                Outcome::Signal,
                Some(name.clone()),
                format!("ended by {name}"),
            )
        }
        Ended::Code(code) => match last_line(&finished.stdout) {
            Some(observation) => Observation {
                // A child that measured nothing is measured from outside.
                duration_ms: if observation.duration_ms > 0.0 {
                    observation.duration_ms
                } else {
                    duration_ms
                },
                ..observation
            },
            None => Observation {
                exit_code: Some(code),
                ..ended_by(
                    Outcome::Error,
                    None,
                    format!("the case's process ended with code {code} and told nothing"),
                )
            },
        },
    }
}

/// The observation that a child printed last.
fn last_line(stdout: &[u8]) -> Option<Observation> {
    let line = stdout
        .trim_ascii_end()
        .rsplit(|&byte| byte == b'\n')
        .next()?;
    serde_json::from_slice(line).ok()
}

/// The last lines of a child's standard error, to follow a sentence.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    match lines.as_slice() {
        [] => String::new(),
        lines => format!(
            "; it said: {}",
            lines[lines.len().saturating_sub(3)..].join(" / ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(ended: Ended, stdout: &str, stderr: &str) -> Finished {
        Finished {
            ended,
            stdout: stdout.into(),
            stderr: stderr.into(),
            duration: Duration::from_millis(1500),
        }
    }

    #[test]
    fn a_child_s_own_observation_is_the_last_line() {
        let text = "noise\n{\"outcome\":\"ok\",\"duration_ms\":2.5}\n";
        let seen = observation(&finished(Ended::Code(0), text, "x"), Duration::from_secs(9));
        assert_eq!((seen.outcome, seen.duration_ms), (Outcome::Ok, 2.5));
    }

    #[test]
    fn a_child_that_tells_nothing_is_an_error_with_its_last_words() {
        let seen = observation(
            &finished(Ended::Code(101), "", "a\n\nb\n"),
            Duration::from_secs(9),
        );
        assert_eq!((seen.outcome, seen.exit_code), (Outcome::Error, Some(101)));
        assert_eq!(
            seen.detail,
            "the case's process ended with code 101 and told nothing; it said: a / b"
        );
    }

    #[test]
    fn signals_and_limits_count_even_when_something_was_printed() {
        let text = "{\"outcome\":\"ok\",\"duration_ms\":2.5}\n";
        let seen = observation(
            &finished(Ended::Signal(7), text, ""),
            Duration::from_secs(9),
        );
        assert_eq!(
            (seen.outcome, seen.signal.as_deref()),
            (Outcome::Signal, Some("SIGBUS"))
        );
        let seen = observation(&finished(Ended::TimedOut, text, ""), Duration::from_secs(9));
        assert_eq!(
            (seen.outcome, seen.detail.as_str()),
            (Outcome::Timeout, "did not end within 9 s")
        );
    }
}
