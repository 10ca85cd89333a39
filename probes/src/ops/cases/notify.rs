//! Being told of changes: inotify and fanotify, of what processes of the same client do.
//!
//! Events are read from a descriptor that does not block, after the change was made: the kernel queues them
//! before the call that makes the change returns, so no case waits for one.

use std::ffi::OsString;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::prelude::*;

const SOURCE: &str = "inotify(7)";

struct Watch(Inotify);

impl Watch {
    fn new(path: &str, flags: AddWatchFlags) -> CaseOutcome<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
            .call("inotify_init1", "")?;
        inotify
            .add_watch(path, flags)
            .call("inotify_add_watch", format_args!("{path}, {flags:?}"))?;
        Ok(Watch(inotify))
    }

    /// All events that are queued, as flag and name.
    fn events(&self) -> CaseOutcome<Vec<(AddWatchFlags, Option<OsString>, u32)>> {
        let mut all = Vec::new();
        loop {
            match self.0.read_events() {
                Ok(events) => all.extend(events.into_iter().map(|e| (e.mask, e.name, e.cookie))),
                Err(Errno::EAGAIN) => return Ok(all),
                Err(error) => return Err(error).call("read", "an inotify descriptor"),
            }
        }
    }

    /// An event of that kind must have come, for that name.
    fn told(&self, call: &str, flag: AddWatchFlags, name: Option<&str>) -> CaseOutcome {
        let events = self.events()?;
        let found = events.iter().any(|(mask, of, _)| {
            mask.contains(flag) && of.as_deref() == name.map(std::ffi::OsStr::new)
        });
        ensure(
            call,
            found,
            format_args!("{call} was not told as {flag:?} of {name:?}; the events are {events:?}"),
        )
    }
}

submit!(
    Case::new(
        "notify.create_delete",
        "inotify tells of what is made and removed in a directory",
        create_delete
    )
    .source(SOURCE)
    .needed_by(&[
        "vite, webpack, tsc -w",
        "nodemon",
        "systemd path units",
        "incron"
    ])
);

fn create_delete(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    let watch = Watch::new("dir", AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE)?;
    write("dir/data", b"x")?;
    watch.told("open", AddWatchFlags::IN_CREATE, Some("data"))?;
    mkdir("dir/sub")?;
    watch.told(
        "mkdir",
        AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ISDIR,
        Some("sub"),
    )?;
    unlink("dir/data")?;
    watch.told("unlink", AddWatchFlags::IN_DELETE, Some("data"))
}

submit!(
    Case::new(
        "notify.modify",
        "inotify tells of writes, and of the closing of what was written",
        modify
    )
    .source(SOURCE)
    .needed_by(&[
        "tail -f",
        "hot reloading",
        "configuration watchers (nginx-ingress, CoreDNS)"
    ])
);

fn modify(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"x")?;
    let watch = Watch::new(
        "data",
        AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE,
    )?;
    write_at(&fd, "data", 0, b"y")?;
    watch.told("pwrite", AddWatchFlags::IN_MODIFY, None)?;
    rustix::fs::ftruncate(&fd, 0).call("ftruncate", "data, 0")?;
    watch.told("ftruncate", AddWatchFlags::IN_MODIFY, None)?;
    drop(fd);
    watch.told("close", AddWatchFlags::IN_CLOSE_WRITE, None)
}

submit!(
    Case::new(
        "notify.other_process",
        "inotify tells of what another process writes",
        other_process
    )
    .source(SOURCE)
    .needed_by(&["every file watcher"])
);

fn other_process(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    let watch = Watch::new(
        "dir",
        AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO,
    )?;
    fork(|_| {
        write("dir/tmp", b"x")?;
        rename("dir/tmp", "dir/data")
    })?
    .join()?;
    let events = watch.events()?;
    let has = |flag, name: &str| {
        events.iter().any(|(mask, of, _)| {
            mask.contains(flag) && of.as_deref() == Some(std::ffi::OsStr::new(name))
        })
    };
    ensure(
        "close",
        has(AddWatchFlags::IN_CLOSE_WRITE, "tmp"),
        format_args!("the other process's close was not told; the events are {events:?}"),
    )?;
    ensure(
        "rename",
        has(AddWatchFlags::IN_MOVED_TO, "data"),
        format_args!("the other process's rename was not told; the events are {events:?}"),
    )
}

submit!(
    Case::new(
        "notify.moved",
        "inotify tells of both ends of a rename, joined by a cookie",
        moved
    )
    .source("inotify(7): IN_MOVED_FROM, IN_MOVED_TO, cookie")
    .needed_by(&["Syncthing", "watchdog, chokidar, fsnotify", "Nextcloud"])
);

fn moved(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/old", b"x")?;
    let watch = Watch::new("dir", AddWatchFlags::IN_MOVE)?;
    rename("dir/old", "dir/new")?;
    let events = watch.events()?;
    expect("rename", "the number of events", events.len(), 2)?;
    expect(
        "rename",
        "the names",
        (events[0].1.clone(), events[1].1.clone()),
        (Some("old".into()), Some("new".into())),
    )?;
    ensure(
        "rename",
        events[0].2 == events[1].2 && events[0].2 != 0,
        "the two ends of the rename have different cookies",
    )
}

submit!(
    Case::new(
        "notify.self",
        "inotify tells the watcher of a file that it was renamed and removed",
        itself
    )
    .source("inotify(7): IN_MOVE_SELF, IN_DELETE_SELF, IN_IGNORED")
    .needed_by(&[
        "tail -F",
        "log shippers (Fluent Bit, Filebeat)",
        "certificate reloaders"
    ])
);

fn itself(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let watch = Watch::new(
        "data",
        AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_ATTRIB,
    )?;
    rename("data", "moved")?;
    watch.told("rename", AddWatchFlags::IN_MOVE_SELF, None)?;
    chmod("moved", 0o600)?;
    watch.told("chmod", AddWatchFlags::IN_ATTRIB, None)?;
    unlink("moved")?;
    watch.told("unlink", AddWatchFlags::IN_DELETE_SELF, None)
}

submit!(
    Case::new(
        "notify.replaced",
        "inotify tells the watcher of a file that another was renamed over it",
        replaced
    )
    .source(SOURCE)
    .needed_by(&[
        "editors and servers that watch one file",
        "Kubernetes ConfigMap watchers"
    ])
);

fn replaced(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let watch = Watch::new(
        "data",
        AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_DELETE_SELF,
    )?;
    write("tmp", b"new")?;
    rename("tmp", "data")?;
    let events = watch.events()?;
    ensure(
        "rename",
        !events.is_empty(),
        "a file was renamed over the watched one, and nothing was told",
    )
}

submit!(
    Case::new(
        "notify.access",
        "inotify tells of opening, reading and closing",
        access
    )
    .source(SOURCE)
    .needed_by(&["preloaders (ureadahead)", "honeypots and audit scripts"])
);

fn access(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let watch = Watch::new(
        "data",
        AddWatchFlags::IN_OPEN | AddWatchFlags::IN_ACCESS | AddWatchFlags::IN_CLOSE_NOWRITE,
    )?;
    read("data")?;
    let events = watch.events()?;
    for flag in [
        AddWatchFlags::IN_OPEN,
        AddWatchFlags::IN_ACCESS,
        AddWatchFlags::IN_CLOSE_NOWRITE,
    ] {
        ensure(
            "read",
            events.iter().any(|(mask, ..)| mask.contains(flag)),
            format_args!("{flag:?} was not told; the events are {events:?}"),
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "notify.many_watches",
        "300 watches are set, and each tells of its own directory",
        many_watches
    )
    .source("inotify(7): max_user_watches")
    .needed_by(&["IDEs", "webpack", "Syncthing"])
    .limit_secs(180)
);

fn many_watches(_: &mut Ctx) -> CaseOutcome {
    let inotify =
        Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).call("inotify_init1", "")?;
    let mut watches = std::collections::HashMap::new();
    for i in 0..300 {
        mkdir(&format!("d{i}"))?;
        let watch = inotify
            .add_watch(format!("d{i}").as_str(), AddWatchFlags::IN_CREATE)
            .call("inotify_add_watch", format_args!("d{i}"))?;
        watches.insert(watch, i);
    }
    expect(
        "inotify_add_watch",
        "the number of watches",
        watches.len(),
        300,
    )?;
    for i in (0..300).step_by(50) {
        write(&format!("d{i}/data"), b"")?;
        let events = inotify
            .read_events()
            .call("read", "an inotify descriptor")?;
        expect(
            "inotify_add_watch",
            "the directory that was told of",
            watches.get(&events[0].wd),
            Some(&i),
        )?;
    }
    Ok(())
}

/// A fanotify group, whose descriptor does not block.
fn fanotify(flags: libc::c_uint) -> CaseOutcome<OwnedFd> {
    // SAFETY: the call takes numbers alone.
    let fd = check(unsafe {
        libc::fanotify_init(
            flags | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK,
            libc::O_RDONLY as u32,
        )
    })
    .call("fanotify_init", format_args!("{flags:#x}"))?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) })
}

fn mark(group: &OwnedFd, flags: libc::c_uint, mask: u64, path: &str) -> CaseOutcome {
    let name = std::ffi::CString::new(path).map_err(|e| Stop::broken("fanotify_mark", e))?;
    // SAFETY: the descriptor is a fanotify group's and the path a C string.
    check(unsafe {
        libc::fanotify_mark(
            group.as_raw_fd(),
            flags,
            mask,
            libc::AT_FDCWD,
            name.as_ptr(),
        )
    })
    .call(
        "fanotify_mark",
        format_args!("{path}, {flags:#x}, {mask:#x}"),
    )
    .map(drop)
}

submit!(
    Case::new(
        "notify.fanotify",
        "fanotify tells root of the writing of a file in a marked directory",
        fanotify_modify
    )
    .source("fanotify(7)")
    .needed_by(&[
        "virus scanners",
        "systemd-readahead-like tools",
        "ClamAV (clamonacc)"
    ])
    .needs(&[Need::HostRoot])
);

fn fanotify_modify(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/data", b"x")?;
    let group = fanotify(libc::FAN_CLASS_NOTIF)?;
    mark(
        &group,
        libc::FAN_MARK_ADD,
        libc::FAN_CLOSE_WRITE | libc::FAN_EVENT_ON_CHILD,
        "dir",
    )?;
    fork(|_| write_at(&open("dir/data", OFlags::RDWR)?, "dir/data", 0, b"y"))?.join()?;
    let mut buffer = [0u8; 4096];
    let n = rustix::io::read(&group, &mut buffer).call("read", "a fanotify descriptor")?;
    // struct fanotify_event_metadata: length, version, reserved, metadata length, mask, descriptor, pid.
    ensure("read", n >= 24, "the fanotify event is too short")?;
    let mut mask = [0; 8];
    mask.copy_from_slice(&buffer[8..16]);
    let mut fd = [0; 4];
    fd.copy_from_slice(&buffer[16..20]);
    expect(
        "read",
        "the event's mask",
        u64::from_ne_bytes(mask),
        libc::FAN_CLOSE_WRITE,
    )?;
    let fd = i32::from_ne_bytes(fd);
    ensure("read", fd >= 0, "the fanotify event has no descriptor")?;
    // SAFETY: the kernel opened this descriptor for us with the event.
    let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    same_bytes(
        "read",
        "the file of the event",
        &read_at(&fd, "the file of the event", 0, 10)?,
        b"y",
    )
}

submit!(
    Case::new(
        "notify.fanotify_names",
        "fanotify tells of names made in a directory, by file handle",
        fanotify_names
    )
    .source("fanotify(7): FAN_REPORT_DFID_NAME, since Linux 5.9; needs file handles")
    .needed_by(&[
        "inotify-tools (fsnotifywatch)",
        "Watchman successors",
        "Lustre-like indexers"
    ])
    .needs(&[Need::HostRoot])
);

fn fanotify_names(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    let group = fanotify(libc::FAN_CLASS_NOTIF | libc::FAN_REPORT_DIR_FID | libc::FAN_REPORT_NAME)?;
    mark(&group, libc::FAN_MARK_ADD, libc::FAN_CREATE, "dir")?;
    write("dir/fresh", b"x")?;
    let mut buffer = [0u8; 4096];
    let n = rustix::io::read(&group, &mut buffer).call("read", "a fanotify descriptor")?;
    ensure(
        "read",
        buffer[..n].windows(6).any(|w| w == b"fresh\0"),
        "the event does not have the new name",
    )
}

submit!(
    Case::new(
        "notify.fanotify_filesystem",
        "a whole filesystem is marked for fanotify, by root",
        fanotify_filesystem
    )
    .source("fanotify_mark(2): FAN_MARK_FILESYSTEM, since Linux 4.20")
    .needed_by(&[
        "GNOME LocalSearch",
        "endpoint protection (CrowdStrike, Defender)"
    ])
    .needs(&[Need::HostRoot])
);

fn fanotify_filesystem(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let group = fanotify(libc::FAN_CLASS_NOTIF)?;
    mark(
        &group,
        libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM,
        libc::FAN_CLOSE_WRITE,
        ".",
    )?;
    // The mark goes with the group, at once: other processes' files are not to be told of for long.
    mark(
        &group,
        libc::FAN_MARK_REMOVE | libc::FAN_MARK_FILESYSTEM,
        libc::FAN_CLOSE_WRITE,
        ".",
    )?;
    contents("fanotify_mark", "data", b"x")
}
