//! What tells the profiles apart, by name and in one place.
//!
//! `golem` and `qemu` are QEMU's server with `security_model=none`; what each value says of it was read in
//! QEMU 7.2's `hw/9pfs` and seen in guests. `posix` is the best that the protocol allows.

use crate::profile::Profile;

/// How the attributes of a fid are changed, and where a fid that is not open is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// By the fid's path, through its parent directory, which must be readable (`local_opendir_nofollow`). A file
    /// whose name was removed is out of reach (ENOENT); one that took over the name is met in its stead.
    Path,
    /// By a descriptor that the fid holds: removal and renaming do not matter.
    Handle,
}

/// What becomes of the mode that is set on a FIFO, socket or device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialMode {
    /// ENXIO: the fix of CVE-2023-2861 refuses special files even where they are opened with O_PATH to set
    /// their mode, and Tmknod, which ends with that, takes the new file away again.
    Refused,
    /// The mode is set (QEMU from 9.2 and 9.1.3 on).
    Set,
}

/// What Tlock and Tgetlock do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// Every lock is granted and none is ever found: exclusion is left to the one client there is.
    Granted,
    /// Locks are real, between clients and towards processes of the host.
    Real,
}

/// Which extended attributes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Xattrs {
    /// Those of the `user.` namespace; EOPNOTSUPP for all others, and they are not listed.
    User,
    /// Those that the host grants the server's user.
    All,
}

/// What qid.path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qids {
    /// The inode number, whatever device the file is on (`multidevs=warn`).
    Inode,
    /// The inode number on the root's device, and one that no other file has elsewhere (`multidevs=remap`, the default
    /// from QEMU 10.0 on).
    Unique,
}

/// What setting an extended attribute to nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyXattr {
    /// The attribute is removed.
    Removes,
    /// It is removed only with XATTR_REPLACE, by which v9fs asks for a removal; else it is set, to nothing.
    RemovesOnReplace,
}

/// What Tlcreate does to a file that is there already and not asked to be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOver {
    /// Its owner and mode are set as if it were new.
    Resets,
    /// It is opened as it is.
    Keeps,
}

/// What a write is answered with of which the first part was written, and the next failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartWritten {
    /// The error; the part stays in the file.
    Error,
    /// How much was written. The client goes on, and gets the error then.
    Count,
}

/// The behaviours of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// How attributes are reached.
    pub reach: Reach,
    /// What becomes of a special file's mode.
    pub special_mode: SpecialMode,
    /// What locks do.
    pub locks: Locks,
    /// Which extended attributes there are.
    pub xattrs: Xattrs,
    /// What an empty extended attribute means.
    pub empty_xattr: EmptyXattr,
    /// What qid.path is.
    pub qids: Qids,
    /// What creating over a file does.
    pub create_over: CreateOver,
    /// What a write that fits in part is answered with.
    pub part_written: PartWritten,
}

impl Behaviour {
    /// The behaviours of a profile.
    pub fn of(profile: Profile) -> Behaviour {
        let golem = Behaviour {
            reach: Reach::Path,
            special_mode: SpecialMode::Refused,
            locks: Locks::Granted,
            xattrs: Xattrs::User,
            empty_xattr: EmptyXattr::Removes,
            qids: Qids::Inode,
            create_over: CreateOver::Resets,
            part_written: PartWritten::Error,
        };
        match profile {
            Profile::Golem => golem,
            Profile::Qemu => Behaviour {
                special_mode: SpecialMode::Set,
                qids: Qids::Unique,
                ..golem
            },
            Profile::Posix => Behaviour {
                reach: Reach::Handle,
                special_mode: SpecialMode::Set,
                locks: Locks::Real,
                xattrs: Xattrs::All,
                empty_xattr: EmptyXattr::RemovesOnReplace,
                qids: Qids::Unique,
                create_over: CreateOver::Keeps,
                part_written: PartWritten::Count,
            },
        }
    }
}
