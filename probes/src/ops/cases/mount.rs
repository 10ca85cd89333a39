//! Mounting over, under and from a volume: what containers and package builds do with their directories.
//!
//! Every case leaves its mounts to the end of a forked process that has a mount namespace of its own.

use std::fs;

use rustix::mount::{MountFlags, UnmountFlags};

use super::prelude::*;

/// Runs `body` in a process with a mount namespace of its own, from which nothing leaks.
fn alone(body: impl FnOnce() -> CaseOutcome) -> CaseOutcome {
    fork(|_| {
        crate::ops::prepared::private_mounts()?;
        body()
    })?
    .join()
}

fn bind(from: &str, to: &str) -> CaseOutcome {
    rustix::mount::mount_bind(from, to).call("mount", format_args!("{from}, {to}, MS_BIND"))
}

fn tmpfs(at: &str) -> CaseOutcome {
    rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::empty(), None)
        .call("mount", format_args!("tmpfs, {at}"))
}

fn overlay(at: &str, options: &str) -> CaseOutcome {
    let data = std::ffi::CString::new(options).map_err(|e| Stop::broken("mount", e))?;
    rustix::mount::mount(
        "overlay",
        at,
        "overlay",
        MountFlags::empty(),
        Some(data.as_c_str()),
    )
    .call("mount", format_args!("overlay, {at}, {options}"))
}

submit!(
    Case::new(
        "mount.bind",
        "a directory and a file of the volume are bound elsewhere, and show the same",
        bind_both
    )
    .source("mount(2): MS_BIND")
    .needed_by(&[
        "runc (volumes inside containers)",
        "bubblewrap, Flatpak",
        "systemd (BindPaths)"
    ])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn bind_both(_: &mut Ctx) -> CaseOutcome {
    mkdir("from")?;
    mkdir("to")?;
    write("from/data", b"bound")?;
    write("file", b"")?;
    alone(|| {
        bind("from", "to")?;
        contents("mount", "to/data", b"bound")?;
        write("to/fresh", b"through")?;
        contents("mount", "from/fresh", b"through")?;
        bind("from/data", "file")?;
        contents("mount", "file", b"bound")?;
        rustix::fs::unlink("from/data").call("unlink", "from/data, which is bound elsewhere")
    })?;
    holds("mount", "to", &[])?;
    holds("mount", "from", &["fresh"])
}

submit!(
    Case::new(
        "mount.read_only_bind",
        "through a bind mount made read-only writing gives EROFS",
        read_only_bind
    )
    .source("mount(2): MS_REMOUNT|MS_BIND|MS_RDONLY")
    .needed_by(&[
        "docker -v …:ro",
        "systemd (ProtectSystem)",
        "bubblewrap --ro-bind"
    ])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn read_only_bind(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/data", b"x")?;
    alone(|| {
        bind("dir", "dir")?;
        rustix::mount::mount_remount("dir", MountFlags::BIND | MountFlags::RDONLY, "")
            .call("mount", "dir, MS_REMOUNT|MS_BIND|MS_RDONLY")?;
        rustix::fs::open("dir/data", OFlags::WRONLY, Mode::empty()).refused(
            "open",
            "dir/data, O_WRONLY",
            Errno::EROFS,
        )?;
        rustix::fs::unlink("dir/data").refused("unlink", "dir/data", Errno::EROFS)?;
        contents("mount", "dir/data", b"x")
    })
}

submit!(
    Case::new(
        "mount.tmpfs_over",
        "a tmpfs mounted on a directory of the volume hides it, and gives it back",
        tmpfs_over
    )
    .source("mount(2), umount(2)")
    .needed_by(&[
        "docker --tmpfs below a volume",
        "remedies that put one directory on a tmpfs"
    ])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn tmpfs_over(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/below", b"below")?;
    alone(|| {
        tmpfs("dir")?;
        holds("mount", "dir", &[])?;
        write("dir/above", b"above")?;
        rustix::fs::rmdir("dir").refused("rmdir", "dir, a mount point", Errno::EBUSY)?;
        rustix::mount::unmount("dir", UnmountFlags::empty()).call("umount2", "dir")?;
        holds("umount2", "dir", &["below"])
    })
}

submit!(
    Case::new(
        "mount.overlay_lower",
        "an overlay with its lower directory on the volume shows it, and keeps changes above",
        overlay_lower
    )
    .source("Linux overlayfs documentation: lowerdir")
    .needed_by(&[
        "Docker, podman with images on the volume",
        "live systems",
        "Nix (local overlay store)"
    ])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn overlay_lower(_: &mut Ctx) -> CaseOutcome {
    for dir in ["lower", "lower/sub", "tmp", "merged"] {
        mkdir(dir)?;
    }
    write("lower/data", b"from below")?;
    write("lower/sub/leaf", b"leaf")?;
    alone(|| {
        tmpfs("tmp")?;
        mkdir("tmp/upper")?;
        mkdir("tmp/work")?;
        overlay(
            "merged",
            "lowerdir=lower,upperdir=tmp/upper,workdir=tmp/work",
        )?;
        contents("mount", "merged/data", b"from below")?;
        let fd = open("merged/data", OFlags::RDWR)?;
        write_at(&fd, "merged/data", 0, b"FROM")?;
        drop(fd);
        contents("pwrite", "merged/data", b"FROM below")?;
        contents("pwrite", "lower/data", b"from below")?;
        unlink("merged/sub/leaf")?;
        holds("unlink", "merged/sub", &[])?;
        contents("unlink", "lower/sub/leaf", b"leaf")
    })
}

submit!(
    Case::new("mount.overlay_upper", "an overlay with upper and work directory on the volume takes changes", overlay_upper)
        .source("Linux overlayfs documentation: upperdir needs xattrs, d_type and RENAME_WHITEOUT; kata-containers/runtime#1888")
        .needed_by(&["Docker and podman with their data on the volume", "containerd", "BuildKit"])
        .needs(&[Need::HostRoot, Need::Mount])
);

fn overlay_upper(_: &mut Ctx) -> CaseOutcome {
    overlay_on_volume("")
}

submit!(
    Case::new(
        "mount.overlay_upper_userxattr",
        "an overlay with upper and work directory on the volume works with userxattr",
        overlay_upper_userxattr
    )
    .source("Linux overlayfs documentation: userxattr, since Linux 5.11; astro/microvm.nix#419")
    .needed_by(&["rootless podman", "microvm.nix (writable store overlay)"])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn overlay_upper_userxattr(_: &mut Ctx) -> CaseOutcome {
    overlay_on_volume(",userxattr")
}

fn overlay_on_volume(more: &str) -> CaseOutcome {
    for dir in ["upper", "work", "tmp", "merged"] {
        mkdir(dir)?;
    }
    alone(|| {
        tmpfs("tmp")?;
        mkdir("tmp/lower")?;
        write("tmp/lower/data", b"from below")?;
        write("tmp/lower/gone", b"x")?;
        overlay(
            "merged",
            &format!("lowerdir=tmp/lower,upperdir=upper,workdir=work{more}"),
        )?;
        write("merged/fresh", b"fresh")?;
        let fd = open("merged/data", OFlags::RDWR)?;
        write_at(&fd, "merged/data", 0, b"FROM")?;
        drop(fd);
        contents("pwrite", "merged/data", b"FROM below")?;
        unlink("merged/gone")?;
        holds("unlink", "merged", &["data", "fresh"])
    })?;
    contents("mount", "upper/fresh", b"fresh")
}

submit!(
    Case::new(
        "mount.chroot",
        "a process takes the directory as its root, and absolute paths and links stay below",
        chroot
    )
    .source("chroot(2)")
    .needed_by(&[
        "debootstrap, pacstrap",
        "OpenSSH (ChrootDirectory)",
        "build roots (mock, sbuild)"
    ])
    .needs(&[Need::HostRoot])
);

fn chroot(_: &mut Ctx) -> CaseOutcome {
    mkdir("root")?;
    mkdir("root/etc")?;
    write("root/etc/data", b"inside")?;
    symlink("/etc/data", "root/soft")?;
    fork(|_| {
        rustix::process::chroot("root").call("chroot", "root")?;
        rustix::process::chdir("/").call("chdir", "/")?;
        contents("chroot", "/etc/data", b"inside")?;
        contents("chroot", "/soft", b"inside")?;
        contents("chroot", "/../../etc/data", b"inside")
    })?
    .join()
}

submit!(
    Case::new(
        "mount.pivot_root",
        "a bind mount of the directory becomes the root by pivot_root",
        pivot_root
    )
    .source("pivot_root(2)")
    .needed_by(&["runc, crun", "bubblewrap", "systemd-nspawn"])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn pivot_root(_: &mut Ctx) -> CaseOutcome {
    mkdir("root")?;
    mkdir("root/old")?;
    write("root/data", b"inside")?;
    alone(|| {
        bind("root", "root")?;
        rustix::process::pivot_root("root", "root/old").call("pivot_root", "root, root/old")?;
        rustix::process::chdir("/").call("chdir", "/")?;
        rustix::mount::unmount("/old", UnmountFlags::DETACH).call("umount2", "/old, MNT_DETACH")?;
        contents("pivot_root", "/data", b"inside")?;
        holds("pivot_root", "/", &["data", "old"])
    })
}

submit!(
    Case::new(
        "mount.found",
        "the mount that a directory is on is found in /proc/self/mountinfo by its device number",
        found
    )
    .source("proc(5): mountinfo")
    .needed_by(&[
        "df, findmnt",
        "systemd",
        "Docker",
        "programs that look for network filesystems"
    ])
);

fn found(_: &mut Ctx) -> CaseOutcome {
    let device = stat(".")?.st_dev;
    let want = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let table = fs::read_to_string("/proc/self/mountinfo").call("read", "/proc/self/mountinfo")?;
    let found = table
        .lines()
        .filter(|line| line.split_whitespace().nth(2) == Some(&want))
        .count();
    ensure(
        "stat",
        found > 0,
        format_args!("no line of /proc/self/mountinfo has the directory's device number {want}"),
    )
}

submit!(
    Case::new("mount.statfs_type", "the type that statfs tells is that of the mount, by which programs know network filesystems", statfs_type)
        .source("statfs(2): f_type; v9fs gives what the server says, nullclaw/nullclaw#269")
        .needed_by(&["tail -f (inotify or polling)", "SQLite wrappers that avoid WAL", "systemd", "chrome (sandbox)"])
);

fn statfs_type(ctx: &mut Ctx) -> CaseOutcome {
    let device = stat(".")?.st_dev;
    let want = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let table = fs::read_to_string("/proc/self/mountinfo").call("read", "/proc/self/mountinfo")?;
    let Some(kind) = table
        .lines()
        .find(|line| line.split_whitespace().nth(2) == Some(&want))
        .and_then(|line| line.split_once(" - "))
        .and_then(|(_, rest)| rest.split_whitespace().next())
    else {
        return Err(Stop::NotRun(
            "the directory's mount is not in /proc/self/mountinfo".into(),
        ));
    };
    let told = rustix::fs::statfs(".").call("statfs", ".")?.f_type as u64;
    let magic: &[u64] = match kind {
        "ext2" | "ext3" | "ext4" => &[0xef53],
        "tmpfs" => &[0x0102_1994],
        "xfs" => &[0x5846_5342],
        "btrfs" => &[0x9123_683e],
        "overlay" => &[0x794c_7630],
        "9p" => &[0x0102_1997],
        kind if kind.starts_with("fuse") => &[0x6573_5546],
        other => {
            return Err(Stop::NotRun(format!(
                "the magic number of {other} is not known here"
            )));
        }
    };
    ctx.guarantee("f_type is that of the mounted type", magic.contains(&told));
    Ok(())
}

submit!(
    Case::new(
        "mount.options",
        "the mount's options are told the same by /proc/self/mounts, /proc/self/mountinfo and statvfs",
        options
    )
    .source("proc(5): mounts, mountinfo; POSIX statvfs(): f_flag")
    .needed_by(&["findmnt, mount", "systemd", "Docker (checks of nosuid, noexec)", "df"])
);

fn options(_: &mut Ctx) -> CaseOutcome {
    use rustix::fs::StatVfsMountFlags as F;
    let told = |name: &str| fs::read_to_string(name).call("read", name);
    let device = stat(".")?.st_dev;
    let number = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    // The last mount that has the directory below it is the one that shows.
    let here = std::env::current_dir().call("getcwd", "")?;
    let table = told("/proc/self/mountinfo")?;
    let fields = |line: &'_ str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let Some(line) = table
        .lines()
        .map(fields)
        .rfind(|f| f.get(2) == Some(&number) && f.get(4).is_some_and(|at| here.starts_with(at)))
    else {
        return Err(Stop::NotRun(
            "the directory's mount is not in /proc/self/mountinfo".into(),
        ));
    };
    let (at, of_mount) = (&line[4], &line[5]);
    let (kind, of_all) = match line.iter().position(|field| field == "-") {
        Some(dash) => (&line[dash + 1], line.last().cloned().unwrap_or_default()),
        None => {
            return Err(Stop::broken(
                "read",
                "a line of /proc/self/mountinfo has no dash",
            ));
        }
    };
    let mounts = told("/proc/self/mounts")?;
    let Some(other) = mounts.lines().map(fields).rfind(|f| f.get(1) == Some(at)) else {
        return Err(Stop::broken(
            "read",
            format!("{at} is not in /proc/self/mounts"),
        ));
    };
    expect("read", "the type in /proc/self/mounts", &other[2], kind)?;
    let named: Vec<&str> = other[3].split(',').collect();
    for option in of_mount.split(',').chain(of_all.split(',')) {
        // Either side may be read-only by itself.
        let fits = named.contains(&option) || option == "rw" || option == "ro";
        ensure(
            "read",
            fits,
            format_args!("/proc/self/mounts lacks {option} of {at}"),
        )?;
    }
    let flags = rustix::fs::statvfs(".").call("statvfs", ".")?.f_flag;
    for (flag, option) in [
        (F::RDONLY, "ro"),
        (F::NOSUID, "nosuid"),
        (F::NODEV, "nodev"),
        (F::NOEXEC, "noexec"),
        (F::SYNCHRONOUS, "sync"),
        (F::NOATIME, "noatime"),
        (F::NODIRATIME, "nodiratime"),
        (F::RELATIME, "relatime"),
    ] {
        let in_table = named.contains(&option);
        expect(
            "statvfs",
            &format!("whether the mount is {option}"),
            flags.contains(flag),
            in_table,
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "mount.noexec",
        "through a bind mount made noexec programs do not run: EACCES",
        noexec
    )
    .source("mount(2): MS_NOEXEC")
    .needed_by(&["hardened containers", "systemd (NoExecPaths)"])
    .needs(&[Need::HostRoot, Need::Mount])
);

fn noexec(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    drop(create_mode("dir/script", 0o755, b"#!/bin/sh\nexit 0\n")?);
    let run = || std::process::Command::new("dir/script").status();
    ensure(
        "execve",
        run().call("execve", "dir/script")?.success(),
        "the script failed",
    )?;
    alone(|| {
        bind("dir", "dir")?;
        rustix::mount::mount_remount("dir", MountFlags::BIND | MountFlags::NOEXEC, "")
            .call("mount", "dir, MS_REMOUNT|MS_BIND|MS_NOEXEC")?;
        run().refused("execve", "dir/script, mounted noexec", Errno::EACCES)
    })
}

submit!(
    Case::new(
        "mount.loop_device",
        "a file of the volume serves as the store of a loop device, written and read through it",
        loop_device
    )
    .source("loop(4)")
    .needed_by(&[
        "the remedy: a disk image on the volume",
        "snapd",
        "mkosi, Yocto",
        "Docker-in-docker on ext4 images"
    ])
    .needs(&[Need::HostRoot, Need::LoopDevice])
);

fn loop_device(_: &mut Ctx) -> CaseOutcome {
    const LOOP_SET_FD: libc::c_ulong = 0x4c00;
    const LOOP_CLR_FD: libc::c_ulong = 0x4c01;
    const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
    let image = create("image", &vec![b'.'; 1 << 20])?;
    let control = open("/dev/loop-control", OFlags::RDWR)?;
    // SAFETY: the request takes no argument and returns a number.
    let free = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) })
        .call("ioctl", "/dev/loop-control, LOOP_CTL_GET_FREE")?;
    let name = format!("/dev/loop{free}");
    let device = open(&name, OFlags::RDWR)?;
    // SAFETY: the request takes a descriptor that is open.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD as _, image.as_raw_fd()) })
        .call("ioctl", format_args!("{name}, LOOP_SET_FD, image"))?;
    let used = || -> CaseOutcome {
        same_bytes("read", &name, &read_at(&device, &name, 4096, 4)?, b"....")?;
        write_at(&device, &name, 8192, &[b'L'; 4096])?;
        rustix::fs::fsync(&device).call("fsync", &name)
    };
    let outcome = used();
    // SAFETY: the request takes no argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD as _) })
        .call("ioctl", format_args!("{name}, LOOP_CLR_FD"))?;
    outcome?;
    let bytes = read("image")?;
    same_bytes(
        "pwrite",
        "image",
        &bytes[8190..12_290],
        &[&b".."[..], &[b'L'; 4096], b".."].concat(),
    )
}
