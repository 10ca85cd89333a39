//! File systems that have no room left, that have a quota, and more than one file system below one directory.

use std::collections::BTreeMap;

use super::prelude::*;
use crate::ops::prepared::{self, Prepared, QUOTA, QUOTA_BYTES, QUOTA_FILES, SMALL};

fn with_small(body: impl FnOnce() -> CaseOutcome) -> CaseOutcome {
    prepared::with(Prepared::Small, body)
}

submit!(
    Case::new(
        "space.full_write",
        "a write to a full filesystem fails with ENOSPC, keeps what was written, and works once there is room",
        full_write
    )
    .source("POSIX write(): ENOSPC")
    .needed_by(&["databases (PostgreSQL, SQLite)", "tar, cp, rsync", "log writers", "package managers"])
    .needs(&[Need::SmallFilesystems])
);

fn full_write(_: &mut Ctx) -> CaseOutcome {
    with_small(|| {
        write("small-a/ballast", &[b'b'; 300_000])?;
        let fd = create("small-a/data", b"")?;
        let piece = [b'd'; 50_000];
        let (size, refusal) = fill(&fd, &piece)?;
        refusal.refused(
            "pwrite",
            "small-a/data, on a full filesystem",
            Errno::ENOSPC,
        )?;
        // A part of what was refused may be there all the same, which is a case of its own.
        let held = fstat(&fd, "small-a/data")?.st_size as u64;
        ensure(
            "pwrite",
            (size..size + piece.len() as u64).contains(&held),
            format_args!("{size} bytes were written, and the file's size is {held}"),
        )?;
        drop(fd);
        contents("pwrite", "small-a/data", &vec![b'd'; held as usize])?;
        unlink("small-a/ballast")?;
        let fd = open("small-a/data", OFlags::RDWR)?;
        write_at(&fd, "small-a/data", held, &piece)?;
        contents(
            "pwrite",
            "small-a/data",
            &vec![b'd'; held as usize + piece.len()],
        )
    })
}

/// Writes the piece again and again until that is refused: how many bytes were told to be written, and the refusal.
fn fill(fd: &OwnedFd, piece: &[u8]) -> CaseOutcome<(u64, Result<(), rustix::io::Errno>)> {
    let mut size = 0;
    loop {
        match rustix::io::pwrite(fd, piece, size) {
            Ok(n) if n > 0 && size < 32 << 20 => size += n as u64,
            Ok(n) => {
                return Err(Stop::broken(
                    "pwrite",
                    format!("pwrite returned {n} after {size} bytes on a filesystem of 1 MiB"),
                ));
            }
            Err(error) => return Ok((size, Err(error))),
        }
    }
}

submit!(
    Case::new(
        "space.full_short_write",
        "a write that fits only in part writes that part, and says how much it was",
        full_short_write
    )
    .source("POSIX write(): \"only as many bytes as there is room for shall be written\"; QEMU hw/9pfs v9fs_write")
    .needed_by(&["log writers that cut back to a whole record", "databases", "dd"])
    .needs(&[Need::SmallFilesystems])
);

fn full_short_write(_: &mut Ctx) -> CaseOutcome {
    with_small(|| {
        write("small-a/ballast", &[b'b'; 1_000_000])?;
        let fd = create("small-a/data", b"")?;
        // One message of any 9p client.
        let n = rustix::io::pwrite(&fd, &[b'd'; 60_000], 0)
            .call("pwrite", "small-a/data, 60000 bytes where less is free")?;
        ensure(
            "pwrite",
            (1..60_000).contains(&n),
            format_args!("pwrite of 60000 bytes returned {n} with 1000000 of 1 MiB taken"),
        )?;
        contents("pwrite", "small-a/data", &vec![b'd'; n])
    })
}

submit!(
    Case::new(
        "space.full_create",
        "open, mkdir and symlink on a filesystem without free inodes fail with ENOSPC, and work once there is one",
        full_create
    )
    .source("POSIX open(): ENOSPC; mkdir(), symlink()")
    .needed_by(&["npm, pip (many small files)", "mail servers", "git (objects)"])
    .needs(&[Need::SmallFilesystems])
);

fn full_create(_: &mut Ctx) -> CaseOutcome {
    with_small(|| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let made = |name: &str| rustix::fs::open(format!("small-a/{name}"), flags, mode(0o644));
        let mut count = 0;
        let refusal = loop {
            match made(&format!("f{count}")) {
                Ok(_) if count < 100 => count += 1,
                Ok(_) => {
                    return Err(Stop::broken(
                        "open",
                        "100 files were made on a filesystem that has 32 inodes",
                    ));
                }
                Err(error) => break error,
            }
        };
        let what = "small-a/fN, O_CREAT, without free inodes";
        Err::<(), _>(refusal).refused("open", what, Errno::ENOSPC)?;
        ensure(
            "open",
            count > 20,
            format_args!("only {count} files could be made with 32 inodes"),
        )?;
        rustix::fs::mkdir("small-a/dir", mode(0o755)).refused(
            "mkdir",
            "small-a/dir",
            Errno::ENOSPC,
        )?;
        rustix::fs::symlink("f0", "small-a/link").refused(
            "symlink",
            "f0, small-a/link",
            Errno::ENOSPC,
        )?;
        unlink("small-a/f0")?;
        made("again")
            .map(drop)
            .call("open", "small-a/again, O_CREAT, after one was removed")?;
        expect(
            "open",
            "the number of entries",
            names("small-a")?.len(),
            count,
        )
    })
}

submit!(
    Case::new(
        "space.full_statfs",
        "statfs of a full filesystem below another tells of that one, and that it is full",
        full_statfs
    )
    .source("statfs(2)")
    .needed_by(&[
        "df",
        "installers that check for room",
        "Elasticsearch (watermarks)"
    ])
    .needs(&[Need::SmallFilesystems])
);

fn full_statfs(_: &mut Ctx) -> CaseOutcome {
    with_small(|| {
        let fd = create("small-b/data", b"")?;
        let (_, refusal) = fill(&fd, &[b'd'; 50_000])?;
        refusal.refused(
            "pwrite",
            "small-b/data, on a full filesystem",
            Errno::ENOSPC,
        )?;
        let s = rustix::fs::statvfs("small-b").call("statvfs", "small-b")?;
        let (whole, free) = (s.f_blocks * s.f_frsize, s.f_bavail * s.f_frsize);
        // A volume tells whole blocks of its own size.
        ensure(
            "statvfs",
            (512 << 10..=2 << 20).contains(&whole),
            format_args!("the size of a filesystem of 1 MiB is told as {whole}"),
        )?;
        ensure(
            "statvfs",
            free < 50_000,
            format_args!("{free} bytes are free on a full filesystem"),
        )
    })
}

submit!(
    Case::new(
        "inode.unique_across_devices",
        "files of two filesystems below one directory differ in device or inode number",
        unique_across_devices
    )
    .source("POSIX <sys/stat.h>: st_dev and st_ino identify a file; QEMU -virtfs multidevs=")
    .needed_by(&[
        "tar, rsync -H (hard links)",
        "du",
        "find",
        "cp (same-file check)"
    ])
    .needs(&[Need::SmallFilesystems])
);

fn unique_across_devices(_: &mut Ctx) -> CaseOutcome {
    with_small(|| {
        let mut seen = BTreeMap::new();
        for i in 0..10 {
            for dir in SMALL {
                let name = format!("{dir}/f{i}");
                write(&name, name.as_bytes())?;
                let identity = id(&stat(&name)?);
                if let Some(other) = seen.insert(identity, name.clone()) {
                    return Err(Stop::broken(
                        "stat",
                        format!("{name} and {other} have the same device and inode number"),
                    ));
                }
            }
        }
        Ok(())
    })
}

submit!(
    Case::new(
        "space.quota_write",
        "a write beyond the user's quota fails with EDQUOT, keeps what was written, and works once there is room",
        quota_write
    )
    .source("write(2): EDQUOT; quota(1)")
    .needed_by(&["home directories and shared hosts", "databases", "mail servers", "tar, cp, rsync"])
    .needs(&[Need::Quota, Need::SecondUser])
    .limit_secs(120)
);

/// Runs `body` as a user whom a quota holds, in the file system that has one.
fn with_quota(what: Prepared, body: impl FnOnce() -> CaseOutcome) -> CaseOutcome {
    prepared::with(what, || {
        as_user(OTHER, || {
            rustix::process::chdir(QUOTA).call("chdir", QUOTA)?;
            body()
        })
    })
}

fn quota_write(_: &mut Ctx) -> CaseOutcome {
    with_quota(Prepared::Quota, || {
        let piece = vec![b'q'; 100_000];
        write("ballast", &[b'b'; 500_000])?;
        let fd = create("data", b"")?;
        let (size, refusal) = fill(&fd, &piece)?;
        refusal.refused("pwrite", "data, beyond the quota", Errno::EDQUOT)?;
        ensure(
            "pwrite",
            size > 0 && size <= QUOTA_BYTES,
            format_args!("{size} bytes could be written with a quota of {QUOTA_BYTES}"),
        )?;
        let held = fstat(&fd, "data")?.st_size as usize;
        contents("pwrite", "data", &vec![b'q'; held])?;
        unlink("ballast")?;
        // What was removed counts until the file system has said so to its disk.
        rustix::fs::syncfs(&fd).call("syncfs", ".")?;
        write_at(&fd, "data", held as u64, &piece)?;
        contents("pwrite", "data", &vec![b'q'; held + piece.len()])
    })
}

submit!(
    Case::new(
        "space.quota_create",
        "whoever has used up a quota makes no further files of any size: EDQUOT",
        quota_create
    )
    .source("open(2): EDQUOT; mkdir(2)")
    .needed_by(&[
        "home directories and shared hosts",
        "npm, pip",
        "mail servers"
    ])
    .needs(&[Need::Quota, Need::SecondUser])
    .limit_secs(120)
);

fn quota_create(_: &mut Ctx) -> CaseOutcome {
    with_quota(Prepared::Quota, || {
        let mut made = 0;
        let refusal = loop {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let file = rustix::fs::open(format!("f{made}"), flags, mode(0o644));
            match file.and_then(|fd| rustix::io::pwrite(&fd, &[b'q'; 100_000], 0)) {
                Ok(_) if made < 200 => made += 1,
                Ok(_) => {
                    return Err(Stop::broken(
                        "open",
                        "200 files of 100000 bytes were made within a quota of 2 MiB",
                    ));
                }
                Err(error) => break error,
            }
        };
        Err::<(), _>(refusal).refused(
            "open",
            "fN, of 100000 bytes, beyond the quota",
            Errno::EDQUOT,
        )?;
        ensure(
            "open",
            made > 2,
            format_args!("only {made} files could be made"),
        )?;
        contents("open", "f0", &[b'q'; 100_000])
    })
}

submit!(
    Case::new(
        "space.quota_files",
        "whoever has as many files as a quota allows makes no further file, directory or link: EDQUOT, and does once one is gone",
        quota_files
    )
    .source("open(2), mkdir(2), symlink(2): EDQUOT, inodes; linux Documentation/filesystems/tmpfs.rst: usrquota_inode_hardlimit")
    .needed_by(&["home directories and shared hosts", "npm, pip (many small files)", "maildir"])
    .needs(&[Need::FileQuota, Need::SecondUser])
);

fn quota_files(_: &mut Ctx) -> CaseOutcome {
    with_quota(Prepared::FileQuota, || {
        let mut made = 0;
        let refusal = loop {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            match rustix::fs::open(format!("f{made}"), flags, mode(0o644)) {
                Ok(_) => made += 1,
                Err(error) => break error,
            }
            ensure(
                "open",
                made <= QUOTA_FILES,
                format_args!("{made} files were made with a quota of {QUOTA_FILES}"),
            )?;
        };
        Err::<(), _>(refusal).refused("open", "fN, beyond the quota", Errno::EDQUOT)?;
        rustix::fs::mkdir("dir", mode(0o755)).refused(
            "mkdir",
            "dir, beyond the quota",
            Errno::EDQUOT,
        )?;
        rustix::fs::symlink("f0", "soft").refused(
            "symlink",
            "soft, beyond the quota",
            Errno::EDQUOT,
        )?;
        // Bytes are not what is limited.
        write_at(&open("f0", OFlags::RDWR)?, "f0", 0, &[b'q'; 100_000])?;
        unlink("f1")?;
        mkdir("dir")
    })
}
