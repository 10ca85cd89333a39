//! What a case finds in its directory, made below the volume's server before it starts: file systems that fill up, that
//! have a quota, or that hold more names than a volume's client could make in a case's time.
//!
//! [`Prepared::mount`] makes it in the mount namespace of whoever calls: the runner, where the server runs
//! (`runner::prepare`), and natively the case's own process ([`with`]). On the volume they are ordinary directories.

use std::{
    ffi::{CStr, CString},
    fs::{self, File},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    fs::{FileType, MemfdFlags, Mode, OFlags},
    mount::{MountFlags, MountPropagationFlags, mount},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{
    needs::Need,
    process::fork,
    stop::{Call, CaseOutcome, Stop},
};

/// The variable of the volume's child that says whether its fresh directory holds what it needs: [`MADE`], or why not.
/// Natively a case makes it itself.
pub const PREPARED: &str = "PROBE9P_PREPARED";
/// What it says when it does.
pub const MADE: &str = "made";

/// The names of the small file systems.
pub const SMALL: [&str; 2] = ["small-a", "small-b"];
/// The name of the directory of many entries.
pub const MANY: &str = "many";
/// How many entries it has: `entry-000000` and so on.
pub const ENTRIES: usize = 100_000;
/// The name of the file system with a quota, in which everybody may write.
pub const QUOTA: &str = "quota";
/// How much a user may have there, in bytes.
pub const QUOTA_BYTES: u64 = 2 << 20;

/// How many files and directories a user may have where these are limited.
pub const QUOTA_FILES: usize = 20;

/// What is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// Two tmpfs of 1 MiB, each for 31 files besides its root.
    Small,
    /// A directory of [`ENTRIES`].
    Many,
    /// A file system of which a user may have [`QUOTA_BYTES`].
    Quota,
    /// A file system in which a user may have [`QUOTA_FILES`].
    FileQuota,
}

impl Prepared {
    /// What a case with these needs finds.
    pub fn of(needs: &[Need]) -> Option<Prepared> {
        needs.iter().find_map(|need| match need {
            Need::SmallFilesystems => Some(Prepared::Small),
            Need::ManyEntries => Some(Prepared::Many),
            Need::Quota => Some(Prepared::Quota),
            Need::FileQuota => Some(Prepared::FileQuota),
            _ => None,
        })
    }

    /// The directories that it is mounted on.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Prepared::Small => &SMALL,
            Prepared::Many => &[MANY],
            Prepared::Quota | Prepared::FileQuota => &[QUOTA],
        }
    }

    /// Mounts it on its directories below `dir`, which exist, for `owner`, in the mount namespace of this thread. Programs
    /// run in `home`, where that is another mount namespace: mkfs.btrfs wants its own process in /proc.
    ///
    /// # Errors
    /// A sentence: what this machine cannot, and what would make it able to.
    pub fn mount(
        self,
        dir: &Path,
        owner: Option<(u32, u32)>,
        home: Option<BorrowedFd>,
    ) -> Result<(), String> {
        for name in self.names() {
            let at = dir.join(name);
            match self {
                Prepared::Small => tmpfs(&at, "mode=0755,size=1m,nr_inodes=32", owner)
                    .map_err(|error| cannot("mount a tmpfs on", &at, error))?,
                Prepared::Many => {
                    let options = format!("mode=0755,size=256m,nr_inodes={}", ENTRIES + 10);
                    tmpfs(&at, &options, owner)
                        .map_err(|error| cannot("mount a tmpfs on", &at, error))?;
                    fill(&at).map_err(|error| cannot("make 100,000 files in", &at, error))?;
                }
                Prepared::Quota => with_quota(&at, owner, home)?,
                Prepared::FileQuota => with_file_quota(&at, owner)?,
            }
        }
        Ok(())
    }

    /// Removes what is in its directories below `dir`, as far as that goes; what the case did not make stays.
    fn empty(self, dir: &Path) {
        if self == Prepared::Many {
            return;
        }
        for name in self.names() {
            for entry in fs::read_dir(dir.join(name)).into_iter().flatten().flatten() {
                let path = entry.path();
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
    }
}

fn cannot(what: &str, at: &Path, error: impl std::fmt::Display) -> String {
    format!(
        "probe9p cannot {what} {} ({error}); run it as root",
        at.display()
    )
}

const FLAGS: MountFlags = MountFlags::NODEV.union(MountFlags::NOSUID);

fn tmpfs(at: &Path, options: &str, owner: Option<(u32, u32)>) -> rustix::io::Result<()> {
    let owner = owner.map_or_else(String::new, |(uid, gid)| format!(",uid={uid},gid={gid}"));
    let options =
        CString::new(format!("{options}{owner}")).map_err(|_| rustix::io::Errno::INVAL)?;
    mount("tmpfs", at, "tmpfs", FLAGS, options.as_c_str())
}

fn fill(at: &Path) -> rustix::io::Result<()> {
    let dir = rustix::fs::open(at, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let mode = Mode::from_raw_mode(0o644);
    // Counted up in place: making a string for each takes as long as making the file.
    let mut name = *b"entry-000000\0";
    for _ in 0..ENTRIES {
        let c = CStr::from_bytes_until_nul(&name).map_err(|_| rustix::io::Errno::INVAL)?;
        rustix::fs::mknodat(&dir, c, FileType::RegularFile, mode, 0)?;
        for digit in name[6..12].iter_mut().rev() {
            *digit += 1;
            if *digit <= b'9' {
                break;
            }
            *digit = b'0';
        }
    }
    Ok(())
}

/// The name of an entry of [`MANY`].
pub fn entry(i: usize) -> String {
    format!("entry-{i:06}")
}

/// A tmpfs with a quota where the kernel has such (Linux 6.6, TMPFS_QUOTA), else a btrfs with one, on a loop device.
fn with_quota(
    at: &Path,
    owner: Option<(u32, u32)>,
    home: Option<BorrowedFd>,
) -> Result<(), String> {
    let options = format!("mode=0777,size=16m,usrquota,usrquota_block_hardlimit={QUOTA_BYTES}");
    let Err(no_tmpfs) = tmpfs(at, &options, owner) else {
        return Ok(());
    };
    btrfs(at, home).map_err(|no_btrfs| {
        format!(
            "a tmpfs with a quota says {no_tmpfs}, a btrfs with one: {no_btrfs}; take a kernel with TMPFS_QUOTA, or \
             install btrfs-progs and run it as root"
        )
    })
}

/// A tmpfs that limits the number of a user's files. Btrfs counts bytes alone.
fn with_file_quota(at: &Path, owner: Option<(u32, u32)>) -> Result<(), String> {
    let options = format!("mode=0777,size=16m,usrquota,usrquota_inode_hardlimit={QUOTA_FILES}");
    tmpfs(at, &options, owner).map_err(|error| {
        format!(
            "a tmpfs with a quota of files says {error}; take a kernel with TMPFS_QUOTA, which came with 6.6, and run it \
             as root"
        )
    })
}

/// Makes a btrfs in memory and limits what its one tree may hold.
fn btrfs(at: &Path, home: Option<BorrowedFd>) -> Result<(), String> {
    let failed = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    // mkfs.btrfs takes devices whose files have the same name for one device, which may be mounted.
    let place = rustix::fs::stat(at).map_err(failed("stat"))?;
    let image = rustix::fs::memfd_create(
        format!("quota-{:x}-{:x}", place.st_dev, place.st_ino),
        MemfdFlags::empty(),
    )
    .map_err(failed("memfd_create"))?;
    rustix::fs::ftruncate(&image, 128 << 20).map_err(failed("ftruncate"))?;
    // Held until the mount holds it, else it would be cleared at once.
    let (device, _held) = loop_device(&image).map_err(|error| format!("a loop device: {error}"))?;
    let mut mkfs = Command::new("mkfs.btrfs");
    if let Some(home) = home.map(|home| home.as_raw_fd()) {
        // SAFETY: a system call between fork and exec, on a descriptor that the caller holds open until this has ended.
        unsafe {
            mkfs.pre_exec(move || {
                let home = BorrowedFd::borrow_raw(home);
                Ok(move_into_link_name_space(
                    home,
                    Some(LinkNameSpaceType::Mount),
                )?)
            })
        };
    }
    let made = mkfs
        .args(["-q", "-m", "single", &device])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("mkfs.btrfs cannot be started: {error}"))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr)
            .trim()
            .replace('\n', " / ");
        return Err(format!("mkfs.btrfs failed: {said}"));
    }
    mount(device.as_str(), at, "btrfs", FLAGS, None).map_err(failed("mount"))?;
    rustix::fs::chmod(at, Mode::from_raw_mode(0o777)).map_err(failed("chmod"))?;
    limit(at).map_err(|error| format!("the quota: {error}"))
}

/// Gives a free loop device this file; it is free again when nothing uses it any more.
fn loop_device(image: &OwnedFd) -> rustix::io::Result<(String, OwnedFd)> {
    const LOOP_CTL_GET_FREE: u64 = 0x4c82;
    const LOOP_CONFIGURE: u64 = 0x4c0a;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    /// struct loop_config, whose struct loop_info64 has its flags at byte 52.
    #[repr(C)]
    struct Config {
        fd: u32,
        block_size: u32,
        info: [u32; 58],
        reserved: [u64; 8],
    }
    let rw = OFlags::RDWR | OFlags::CLOEXEC;
    let control = rustix::fs::open("/dev/loop-control", rw, Mode::empty())?;
    let mut config = Config {
        fd: image.as_raw_fd() as u32,
        block_size: 0,
        info: [0; 58],
        reserved: [0; 8],
    };
    config.info[13] = LO_FLAGS_AUTOCLEAR;
    // Somebody else may take the one that is free first.
    for _ in 0..8 {
        // SAFETY: the request takes no argument and returns a number.
        let free = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        if free < 0 {
            break;
        }
        let name = format!("/dev/loop{free}");
        let device = rustix::fs::open(&name, rw, Mode::empty())?;
        // SAFETY: the request reads a struct of this layout.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &config) } == 0 {
            return Ok((name, device));
        }
    }
    Err(rustix::io::Errno::BUSY)
}

/// Switches btrfs's quotas on, and limits its first tree.
fn limit(at: &Path) -> rustix::io::Result<()> {
    const BTRFS_IOC_QUOTA_CTL: u64 = 0xc010_9428;
    const BTRFS_IOC_QGROUP_LIMIT: u64 = 0x8030_942b;
    const FS_TREE: u64 = 5;
    const MAX_RFER: u64 = 1;
    let root = File::open(at).map_err(|_| rustix::io::Errno::IO)?;
    let done = |result: i32| match result {
        0 => Ok(()),
        _ => Err(
            rustix::io::Errno::from_io_error(&std::io::Error::last_os_error())
                .unwrap_or(rustix::io::Errno::IO),
        ),
    };
    let mut enable: [u64; 2] = [1, 0];
    // SAFETY: the request reads and writes a struct of two numbers.
    done(unsafe {
        libc::ioctl(
            root.as_fd().as_raw_fd(),
            BTRFS_IOC_QUOTA_CTL as _,
            &mut enable,
        )
    })?;
    // struct btrfs_ioctl_qgroup_limit_args: the group, then flags, max_rfer, max_excl, rsv_rfer, rsv_excl.
    let wanted: [u64; 6] = [FS_TREE, MAX_RFER, QUOTA_BYTES, 0, 0, 0];
    // SAFETY: the request reads a struct of six numbers.
    done(unsafe {
        libc::ioctl(
            root.as_fd().as_raw_fd(),
            BTRFS_IOC_QGROUP_LIMIT as _,
            &wanted,
        )
    })
}

/// Runs `body` where `what` is in the case's directory: on a volume it is there already, natively it is made now, in a
/// mount namespace of its own. In another process on both sides, so that traces of both are of the same processes. What the
/// body leaves is removed, since a client that caches would have it, and write it back, when the server has it no more.
///
/// # Errors
/// The body's; [`Stop::NotRun`] with what this machine cannot make.
pub fn with(what: Prepared, body: impl FnOnce() -> CaseOutcome) -> CaseOutcome {
    let is_there = std::env::var_os(PREPARED).is_some();
    fork(|_| {
        let here = std::env::current_dir().call("getcwd", "")?;
        if !is_there {
            private_mounts()?;
            for name in what.names() {
                fs::create_dir(name).call("mkdir", name)?;
            }
            what.mount(&here, None, None).map_err(Stop::NotRun)?;
        }
        let outcome = body();
        what.empty(&here);
        outcome
    })?
    .join()
}

/// Gives this process a mount namespace of its own, from which nothing leaks.
///
/// # Errors
/// The system's.
pub fn private_mounts() -> CaseOutcome {
    // SAFETY: a case's process has one thread and shares no descriptor table.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
        .call("unshare", "CLONE_NEWNS")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).call("mount", "/, MS_PRIVATE|MS_REC")
}
