//! File systems that have no room left, and more than one file system below one directory.

use rustix::mount::{MountFlags, MountPropagationFlags};
use std::collections::BTreeMap;

use super::prelude::*;
use crate::ops::needs::{SMALL, SMALL_MADE, SMALL_OPTIONS};

/// Runs `body` in a directory with two small file systems: below the volume's server they are there already.
fn with_small(body: impl FnOnce() -> CaseOutcome) -> CaseOutcome {
    if std::env::var_os(SMALL_MADE).is_some() {
        return body();
    }
    fork(|_| {
        // SAFETY: the process has one thread and shares no descriptor table.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
            .call("unshare", "CLONE_NEWNS")?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).call("mount", "/, MS_PRIVATE|MS_REC")?;
        let options =
            std::ffi::CString::new(SMALL_OPTIONS).map_err(|e| Stop::broken("mount", e))?;
        for name in SMALL {
            mkdir(name)?;
            let flags = MountFlags::NODEV | MountFlags::NOSUID;
            rustix::mount::mount("tmpfs", name, "tmpfs", flags, options.as_c_str())
                .call("mount", format_args!("tmpfs, {name}"))?;
        }
        body()
    })?
    .join()
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
            Ok(n) if n > 0 && size < 4 << 20 => size += n as u64,
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
