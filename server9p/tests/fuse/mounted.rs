//! A served and mounted directory that lasts as long as its guard.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::{
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    process::{Pid, Signal, getegid, geteuid, kill_process},
};
use server9p::stack::{
    Cache, Series,
    fuse::{MountBy, helper::FuseConfig},
};
use tempfile::TempDir;

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
}

/// Leaves a descriptor open in programs that are started.
fn inherit(fd: &impl std::os::fd::AsFd) {
    let flags = fcntl_getfd(fd).unwrap();
    fcntl_setfd(fd, flags.difference(FdFlags::CLOEXEC)).unwrap();
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
        inherit(&ours);
        inherit(&theirs);
        inherit(&told);
        let user = format!("{}:{}", geteuid().as_raw(), getegid().as_raw());
        let program = env!("CARGO_BIN_EXE_server9p");
        let server = Command::new(program)
            .args(["--profile", wish.profile, "--run-as", &user])
            .arg("--listen")
            .arg(format!("fd:{}", theirs.as_raw_fd()))
            .arg(dir.path().join("export"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        drop(theirs);
        let config = FuseConfig {
            socket: ours.as_raw_fd(),
            ready: told.as_raw_fd(),
            mountpoint: dir.path().join("mnt"),
            aname: String::new(),
            series: wish.series,
            cache: wish.cache,
            msize: 512_000,
            read_only: false,
            by: if geteuid().is_root() {
                MountBy::Syscall
            } else {
                MountBy::Fusermount
            },
            owner_only: !geteuid().is_root(),
        };
        let daemon = Command::new(program)
            .arg("@fuse")
            .arg(serde_json::to_string(&config).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        drop((ours, told));
        let volume = Volume {
            server,
            daemon,
            dir,
        };
        let word = first_line(ready);
        if !word.contains("\"options\"") {
            eprintln!("skipped: FUSE cannot be mounted here: {word}");
            return None;
        }
        Some(volume)
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
