//! The cases themselves: one file a family, a folder where a family has many.
//!
//! To add one, submit it beside its function in its family's file; nothing else needs to know of it.

mod coherence;
mod directory;
mod full;
mod inode;
mod io;
mod link;
mod lock;
mod mmap;
mod mount;
mod name;
mod notify;
mod permission;
mod rename;
mod runtime;
mod space;
mod special;
mod stress;
mod symlink;
mod sync;
mod time;
mod xattr;

/// What a family's file starts with.
#[allow(unused_imports, reason = "a vocabulary; each family uses a part of it")]
mod prelude {
    pub(super) use std::os::fd::{AsFd, AsRawFd, OwnedFd};

    pub(super) use inventory::submit;
    pub(super) use nix::errno::Errno;
    pub(super) use rustix::fs::{AtFlags, CWD, Mode, OFlags};
    pub(super) use server9p::stack::Cache;

    pub(super) use crate::ops::{
        case::{Case, Ctx},
        files::*,
        map::{Map, PAGE, PRIVATE, READ, SHARED, WRITE},
        needs::{Need, OTHER, THIRD},
        process::{as_user, fork},
        stop::{Call, CaseOutcome, Stop, check, ensure, expect},
    };
}
