//! Services: programs that run beside a script, which starts, stops and kills them by name.
//!
//! `start`, `stop` and `kill9` are `probe9p @service`, which scripts find as `probe9p-service`. It leaves the service
//! running in a session of its own and notes its process; the child that runs the script is the subreaper of both,
//! so that a service ends with its case even when nobody stops it, and takes its status so that a killed service is
//! really gone and not a zombie, whom many programs take for a living one.

use std::{
    ffi::{CString, OsString},
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Gid, Pid, Uid, User, getgrouplist},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, pidfd_open},
};

use super::{
    recipe::{Recipe, Service, StopSignal},
    script,
};

/// The name by which scripts find this program's `@service`.
pub const PROGRAM: &str = "probe9p-service";
/// How long to wait between the first two looks at whether a service is ready, and at most between two: a look costs
/// a guest's slow processor what the service needs of it.
const BETWEEN: [Duration; 2] = [Duration::from_millis(25), Duration::from_millis(400)];
/// How long services have to stop by themselves when their case has ended.
const FAREWELL: Duration = Duration::from_secs(5);
/// How many lines of a service's output a failure shows.
const LAST_WORDS: usize = 6;

/// The helper's command line.
#[derive(Debug, Parser)]
#[command(name = "@service")]
struct Arguments {
    /// The recipe's name, or the path of one.
    #[arg(long)]
    recipe: OsString,
    /// The last part of the case's id.
    #[arg(long)]
    case: String,
    /// The local directory of the case's run.
    #[arg(long)]
    scratch: PathBuf,
    /// Multiplies how long services may take to be ready and to stop.
    #[arg(long, default_value_t = 1.0)]
    timeout_scale: f64,
    action: Action,
    /// The service; nothing for `end`.
    #[arg(default_value = "")]
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    Start,
    Stop,
    Kill9,
    /// What [`stop_all`] does.
    End,
}

/// Runs the helper; `arguments` are those after its name.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let name = OsString::from("@service");
    let arguments = match Arguments::try_parse_from(std::iter::once(name).chain(arguments)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match act(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &Arguments) -> Result<(), String> {
    let recipe = super::recipe_named(&arguments.recipe).map_err(|error| error.to_string())?;
    if arguments.action == Action::End {
        stop_all(&recipe, &arguments.scratch);
        return Ok(());
    }
    let name = &arguments.name;
    let case = recipe
        .cases
        .get_ref()
        .iter()
        .find(|case| case.id.get_ref() == &arguments.case);
    let listed = case.is_some_and(|case| case.services.iter().any(|known| known.get_ref() == name));
    let service = recipe
        .services
        .iter()
        .find(|known| known.id.get_ref() == name);
    let Some(service) = service.filter(|_| listed) else {
        return Err(format!(
            "the case {} has no service {name} in its `services`",
            arguments.case
        ));
    };
    let running = Running {
        timeout_scale: arguments.timeout_scale,
        ..Running::new(&arguments.scratch, service)
    };
    match arguments.action {
        Action::Start => running.start(&recipe),
        Action::Stop => running.stop(),
        Action::Kill9 => running.kill9(),
        Action::End => Ok(()),
    }
}

/// Asks every service of the recipe that still runs to stop, and waits for a while.
pub fn stop_all(recipe: &Recipe, scratch: &Path) {
    let mut asked = Vec::new();
    for service in &recipe.services {
        let running = Running::new(scratch, service);
        if let Ok(pid) = running.pid() {
            let _ = kill(pid, signal(service.stop));
            asked.push(pid);
        }
    }
    let deadline = Instant::now() + FAREWELL;
    for pid in asked {
        wait_for_end(pid, deadline.saturating_duration_since(Instant::now()));
    }
}

/// The user that a service or a command is to run as.
pub fn user(name: &str) -> Result<User, String> {
    let found = match name.parse() {
        Ok(uid) => {
            // A number need not be anybody's.
            let found = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            return Ok(found.unwrap_or_else(|| User {
                name: name.to_owned(),
                passwd: CString::default(),
                uid: Uid::from_raw(uid),
                gid: Gid::from_raw(uid),
                gecos: CString::default(),
                dir: "/".into(),
                shell: "/bin/sh".into(),
            }));
        }
        Err(_) => User::from_name(name),
    };
    match found {
        Ok(Some(user)) => Ok(user),
        _ => Err(format!("there is no user {name}")),
    }
}

fn signal(stop: StopSignal) -> Signal {
    match stop {
        StopSignal::Term => Signal::SIGTERM,
        StopSignal::Int => Signal::SIGINT,
        StopSignal::Quit => Signal::SIGQUIT,
    }
}

/// A service of one case's run.
struct Running<'a> {
    service: &'a Service,
    noted: PathBuf,
    log: PathBuf,
    timeout_scale: f64,
}

impl<'a> Running<'a> {
    fn new(scratch: &Path, service: &'a Service) -> Self {
        let file = |end: &str| scratch.join(format!("service-{}.{end}", service.id.get_ref()));
        Running {
            service,
            noted: file("pid"),
            log: file("log"),
            timeout_scale: 1.0,
        }
    }

    fn name(&self) -> &str {
        self.service.id.get_ref()
    }

    fn within(&self) -> Duration {
        Duration::from_secs(*self.service.within.get_ref()).mul_f64(self.timeout_scale)
    }

    /// Its process, if it was started and not stopped.
    fn pid(&self) -> Result<Pid, String> {
        let noted = fs::read_to_string(&self.noted).ok();
        let pid = noted.and_then(|text| text.trim().parse().ok());
        pid.map(Pid::from_raw)
            .ok_or_else(|| format!("the service {} was not started", self.name()))
    }

    fn start(&self, recipe: &Recipe) -> Result<(), String> {
        if self.pid().is_ok_and(|pid| kill(pid, None).is_ok()) {
            return Err(format!("the service {} runs already", self.name()));
        }
        let text = [
            script::HELPERS,
            &recipe.prelude,
            self.service.command.get_ref(),
        ]
        .join("\n");
        let ready = [
            script::HELPERS,
            &recipe.prelude,
            self.service.ready.get_ref(),
        ]
        .join("\n");
        let pid = self.spawn(&text)?;
        fs::write(&self.noted, pid.to_string())
            .map_err(|error| format!("{} cannot be written: {error}", self.noted.display()))?;
        let deadline = Instant::now() + self.within();
        let [mut between, longest] = BETWEEN;
        loop {
            let held = Command::new("/bin/sh")
                .args(["-c", &ready])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if held.is_ok_and(|status| status.success()) {
                return Ok(());
            }
            if wait_for_end(pid, between) {
                let _ = fs::remove_file(&self.noted);
                return Err(format!(
                    "the service {} ended before it was ready{}",
                    self.name(),
                    self.last_words()
                ));
            }
            between = longest.min(between * 2);
            if Instant::now() >= deadline {
                return Err(format!(
                    "the service {} was not ready within {} s{}",
                    self.name(),
                    self.within().as_secs(),
                    self.last_words()
                ));
            }
        }
    }

    /// Starts the shell that becomes the service, in a session of its own.
    fn spawn(&self, text: &str) -> Result<Pid, String> {
        let failed = |error: io::Error| {
            let user = self
                .service
                .user
                .as_deref()
                .map_or(String::new(), |user| format!(" as {user}"));
            format!(
                "the service {} cannot be started{user}: {error}",
                self.name()
            )
        };
        let log = File::options()
            .append(true)
            .create(true)
            .open(&self.log)
            .map_err(failed)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", text])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log);
        let user = match self.service.user.as_deref() {
            None => None,
            Some(name) => match name.strip_prefix('$') {
                None => Some(user(name)?),
                Some(variable) => match std::env::var(variable) {
                    Ok(name) if !name.is_empty() => Some(user(&name)?),
                    _ => None,
                },
            },
        };
        let user = user.map(|user| {
            let name = CString::new(user.name.as_str()).unwrap_or_default();
            let groups = getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
            (user.uid, user.gid, groups)
        });
        // SAFETY: between fork and exec only system calls are made, on values that are there already.
        unsafe {
            command.pre_exec(move || {
                nix::unistd::setsid()?;
                if let Some((uid, gid, groups)) = &user {
                    nix::unistd::setgroups(groups)?;
                    nix::unistd::setresgid(*gid, *gid, *gid)?;
                    nix::unistd::setresuid(*uid, *uid, *uid)?;
                }
                Ok(())
            });
        }
        let child = command.spawn().map_err(failed)?;
        Ok(Pid::from_raw(child.id() as i32))
    }

    fn stop(&self) -> Result<(), String> {
        let pid = self.pid()?;
        if kill(pid, signal(self.service.stop)).is_err() {
            let _ = fs::remove_file(&self.noted);
            return Err(format!(
                "the service {} had ended before it was stopped{}",
                self.name(),
                self.last_words()
            ));
        }
        if !wait_for_end(pid, self.within()) {
            return Err(format!(
                "the service {} did not stop within {} s{}",
                self.name(),
                self.within().as_secs(),
                self.last_words()
            ));
        }
        let _ = fs::remove_file(&self.noted);
        Ok(())
    }

    fn kill9(&self) -> Result<(), String> {
        let pid = self.pid()?;
        let below = script::descendants_of(pid);
        kill(pid, Signal::SIGKILL).map_err(|error| {
            format!(
                "the service {} cannot be killed: {error}{}",
                self.name(),
                self.last_words()
            )
        })?;
        for child in &below {
            // One that ended by itself, with its parent, is no error.
            let _ = kill(*child, Signal::SIGKILL);
        }
        let gone = [pid]
            .iter()
            .chain(&below)
            .all(|pid| wait_for_end(*pid, self.within()));
        let _ = fs::remove_file(&self.noted);
        if gone {
            Ok(())
        } else {
            Err(format!("the service {} outlived its kill", self.name()))
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        if lines.is_empty() {
            return String::new();
        }
        format!(
            ": {}",
            lines[lines.len().saturating_sub(LAST_WORDS)..].join(" / ")
        )
    }
}

/// Waits until a process has ended; whether it has. One that was reaped has.
fn wait_for_end(pid: Pid, limit: Duration) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(pid.as_raw()) else {
        return true;
    };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs() as _,
            tv_nsec: left.subsec_nanos() as _,
        };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}
