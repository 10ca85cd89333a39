//! Between FUSE's forms, 9P's and errnos.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo, TimeOrNow};

use crate::{
    client::{Attr, ClientError, Qid, Time},
    stack::ids::{shown_gid, shown_uid},
};

/// The result of an operation, its error the errno that the program gets.
pub(super) type Outcome<T> = Result<T, Errno>;

/// The errno that a program sees for a client's error.
pub(super) fn errno(error: ClientError) -> Errno {
    if let ClientError::Lost(_) | ClientError::Protocol(_) = error {
        tracing::debug!(%error, "answered with EIO");
    }
    Errno::from_i32(error.errno())
}

/// `v9fs_qid2ino`: the inode number that v9fs shows for a qid.
pub(super) fn qid_to_ino(qid: Qid) -> u64 {
    qid.path.wrapping_add(2)
}

const S_IFMT: u32 = libc::S_IFMT;

/// The file type of a mode; a type that Linux does not know counts as a regular file.
pub(super) fn file_type(mode: u32) -> FileType {
    match mode & S_IFMT {
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        libc::S_IFIFO => FileType::NamedPipe,
        libc::S_IFSOCK => FileType::Socket,
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

/// The type of a directory entry from its `d_type`, or from its qid where that is unknown.
pub(super) fn entry_type(d_type: u8, qid: Qid) -> FileType {
    if d_type != libc::DT_UNKNOWN {
        return file_type(u32::from(d_type) << 12);
    }
    match qid.kind {
        kind if kind & 0x80 != 0 => FileType::Directory,
        kind if kind & 0x02 != 0 => FileType::Symlink,
        _ => FileType::RegularFile,
    }
}

/// The user and group ids that the kernel can be told of.
///
/// In a user namespace only some ids have a meaning, and the kernel refuses every write to a file whose owner has
/// none. Such ids are shown as 0, the user who made the namespace.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    uids: Vec<(u32, u32)>,
    gids: Vec<(u32, u32)>,
}

impl Ids {
    /// Those of this process' user namespace.
    pub fn of_this_process() -> Ids {
        let ranges = |path: &str| {
            let map = std::fs::read_to_string(path).unwrap_or_default();
            parse_id_map(&map)
        };
        Ids {
            uids: ranges("/proc/self/uid_map"),
            gids: ranges("/proc/self/gid_map"),
        }
    }

    /// The attributes with ids that the kernel takes.
    pub fn show(&self, attr: FileAttr) -> FileAttr {
        let shown = |ranges: &[(u32, u32)], id: u32| {
            let known = ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&id));
            if known || ranges.is_empty() { id } else { 0 }
        };
        FileAttr {
            uid: shown(&self.uids, attr.uid),
            gid: shown(&self.gids, attr.gid),
            ..attr
        }
    }
}

/// The ids inside, as first and last, of user_namespaces(7)'s lines `inside outside count`.
fn parse_id_map(map: &str) -> Vec<(u32, u32)> {
    map.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let first: u32 = fields.next()?.parse().ok()?;
            let count: u32 = fields.nth(1)?.parse().ok()?;
            Some((first, first.saturating_add(count.checked_sub(1)?)))
        })
        .collect()
}

/// Attributes as `v9fs_vfs_getattr_dotl` gives them: the inode's number and type never change, all else is
/// the server's.
pub(super) fn file_attr(attr: &Attr, ino: u64, kind: FileType) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind,
        perm: (attr.mode & 0o7777) as u16,
        nlink: u32::try_from(attr.nlink).unwrap_or(u32::MAX),
        uid: shown_uid(attr.uid),
        gid: shown_gid(attr.gid),
        rdev: attr.rdev as u32,
        blksize: u32::try_from(attr.blksize).unwrap_or(0),
        flags: 0,
    }
}

fn system_time(time: Time) -> SystemTime {
    let seconds = Duration::from_secs(time.sec.unsigned_abs());
    let whole = if time.sec < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(time.nsec.into())))
        .unwrap_or(UNIX_EPOCH)
}

/// A time to set, and whether it is one that the caller chose. v9fs's superblock keeps times in whole seconds from
/// the epoch on (`s_time_gran`, `s_time_min`), so the VFS cuts chosen ones down to that. For `Now` v9fs sends the
/// client's clock, which the server does not use.
pub(super) fn time_to_set(time: TimeOrNow) -> (Time, bool) {
    let (time, chosen) = match time {
        TimeOrNow::Now => (SystemTime::now(), false),
        TimeOrNow::SpecificTime(time) => (time, true),
    };
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let sec = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    (Time { sec, nsec: 0 }, chosen)
}

/// `v9fs_open_to_dotl_flags`: Linux open flags as 9P2000.L's. O_TRUNC is not among them: the truncation is a
/// Tsetattr of its own.
pub(super) fn dotl_flags(flags: i32) -> u32 {
    // 9P's numbers are x86's; other architectures have their own. libc gives x86-64's O_LARGEFILE as 0, since
    // programs never need it, but the kernel sets it.
    #[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
    const O_LARGEFILE: i32 = 0o400000;
    #[cfg(not(any(target_arch = "aarch64", target_arch = "arm")))]
    const O_LARGEFILE: i32 = 0o100000;
    const MAP: [(i32, u32); 14] = [
        (libc::O_CREAT, 0o100),
        (libc::O_EXCL, 0o200),
        (libc::O_NOCTTY, 0o400),
        (libc::O_APPEND, 0o2000),
        (libc::O_NONBLOCK, 0o4000),
        (libc::O_DSYNC, 0o10000),
        (libc::O_ASYNC, 0o20000),
        (libc::O_DIRECT, 0o40000),
        (O_LARGEFILE, 0o100000),
        (libc::O_DIRECTORY, 0o200000),
        (libc::O_NOFOLLOW, 0o400000),
        (libc::O_NOATIME, 0o1000000),
        (libc::O_CLOEXEC, 0o2000000),
        (libc::O_SYNC, 0o4000000),
    ];
    MAP.iter()
        .filter(|(linux, _)| flags & linux != 0)
        .fold((flags & libc::O_ACCMODE) as u32, |all, (_, dotl)| {
            all | dotl
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_is_not_asked_for_in_tlopen() {
        assert_eq!(dotl_flags(libc::O_RDWR | libc::O_TRUNC), 2);
        assert_eq!(
            dotl_flags(libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND),
            0o2101
        );
    }

    #[test]
    fn times_before_the_epoch_survive() {
        let time = Time {
            sec: -2,
            nsec: 300_000_000,
        };
        let back = system_time(time);
        assert_eq!(
            UNIX_EPOCH.duration_since(back).unwrap(),
            Duration::from_millis(1700)
        );
    }

    #[test]
    fn chosen_times_are_cut_to_seconds_from_the_epoch_on() {
        let after = UNIX_EPOCH + Duration::from_millis(1500);
        let (time, chosen) = time_to_set(TimeOrNow::SpecificTime(after));
        assert_eq!((time, chosen), (Time { sec: 1, nsec: 0 }, true));
        let before = UNIX_EPOCH - Duration::from_secs(5);
        let (time, _) = time_to_set(TimeOrNow::SpecificTime(before));
        assert_eq!(time, Time::default());
    }

    #[test]
    fn ids_without_meaning_in_a_user_namespace_are_shown_as_root() {
        let ids = Ids {
            uids: parse_id_map("         0       1000          1\n"),
            gids: parse_id_map("0 0 4294967295"),
        };
        let attr = Attr::default();
        let shown = ids.show(FileAttr {
            uid: 1000,
            gid: 1000,
            ..file_attr(&attr, 1, FileType::RegularFile)
        });
        assert_eq!((shown.uid, shown.gid), (0, 1000));
    }

    #[test]
    fn an_entry_of_unknown_type_is_listed_by_its_qid() {
        let qid = Qid {
            kind: 0x80,
            ..Qid::default()
        };
        assert_eq!(entry_type(0, qid), FileType::Directory);
        assert_eq!(entry_type(libc::DT_FIFO, qid), FileType::NamedPipe);
    }
}
