//! The servers that are measured beside each other, each a process of its own that serves the same directory.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use server9p::{
    profile::Profile,
    serve::{Listen, ServeOptions, serve},
    session::Limits,
};

use crate::echo;

/// How long a server may take until it can be connected to.
const START: Duration = Duration::from_secs(10);

/// The first argument under which a benchmark's program is one of the servers.
const SERVE: &str = "@bench-server";

/// What the echo is told that answers in batches.
const BATCHING: &str = "batching";

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Our own.
    Own(Profile),
    /// Debian's diod.
    Diod,
    /// rs9p's own example server.
    Unpfs,
    /// Answers with messages of the right sizes, each by itself, and looks at no file: what the sockets alone take.
    Echo,
    /// The same, but answers what came in together in one write.
    BatchingEcho,
}

/// A server that runs. It is stopped when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    socket: PathBuf,
    /// The name by which clients attach to the directory.
    pub aname: String,
}

impl Kind {
    /// Whether it looks at no file.
    pub fn is_echo(self) -> bool {
        matches!(self, Kind::Echo | Kind::BatchingEcho)
    }

    /// As the table names it.
    pub fn name(self) -> String {
        match self {
            Kind::Own(profile) => format!("server9p/{profile}"),
            Kind::Diod => "diod".into(),
            Kind::Unpfs => "unpfs".into(),
            Kind::Echo => "echo, a reply a write".into(),
            Kind::BatchingEcho => "echo, replies in batches".into(),
        }
    }

    /// Why it cannot be measured here, with what brings it.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Kind::Diod if program("diod").is_none() => {
                Some("diod is not installed; scripts/setup brings it")
            }
            Kind::Unpfs if program("unpfs").is_none() => {
                Some("unpfs is not installed; scripts/setup --peers brings it")
            }
            _ => None,
        }
    }

    /// Starts it on a directory; its socket is made in `scratch`.
    ///
    /// # Errors
    /// Where it cannot be started, or does not listen within ten seconds.
    pub fn start(self, dir: &Path, scratch: &Path) -> io::Result<Server> {
        let socket = scratch.join(format!(
            "{}.sock",
            self.name().replace([' ', '/', ','], "-")
        ));
        let mut command = match self {
            Kind::Own(profile) => own(&["serve".into(), profile.name().into()], dir, &socket)?,
            Kind::Echo => own(&["echo".into(), "single".into()], dir, &socket)?,
            Kind::BatchingEcho => own(&["echo".into(), BATCHING.into()], dir, &socket)?,
            Kind::Diod => {
                let mut command = Command::new(program("diod").ok_or(io::ErrorKind::NotFound)?);
                command
                    .args(["--foreground", "--no-auth", "--nwthreads", "8"])
                    .args([
                        "--config-file",
                        "/dev/null",
                        "--logdest",
                        "stderr",
                        "--listen",
                    ])
                    .arg(&socket)
                    .arg("--export")
                    .arg(dir);
                command
            }
            Kind::Unpfs => {
                let mut command = Command::new(program("unpfs").ok_or(io::ErrorKind::NotFound)?);
                command.arg(format!("unix!{}!0", socket.display())).arg(dir);
                command
            }
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let aname = match self {
            Kind::Diod => dir.display().to_string(),
            _ => "/".into(),
        };
        // unpfs adds the port to the path.
        let socket = if self == Kind::Unpfs {
            PathBuf::from(format!("{}:0", socket.display()))
        } else {
            socket
        };
        let server = Server {
            child,
            socket,
            aname,
        };
        let begun = Instant::now();
        while server.connect().is_err() {
            if begun.elapsed() > START {
                return Err(io::Error::other(format!("{} does not listen", self.name())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }
}

impl Server {
    /// A fresh connection.
    ///
    /// # Errors
    /// Where the server does not take it.
    pub fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.socket)
    }

    /// The most memory that its processes have had resident, KiB.
    pub fn peak_memory(&self) -> u64 {
        let of = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.processes().iter().filter_map(of).sum()
    }

    /// The processor time that its processes have taken until now.
    pub fn processor_time(&self) -> Duration {
        let of = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // proc(5): what follows the name begins with field 3; 14 and 15 are utime and stime.
            let (_, fields) = stat.rsplit_once(')')?;
            let ticks = |index| fields.split_whitespace().nth(index)?.parse::<u64>().ok();
            Some(ticks(11)? + ticks(12)?)
        };
        // Ticks of a hundredth of a second on every Linux that matters here.
        Duration::from_millis(10 * self.processes().iter().filter_map(of).sum::<u64>())
    }

    /// The process that was started and its children: a server that drops to another user leaves one behind.
    fn processes(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children =
            fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|child| child.parse().ok());
        std::iter::once(pid).chain(children).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that dropped to another user left its parent behind to remove the socket: that ends with it.
        for pid in self.processes() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

/// This program again, as a server.
fn own(what: &[OsString], dir: &Path, socket: &Path) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(SERVE).args(what).arg(dir).arg(socket);
    Ok(command)
}

/// Where a program is: on PATH, where Debian keeps daemons, or where `scripts/setup --peers` puts it.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .chain(cache.map(|cache| cache.join("probe9p/peers/bin")))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// Is the server that [`Kind::start`] started, where the arguments say so. A benchmark's `main` calls it first.
pub fn dispatch() -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [first, what, profile, dir, socket] = args.as_slice() else {
        return None;
    };
    if first != SERVE {
        return None;
    }
    let served = match profile.to_string_lossy().parse::<Profile>() {
        _ if what == "echo" => {
            echo::serve(Path::new(socket), profile == BATCHING).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
        Ok(profile) => serve(ServeOptions {
            dir: dir.into(),
            listen: vec![Listen::Unix(socket.into())],
            profile,
            run_as: None,
            read_only: false,
            trace: None,
            blocks_for: 0,
            counters: None,
            limits: Limits::default(),
        })
        .map_err(|error| error.to_string()),
    };
    Some(served.map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    ))
}
