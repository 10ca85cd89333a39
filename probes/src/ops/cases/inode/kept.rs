//! Inode numbers that outlive what a client remembers.

use std::{fs, io::ErrorKind};

use super::*;
use crate::ops::needs::AGAIN;

const KINDS: [&str; 4] = ["data", "dir", "dir/inner", "link"];

/// One file of each kind, and the inode number of each. Not the device's, which a new mount changes.
fn numbers() -> CaseOutcome<Vec<u64>> {
    KINDS.iter().map(|name| Ok(lstat(name)?.st_ino)).collect()
}

fn make() -> CaseOutcome {
    write("data", b"x")?;
    mkdir("dir")?;
    write("dir/inner", b"x")?;
    symlink("data", "link")
}

fn same(call: &str, before: &[u64]) -> CaseOutcome {
    for ((name, now), before) in KINDS.iter().zip(numbers()?).zip(before) {
        expect(call, &format!("the inode number of {name}"), now, *before)?;
    }
    Ok(())
}

submit!(
    Case::new(
        "inode.stable_over_cache_drop",
        "files keep their inode numbers when the kernel forgets all that it knows of them",
        stable_over_cache_drop
    )
    .source("POSIX <sys/stat.h>; linux Documentation/admin-guide/sysctl/vm.rst: drop_caches")
    .needed_by(&[
        "git (index entries)",
        "borg (files cache)",
        "tar --listed-incremental",
        "find"
    ])
    .needs(&[Need::HostRoot])
    .alone()
);

fn stable_over_cache_drop(_: &mut Ctx) -> CaseOutcome {
    make()?;
    let before = numbers()?;
    match fs::write("/proc/sys/vm/drop_caches", "2") {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            return Err(Stop::NotRun(format!(
                "needs to drop the kernel's caches, and /proc/sys/vm/drop_caches says: {error}"
            )));
        }
        wrote => wrote.call("write", "/proc/sys/vm/drop_caches")?,
    }
    same("stat", &before)
}

submit!(
    Case::new(
        "inode.stable_over_remount",
        "files keep their inode numbers when the volume is unmounted and mounted anew",
        stable_over_remount
    )
    .source("POSIX <sys/stat.h>: st_ino")
    .needed_by(&[
        "git (index entries)",
        "borg (files cache)",
        "tar --listed-incremental",
        "watchman"
    ])
    .needs(&[Need::Remount])
    .alone()
);

fn stable_over_remount(_: &mut Ctx) -> CaseOutcome {
    if std::env::var_os(AGAIN).is_some_and(|again| again == "yes") {
        let told = String::from_utf8_lossy(&read("before")?).into_owned();
        let before: Vec<u64> = told
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        expect(
            "mount",
            "how many numbers were kept",
            before.len(),
            KINDS.len(),
        )?;
        return same("mount", &before);
    }
    make()?;
    let told: Vec<String> = numbers()?.iter().map(u64::to_string).collect();
    write("before", told.join(" ").as_bytes())
}
