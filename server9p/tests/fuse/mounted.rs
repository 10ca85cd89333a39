//! A served and mounted directory that lasts as long as its guard.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, getegid, geteuid, kill_process};
use server9p::{
    export::Export,
    profile::Profile,
    session::{self, Counters, Limits, Shared},
    stack::{
        Cache, Series,
        fuse::{self, FuseOptions, MountBy, helper::FuseConfig},
        process::{inherit, json},
    },
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How a test wants its volume.
pub struct Wish {
    pub profile: &'static str,
    pub series: Series,
    pub cache: Cache,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish {
            profile: "posix",
            series: Series::Linux6_1,
            cache: Cache::None,
        }
    }
}

/// A volume: what is written in `mnt` goes to `export`.
pub struct Volume {
    server: Child,
    daemon: Child,
    dir: TempDir,
    word: serde_json::Value,
}

/// Starts a server for `export` on the other end of a socket.
fn serve(profile: &str, export: &Path, socket: UnixStream) -> Child {
    let user = format!("{}:{}", geteuid().as_raw(), getegid().as_raw());
    let mut command = Command::new(env!("CARGO_BIN_EXE_server9p"));
    command
        .args(["--profile", profile, "--run-as", &user])
        .arg("--listen")
        .arg(format!("fd:{}", socket.as_raw_fd()))
        .arg(export)
        .stdout(Stdio::null());
    inherit(&mut command, &[socket.as_fd()], false);
    command.spawn().unwrap()
}

/// Who can mount here.
fn mounter() -> MountBy {
    if geteuid().is_root() {
        MountBy::Syscall
    } else {
        MountBy::Fusermount
    }
}

/// A volume that this process serves, so that a test can look at its 9P session. Only other processes may use it:
/// one that waits for itself cannot be ended.
pub struct Inside {
    pub mount: fuse::ServedMount,
    server: Child,
    _dir: TempDir,
}

impl Inside {
    pub fn new(cache: Cache) -> Option<Inside> {
        let dir = tempfile::tempdir().unwrap();
        let (export, mnt) = (dir.path().join("export"), dir.path().join("mnt"));
        fs::create_dir(&export).unwrap();
        fs::create_dir(&mnt).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut server = serve("posix", &export, theirs);
        let options = FuseOptions {
            cache,
            by: mounter(),
            allow_other: geteuid().is_root(),
            ..FuseOptions::default()
        };
        match fuse::mount(ours.into(), &mnt, &options) {
            Ok(mount) => Some(Inside {
                mount: mount.spawn().unwrap(),
                server,
                _dir: dir,
            }),
            Err(error) => {
                eprintln!("skipped: FUSE cannot be mounted here: {error}");
                let _ = server.kill();
                let _ = server.wait();
                None
            }
        }
    }

    /// Runs a shell script in the mount; it must succeed.
    pub fn run(&self, script: &str) {
        let done = Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.mount.path())
            .status()
            .unwrap();
        assert!(done.success(), "{script}");
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // The mount goes first, by its own guard, or its daemon would say that the server was lost.
        self.mount.unmount();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A volume whose server and client are threads of this process, with the server's counters. As with [`Inside`], only
/// other processes may use it.
pub struct Counted {
    pub mount: fuse::ServedMount,
    pub counters: Counters,
    pub export: PathBuf,
    _runtime: Runtime,
    _dir: TempDir,
}

impl Counted {
    pub fn new(profile: Profile) -> Option<Counted> {
        let dir = tempfile::tempdir().unwrap();
        let [export, mnt] = ["export", "mnt"].map(|name| dir.path().join(name));
        fs::create_dir(&export).unwrap();
        fs::create_dir(&mnt).unwrap();
        let counters = Counters::new().unwrap();
        let shared = Shared::counted(
            Export::open(&export, profile, false).unwrap(),
            Limits::default(),
            None,
            Some(counters.clone()),
        );
        let runtime = Runtime::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        runtime.spawn(session::serve(theirs.into(), shared));
        let options = FuseOptions {
            by: mounter(),
            allow_other: geteuid().is_root(),
            ..FuseOptions::default()
        };
        match fuse::mount(ours.into(), &mnt, &options) {
            Ok(mount) => Some(Counted {
                mount: mount.spawn().unwrap(),
                counters,
                export,
                _runtime: runtime,
                _dir: dir,
            }),
            Err(error) => {
                eprintln!("skipped: FUSE cannot be mounted here: {error}");
                None
            }
        }
    }

    /// Runs a program in a directory of the mount, without output; how many requests the server got meanwhile.
    pub fn requests_of(&self, command: &mut Command, dir: &str) -> u64 {
        let before = self.counters.read();
        let done = command
            .current_dir(self.mount.path().join(dir))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success(), "{command:?}");
        self.counters.read().since(before).requests
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.mount.unmount();
    }
}

impl Volume {
    /// Mounts, or tells why it cannot be done here.
    pub fn mount(wish: &Wish) -> Option<Volume> {
        if let Err(error) = fs::File::options().read(true).write(true).open("/dev/fuse") {
            eprintln!("skipped: /dev/fuse cannot be opened here ({error})");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for name in ["export", "native", "mnt"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (ready, told) = rustix::pipe::pipe().unwrap();
        let server = serve(wish.profile, &dir.path().join("export"), theirs);
        let config = FuseConfig {
            calls: None,
            socket: ours.as_raw_fd(),
            ready: told.as_raw_fd(),
            mountpoint: dir.path().join("mnt"),
            aname: String::new(),
            series: wish.series,
            cache: wish.cache,
            msize: 512_000,
            read_only: false,
            by: mounter(),
            owner_only: !geteuid().is_root(),
            shares_memory: true,
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_server9p"));
        command
            .arg("@fuse")
            .arg(json(&config))
            .stdout(Stdio::null());
        inherit(&mut command, &[ours.as_fd(), told.as_fd()], false);
        let daemon = command.spawn().unwrap();
        drop((ours, told));
        let word = first_line(ready);
        let volume = Volume {
            server,
            daemon,
            dir,
            word: serde_json::from_str(&word).unwrap_or_default(),
        };
        if volume.word["options"].is_null() {
            eprintln!("skipped: FUSE cannot be mounted here: {word}");
            return None;
        }
        Some(volume)
    }

    /// Why files that are open for reading alone are read through the page cache, as the daemon says.
    pub fn why_page_cache(&self) -> Option<&str> {
        self.word["why_page_cache"].as_str()
    }

    /// A volume as most tests want it.
    pub fn new() -> Option<Volume> {
        Volume::mount(&Wish::default())
    }

    /// The mount.
    pub fn mnt(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// What is served, as the host sees it.
    pub fn export(&self) -> PathBuf {
        self.dir.path().join("export")
    }

    /// A plain directory on the same filesystem.
    pub fn native(&self) -> PathBuf {
        self.dir.path().join("native")
    }

    /// The server's process id.
    pub fn server(&self) -> u32 {
        self.server.id()
    }

    /// Ends the server, as a crash would.
    pub fn kill_server(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Waits for the FUSE daemon to end by itself; says whether it ended well.
    pub fn daemon_succeeds(&mut self) -> bool {
        self.daemon.wait().unwrap().success()
    }
}

fn first_line(from: OwnedFd) -> String {
    let mut line = String::new();
    BufReader::new(fs::File::from(from))
        .read_line(&mut line)
        .unwrap();
    line
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.daemon.try_wait().ok().flatten().is_none() {
            let daemon = Pid::from_raw(self.daemon.id() as i32).unwrap();
            // It unmounts.
            let _ = kill_process(daemon, Signal::TERM);
        }
        let _ = self.daemon.wait();
        let _ = self.server.kill();
        let _ = self.server.wait();
        if is_mounted(&self.mnt()) {
            let _ = rustix::mount::unmount(self.mnt(), rustix::mount::UnmountFlags::DETACH);
            panic!("the daemon left its mount at {}", self.mnt().display());
        }
    }
}

/// Whether something is mounted there, without asking the mount itself.
pub fn is_mounted(path: &Path) -> bool {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .any(|line| line.split(' ').nth(4) == path.to_str())
}
