//! The directories of a run, and what dead runs left.
//!
//! A run's directory is `probe9p-XXXXXX` under the temporary directory. Its file `owner` holds a sentence
//! that says what it is, and a lock for as long as the run lives: a directory with such a file of one's own
//! and no lock is a dead run's and is removed by the next; nothing else ever is.

use std::{
    env,
    ffi::{CStr, CString, OsStr},
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
        },
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, FlockOperation, IFlags, Mode, OFlags, ResolveFlags, flock, fstat,
        ioctl_getflags, ioctl_setflags, openat2, unlinkat,
    },
    io::Errno,
};

use super::{StackError, fuse::MountBy, fuse_world::ground::unmount, mounts};

const PREFIX: &str = "probe9p-";
const OWNER: &CStr = c"owner";
const SENTENCE: &str = "This directory belongs to a run of probe9p; the next run removes it when that one is \
                        dead, which is when this file is not locked.\n";

/// A run's directory; it is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Workdir {
    path: PathBuf,
    kept: AtomicBool,
    /// Holds the lock.
    _owner: File,
}

impl Workdir {
    /// Makes one under the temporary directory, after removing what dead runs left there.
    ///
    /// # Errors
    /// The system's, with the name of the temporary directory.
    pub fn new() -> io::Result<Workdir> {
        let under = env::temp_dir();
        remove_leftovers(&under);
        Workdir::under(&under)
    }

    /// Makes one under another directory.
    ///
    /// # Errors
    /// The system's, with the name of that directory.
    pub fn under(under: &Path) -> io::Result<Workdir> {
        let named = |err: io::Error| {
            io::Error::new(
                err.kind(),
                format!(
                    "no directory can be made in {} ({err}); set TMPDIR to one where it can",
                    under.display()
                ),
            )
        };
        let under = fs::canonicalize(under).map_err(named)?;
        // Others may pass, so that the server's user and the commands' users reach what is theirs inside.
        let path = unique(&under).map_err(named)?;
        match own(&path) {
            Ok(owner) => Ok(Workdir {
                path,
                kept: AtomicBool::new(false),
                _owner: owner,
            }),
            Err(err) => {
                let _ = fs::remove_dir_all(&path);
                Err(named(err))
            }
        }
    }

    /// Where it is: absolute, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it where it is at the end, as nobody's, so that no later run removes it either.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Makes a directory in it, of mode 0755, for a user and group where this process may give it away.
    ///
    /// # Errors
    /// The system's.
    pub fn directory(&self, name: &str, owner: Option<(u32, u32)>) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir(&path)?;
        // Whatever the umask is.
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        spread(&path);
        if let Some((uid, gid)) = owner {
            chown(&path, Some(uid), Some(gid))?;
        }
        Ok(path)
    }
}

/// Lets ext4 put each directory made in this one into a block group of its own, as it does with a root's (`chattr
/// +T`). Otherwise all files of all cases come to lie in one, where ext4 goes over the inodes that were removed during
/// the last minutes whenever a file is made: after a case of some thousand files that takes longer than all else.
fn spread(path: &Path) {
    let Ok(directory) = open_directory(rustix::fs::CWD, path.as_os_str()) else {
        return;
    };
    // Other file systems have no such flag, and no need of it.
    if let Ok(flags) = ioctl_getflags(&directory) {
        let _ = ioctl_setflags(&directory, flags | IFlags::TOPDIR);
    }
}

impl Workdir {
    /// [`Workdir::directory`], with an error for those who bring a volume up.
    pub(super) fn part(
        &self,
        name: &str,
        owner: Option<(u32, u32)>,
    ) -> Result<PathBuf, StackError> {
        self.directory(name, owner).map_err(|err| {
            let path = self.path.join(name);
            StackError::Unavailable(format!(
                "directory {} cannot be made: {err}",
                path.display()
            ))
        })
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if self.kept.load(Ordering::Relaxed) {
            let _ = fs::remove_file(self.path.join(OsStr::from_bytes(OWNER.to_bytes())));
            return;
        }
        // What cannot be removed now is the next run's to remove, once the lock is gone.
        let _ = remove(&self.path);
    }
}

fn unique(under: &Path) -> io::Result<PathBuf> {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    loop {
        let mut random = [0; 6];
        let mut filled = 0;
        while filled < random.len() {
            filled += rustix::rand::getrandom(
                &mut random[filled..],
                rustix::rand::GetRandomFlags::empty(),
            )?;
        }
        let suffix: String = random
            .iter()
            .map(|&byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]))
            .collect();
        let path = under.join(format!("{PREFIX}{suffix}"));
        match DirBuilder::new().mode(0o711).create(&path) {
            Ok(()) => {
                fs::set_permissions(&path, Permissions::from_mode(0o711))?;
                return Ok(path);
            }
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) => return Err(err),
        }
    }
}

/// Makes the owner file. It gets its name only when it is locked and whole: whoever finds it by that name
/// unlocked may take the run for dead.
fn own(path: &Path) -> io::Result<File> {
    let unfinished = path.join("owner.new");
    let mut owner = File::create_new(&unfinished)?;
    flock(&owner, FlockOperation::NonBlockingLockExclusive)?;
    owner.write_all(format!("{SENTENCE}{}\n", std::process::id()).as_bytes())?;
    fs::rename(&unfinished, path.join(OsStr::from_bytes(OWNER.to_bytes())))?;
    Ok(owner)
}

/// Removes the directories that dead runs of this user left under a directory; returns those removed.
pub fn remove_leftovers(under: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(under) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()))
        .map(|entry| entry.path())
        .filter(|path| matches!(lock_of_dead(path), Some(lock) if remove_dead(path, &lock)))
        .collect()
}

/// Removes a dead run's directory, whose lock is held, with the mounts in it: fusermount3 makes some that
/// everybody sees, and that stay when all their processes were killed at once.
fn remove_dead(path: &Path, _lock: &File) -> bool {
    for mount in mounts::all() {
        if !mount.point.starts_with(path) {
            continue;
        }
        if ["tmpfs", "btrfs"].contains(&mount.fs_type.as_str()) {
            // A file system that was made for a case.
            let _ = rustix::mount::unmount(&mount.point, rustix::mount::UnmountFlags::DETACH);
        }
        if mount.fs_type.starts_with("fuse") {
            let by = match rustix::process::geteuid().is_root() {
                true => MountBy::Syscall,
                false => MountBy::Fusermount,
            };
            unmount(&mount.point, by);
        }
    }
    remove(path).is_ok()
}

/// The lock of a dead run's directory, taken; `None` when the directory is anything else.
fn lock_of_dead(path: &Path) -> Option<File> {
    let me = rustix::process::geteuid().as_raw();
    let directory = open_directory(rustix::fs::CWD, path.as_os_str()).ok()?;
    let mine = |fd: BorrowedFd, kind: FileType| {
        fstat(fd)
            .is_ok_and(|stat| stat.st_uid == me && FileType::from_raw_mode(stat.st_mode) == kind)
    };
    if !mine(directory.as_fd(), FileType::Directory) {
        return None;
    }
    let owner = openat2(
        &directory,
        OWNER,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )
    .ok()?;
    if !mine(owner.as_fd(), FileType::RegularFile) {
        return None;
    }
    let owner = File::from(owner);
    let mut text = String::new();
    (&owner).take(1024).read_to_string(&mut text).ok()?;
    if !text.starts_with(SENTENCE) {
        return None;
    }
    flock(&owner, FlockOperation::NonBlockingLockExclusive).ok()?;
    // Another may have removed it and made a new one meanwhile.
    let named = fs::symlink_metadata(path).ok()?;
    let held = fstat(&directory).ok()?;
    ((named.dev(), named.ino()) == (held.st_dev, held.st_ino)).then_some(owner)
}

fn open_directory(at: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    openat2(
        at,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::empty(),
    )
}

/// Removes a run's directory: never through a symbolic link, never into another mount, the owner file last.
fn remove(path: &Path) -> io::Result<()> {
    let directory = open_directory(rustix::fs::CWD, path.as_os_str())?;
    empty(&directory, Some(OWNER))?;
    match unlinkat(&directory, OWNER, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(err) => return Err(err.into()),
    }
    fs::remove_dir(path)
}

/// Removes what is in a directory but the entry `but`. Deep trees are walked with one descriptor a level.
fn empty(directory: &OwnedFd, but: Option<&CStr>) -> io::Result<()> {
    let mut first_error = None;
    // A name that a listing gave may be a directory's without being told so.
    for entry in Dir::read_from(directory)? {
        let name: CString = entry?.file_name().to_owned();
        if [c".", c".."].contains(&name.as_c_str()) || Some(name.as_c_str()) == but {
            continue;
        }
        if let Err(err) = remove_entry(directory, &name) {
            first_error.get_or_insert(err);
        }
    }
    first_error.map_or(Ok(()), Err)
}

fn remove_entry(directory: &OwnedFd, name: &CStr) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(err) => return Err(err.into()),
    }
    let beneath = || {
        openat2(
            directory,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
        )
    };
    let inner = match beneath() {
        Err(Errno::ACCESS) => {
            // A case may have taken its owner's rights away. Not through a link: the name is a directory's.
            rustix::fs::chmodat(directory, name, Mode::RWXU, AtFlags::empty())?;
            beneath()?
        }
        other => other?,
    };
    if empty(&inner, None).is_err() {
        rustix::fs::fchmod(&inner, Mode::RWXU)?;
        empty(&inner, None)?;
    }
    unlinkat(directory, name, AtFlags::REMOVEDIR)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_run(under: &Path) -> PathBuf {
        let run = Workdir::under(under).unwrap();
        let path = run.path().to_owned();
        // As the kernel does for a run that was killed: the lock goes, the directory stays.
        flock(&run._owner, FlockOperation::Unlock).unwrap();
        std::mem::forget(run);
        path
    }

    #[test]
    fn a_live_run_and_strangers_directories_stay() {
        let tmp = tempfile::tempdir().unwrap();
        let live = Workdir::under(tmp.path()).unwrap();
        let stranger = tmp.path().join("probe9p-aaaaaa");
        fs::create_dir(&stranger).unwrap();
        fs::write(stranger.join("owner"), "me\n").unwrap();
        let dead = dead_run(tmp.path());
        let link = tmp.path().join("probe9p-bbbbbb");
        std::os::unix::fs::symlink(&stranger, &link).unwrap();

        assert_eq!(remove_leftovers(tmp.path()), vec![dead.clone()]);
        assert!(live.path().exists() && stranger.join("owner").exists());
        assert!(!dead.exists());
        assert!(fs::symlink_metadata(link).is_ok());
    }

    #[test]
    fn removal_follows_no_link_and_opens_what_was_closed() {
        let tmp = tempfile::tempdir().unwrap();
        let outside = tmp.path().join("precious");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "kept").unwrap();
        let dead = dead_run(tmp.path());
        std::os::unix::fs::symlink(&outside, dead.join("link")).unwrap();
        fs::create_dir_all(dead.join("closed/deep")).unwrap();
        fs::write(dead.join("closed/deep/file"), "x").unwrap();
        for closed in ["closed/deep", "closed"] {
            fs::set_permissions(dead.join(closed), Permissions::from_mode(0o000)).unwrap();
        }
        assert_eq!(remove_leftovers(tmp.path()), vec![dead]);
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"kept");
    }

    #[test]
    fn a_run_removes_its_directory_when_it_ends() {
        let tmp = tempfile::tempdir().unwrap();
        let run = Workdir::under(tmp.path()).unwrap();
        run.directory("export", None).unwrap();
        let path = run.path().to_owned();
        drop(run);
        assert!(!path.exists());
    }
}
