//! Access times, under each of the options that a mount has for them.

use std::{fs, path::Path};

use rustix::mount::MountFlags;

use crate::ops::Side;

use super::*;

/// What a mount says of access times.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kept {
    Never,
    Relative,
    Always,
}

/// What the mount that the working directory is on says. `lazytime` says nothing of what stat tells, only of when it
/// reaches the disk.
fn as_mounted() -> CaseOutcome<Kept> {
    let flags = rustix::fs::statvfs(".").call("statvfs", ".")?.f_flag;
    use rustix::fs::StatVfsMountFlags as F;
    Ok(match () {
        () if flags.intersects(F::NOATIME | F::RDONLY) => Kept::Never,
        () if flags.contains(F::RELATIME) => Kept::Relative,
        () => Kept::Always,
    })
}

/// Whether a read of the file moves its access time, which is set to `access` with this modification time.
fn read_moves(name: &str, access: i64, modification: i64) -> CaseOutcome<bool> {
    set(name, at(access, 0), at(modification, 0))?;
    drop(fs::read(name).call("read", name)?);
    Ok(atime(name)?.0 != access)
}

/// An access time later than that of the last change, which setting times is.
fn to_come() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec + 3600
}

/// What reads do, against what the mount says.
fn obeys(kept: Kept) -> CaseOutcome {
    write("data", &[b'x'; 5000])?;
    let moves = [
        (
            "a file that was changed since it was read",
            read_moves("data", PAST, PAST + 5)?,
        ),
        (
            "a file that was not read for a day",
            read_moves("data", PAST + 5, PAST)?,
        ),
        (
            "a file that was read since it was changed",
            read_moves("data", to_come(), PAST)?,
        ),
    ];
    let want = match kept {
        Kept::Never => [false; 3],
        Kept::Relative => [true, true, false],
        Kept::Always => [true; 3],
    };
    for ((what, moved), want) in moves.into_iter().zip(want) {
        expect(
            "read",
            &format!("whether st_atime of {what} moved, {kept:?}"),
            moved,
            want,
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "time.atime_as_mounted",
        "reads move a file's access time as the mount's options say: noatime, relatime or strictatime",
        atime_as_mounted
    )
    .source("mount(2): MS_NOATIME, MS_RELATIME, MS_STRICTATIME; v9fs moves none itself, and the server's host goes by its own mount")
    .needed_by(&["tmpwatch, systemd-tmpfiles (ages)", "mutt, biff (new mail)", "cache cleaners"])
);

fn atime_as_mounted(_: &mut Ctx) -> CaseOutcome {
    obeys(as_mounted()?)
}

/// Binds the directory on itself with these options, and does the work there.
fn mounted_anew(flags: MountFlags, said: &str, body: impl FnOnce() -> CaseOutcome) -> CaseOutcome {
    mkdir("dir")?;
    fork(|_| {
        crate::ops::prepared::private_mounts()?;
        rustix::mount::mount_bind("dir", "dir").call("mount", "dir, dir, MS_BIND")?;
        rustix::mount::mount_remount("dir", MountFlags::BIND | flags, "")
            .call("mount", format_args!("dir, MS_REMOUNT|MS_BIND|{said}"))?;
        rustix::process::chdir("dir").call("chdir", "dir")?;
        body()
    })?
    .join()
}

submit!(
    Case::new(
        "time.noatime",
        "through a bind mount made noatime reads leave the access time",
        noatime
    )
    .source("mount(2): MS_NOATIME")
    .needed_by(&[
        "fstab with noatime",
        "containers (bind mounts with noatime)"
    ])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn noatime(_: &mut Ctx) -> CaseOutcome {
    mounted_anew(MountFlags::NOATIME, "MS_NOATIME", || obeys(Kept::Never))
}

submit!(
    Case::new(
        "time.relatime",
        "through a bind mount made relatime a read moves the access time when it was older than the last change or a day",
        relatime
    )
    .source("mount(2): MS_RELATIME")
    .needed_by(&["every mount with default options", "mutt", "tmpwatch"])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn relatime(_: &mut Ctx) -> CaseOutcome {
    mounted_anew(MountFlags::RELATIME, "MS_RELATIME", || {
        obeys(Kept::Relative)
    })
}

submit!(
    Case::new(
        "time.strictatime",
        "through a bind mount made strictatime every read moves the access time",
        strictatime
    )
    .source("mount(2): MS_STRICTATIME")
    .needed_by(&["mail programs", "find -atime", "usage statistics"])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn strictatime(_: &mut Ctx) -> CaseOutcome {
    let flags = MountFlags::from_bits_retain(libc::MS_STRICTATIME as _);
    mounted_anew(flags, "MS_STRICTATIME", || obeys(Kept::Always))
}

submit!(
    Case::new(
        "time.nodiratime",
        "through a bind mount made nodiratime a listing leaves the access time of the directory, and a read moves that of a file",
        nodiratime
    )
    .source("mount(2): MS_NODIRATIME")
    .needed_by(&["fstab with nodiratime", "systemd units (nodiratime)"])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn nodiratime(_: &mut Ctx) -> CaseOutcome {
    let flags = MountFlags::NODIRATIME | MountFlags::RELATIME;
    mounted_anew(flags, "MS_NODIRATIME|MS_RELATIME", || {
        mkdir("listed")?;
        write("listed/file", b"x")?;
        set("listed", at(PAST, 0), at(PAST + 5, 0))?;
        let names = fs::read_dir("listed").call("getdents64", "listed")?;
        expect("getdents64", "the number of names", names.count(), 1)?;
        expect(
            "getdents64",
            "st_atime of the directory",
            atime("listed")?.0,
            PAST,
        )?;
        obeys(Kept::Relative)
    })
}

submit!(
    Case::new(
        "time.atime_options",
        "a bind mount takes each option for access times, and statvfs and /proc/self/mountinfo show it",
        atime_options
    )
    .source("mount(2): MS_NOATIME, MS_NODIRATIME, MS_RELATIME, MS_STRICTATIME; proc(5): mountinfo")
    .needed_by(&["mount -o remount", "systemd (mount units)", "runc, crun (mounts of a container)"])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn atime_options(_: &mut Ctx) -> CaseOutcome {
    use rustix::fs::StatVfsMountFlags as Told;
    let strict = MountFlags::from_bits_retain(libc::MS_STRICTATIME as _);
    // Strictness is shown by the absence of the others. What is shown is in the order of its letters.
    let all = [
        (MountFlags::NOATIME, Told::NOATIME, &["noatime"][..]),
        (MountFlags::RELATIME, Told::RELATIME, &["relatime"]),
        (strict, Told::empty(), &[]),
        (
            MountFlags::NODIRATIME | MountFlags::RELATIME,
            Told::NODIRATIME | Told::RELATIME,
            &["nodiratime", "relatime"],
        ),
    ];
    mounted_anew(MountFlags::RELATIME, "MS_RELATIME", || {
        let here = std::env::current_dir().call("getcwd", "")?;
        for (flags, told, shown) in all {
            rustix::mount::mount_remount(&here, MountFlags::BIND | flags, "")
                .call("mount", format_args!("dir, MS_REMOUNT|MS_BIND|{flags:?}"))?;
            let got = rustix::fs::statvfs(".").call("statvfs", ".")?.f_flag;
            let of_access = Told::NOATIME | Told::NODIRATIME | Told::RELATIME;
            expect("statvfs", "f_flag's access times", got & of_access, told)?;
            let (of_mount, _) = options_shown(&here)?;
            let mut got: Vec<&str> = of_mount
                .split(',')
                .filter(|option| option.ends_with("atime"))
                .collect();
            got.sort_unstable();
            expect("read", "what mountinfo shows", got, shown.to_vec())?;
        }
        Ok(())
    })
}

/// The options of the mount at a place, and those of its file system, as /proc/self/mountinfo has them.
fn options_shown(at: &Path) -> CaseOutcome<(String, String)> {
    const TABLE: &str = "/proc/self/mountinfo";
    let table = fs::read_to_string(TABLE).call("read", TABLE)?;
    let shown = table.lines().rev().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (Path::new(fields.get(4)?) == at)
            .then(|| Some(((*fields.get(5)?).to_owned(), (*fields.last()?).to_owned())))?
    });
    shown.ok_or_else(|| Stop::broken("read", format!("{} is not in {TABLE}", at.display())))
}

submit!(
    Case::new(
        "time.lazytime",
        "a file system that is remounted lazytime says so, tells new times at once, and keeps them over syncfs",
        lazytime
    )
    .source("mount(2): MS_LAZYTIME: times are kept in memory, told by stat, and written by syncfs")
    .needed_by(&["fstab with lazytime", "systemd (lazytime)", "hosts that save writes to flash"])
    .needs(&[Need::HostRoot, Need::Mount])
    .alone()
);

fn lazytime(ctx: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    let native = ctx.side == Side::Native;
    fork(|_| {
        crate::ops::prepared::private_mounts()?;
        // The host's own file system is not the case's to change.
        match native {
            true => rustix::mount::mount("tmpfs", "dir", "tmpfs", MountFlags::empty(), c"size=1m")
                .call("mount", "dir, tmpfs")?,
            false => {
                rustix::mount::mount_bind("dir", "dir").call("mount", "dir, dir, MS_BIND")?;
            }
        }
        rustix::process::chdir("dir").call("chdir", "dir")?;
        let here = std::env::current_dir().call("getcwd", "")?;
        // A remount clears what it does not name.
        let sync = rustix::fs::statvfs(".").call("statvfs", ".")?.f_flag;
        let kept = match sync.contains(rustix::fs::StatVfsMountFlags::SYNCHRONOUS) {
            true => MountFlags::SYNCHRONOUS,
            false => MountFlags::empty(),
        };
        let lazy = MountFlags::from_bits_retain(libc::MS_LAZYTIME as _);
        rustix::mount::mount_remount(&here, kept | lazy, "")
            .call("mount", "dir, MS_REMOUNT|MS_LAZYTIME")?;
        let seen = times_under_lazytime(&here);
        rustix::mount::mount_remount(&here, kept, "").call("mount", "dir, MS_REMOUNT")?;
        seen
    })?
    .join()
}

fn times_under_lazytime(here: &Path) -> CaseOutcome {
    let (_, of_all) = options_shown(here)?;
    let shown = of_all.split(',').any(|option| option == "lazytime");
    expect("read", "whether mountinfo shows lazytime", shown, true)?;
    let fd = create("data", b"first")?;
    set("data", at(PAST, 0), at(PAST + 5, 0))?;
    let set_to = (atime("data")?.0, mtime("data")?.0);
    expect("utimensat", "both times", set_to, (PAST, PAST + 5))?;
    write_at(&fd, "data", 0, b"again")?;
    let written = mtime("data")?;
    ensure(
        "pwrite",
        written.0 > PAST + 5,
        "the modification time did not move",
    )?;
    rustix::fs::syncfs(&fd).call("syncfs", "data")?;
    drop(fd);
    expect("syncfs", "the modification time", mtime("data")?, written)
}

submit!(
    Case::new(
        "time.noatime_open",
        "what is read by a descriptor opened with O_NOATIME leaves the access time",
        noatime_open
    )
    .source("open(2): O_NOATIME")
    .needed_by(&[
        "borg, restic, tar --atime-preserve=system",
        "indexers (tracker, recoll)"
    ])
);

fn noatime_open(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'x'; 5000])?;
    set("data", at(PAST, 0), at(PAST + 5, 0))?;
    let fd = open("data", OFlags::RDONLY | OFlags::NOATIME)?;
    expect(
        "pread",
        "the bytes",
        read_at(&fd, "data", 0, 9000)?.len(),
        5000,
    )?;
    expect("pread", "st_atime", atime("data")?.0, PAST)
}
