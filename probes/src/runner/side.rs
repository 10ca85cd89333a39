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

use results::{Observation, Outcome};
use server9p::stack::{
    CommandSpec, Conditions, Ended, Finished, SELF, StackError, World, server::Server,
};

use super::{
    hand::Hand,
    observed::{last_line, observation},
    prepare::Mounts,
};
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

/// What came of one execution.
pub struct Seen {
    /// What the case saw.
    pub observation: Observation,
    /// Its directory, which is gone, as it saw it.
    pub there: PathBuf,
    /// What its tracer wrote, or why there is nothing; `None` where it had none.
    pub trace: Option<Result<Vec<u8>, String>>,
}

impl Seen {
    /// What was seen of a case that left nothing else.
    pub fn without_trace(observation: Observation) -> Seen {
        Seen {
            observation,
            there: PathBuf::new(),
            trace: None,
        }
    }
}

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
        let seen = self.attempt(id, child_args, limit, None)?;
        Ok(seen.observation)
    }

    /// The same, with a tracer of these words ([`CommandSpec::tracer`]).
    ///
    /// # Errors
    /// Those of [`Side::observe`].
    pub fn attempt(
        &self,
        id: &str,
        child_args: &[OsString],
        limit: Duration,
        tracer: Option<Vec<OsString>>,
    ) -> Result<Seen, StackError> {
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
        command.tracer = tracer;
        if self.name == VOLUME {
            command = command.env(CONDITIONS, conditions(&self.world.mounted().conditions));
        }
        if let Some(dir) = find::installed() {
            command = command.env(find::TOOLS_DIR, dir);
        }
        if let Some(path) = env::var_os("PATH") {
            command = command.env(find::TOOLS_PATH, path);
        }
        let temporary = self.temporary()?;
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
        let finished = finished?;
        Ok(Seen {
            observation: observation(&finished, limit),
            there,
            trace: finished.trace,
        })
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
        let second = self.world.run(&command.env(AGAIN, "yes"))?;
        let both = first.trace.zip(second.trace).map(|traces| match traces {
            (Ok(first), Ok(second)) => Ok([first, second].concat()),
            (Err(why), _) | (_, Err(why)) => Err(why),
        });
        Ok(Finished {
            trace: both,
            ..second
        })
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

    /// Makes a directory for a child's temporary files.
    fn temporary(&self) -> Result<Option<PathBuf>, StackError> {
        let Some(local) = &self.local else {
            return Ok(None);
        };
        // Other sides have theirs in the same place. A number alone: sockets in it have short names only.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
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
