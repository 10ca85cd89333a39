//! Times of files: how they are set, how fine they are, and what moves them.

mod access;
mod rules;
mod set;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::prelude::*;

fn at(tv_sec: i64, tv_nsec: i64) -> Timespec {
    Timespec {
        tv_sec,
        tv_nsec: tv_nsec as _,
    }
}

fn set(path: &str, last_access: Timespec, last_modification: Timespec) -> CaseOutcome {
    rustix::fs::utimensat(
        CWD,
        path,
        &Timestamps {
            last_access,
            last_modification,
        },
        AtFlags::empty(),
    )
    .call("utimensat", path)
}

fn mtime(path: &str) -> CaseOutcome<(i64, i64)> {
    let stat = stat(path)?;
    Ok((stat.st_mtime, stat.st_mtime_nsec as i64))
}

fn atime(path: &str) -> CaseOutcome<(i64, i64)> {
    let stat = stat(path)?;
    Ok((stat.st_atime, stat.st_atime_nsec as i64))
}

fn ctime(path: &str) -> CaseOutcome<(i64, i64)> {
    let stat = stat(path)?;
    Ok((stat.st_ctime, stat.st_ctime_nsec as i64))
}

/// A time in the past, so that what a call sets to now is later without waiting for it.
const PAST: i64 = 1_000_000_000;
