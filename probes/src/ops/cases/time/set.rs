//! How times are set and kept, how fine they are, and which call moves which.

use super::*;

submit!(
    Case::new(
        "time.nanoseconds",
        "access and modification times are set and read back to the nanosecond",
        nanoseconds
    )
    .source("POSIX utimensat()")
    .needed_by(&["tar, cp -p, rsync -t", "make and ninja", "git (index)"])
);

fn nanoseconds(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", at(PAST, 123_456_789), at(PAST + 1, 987_654_321))?;
    expect(
        "utimensat",
        "the access time",
        atime("data")?,
        (PAST, 123_456_789),
    )?;
    expect(
        "utimensat",
        "the modification time",
        mtime("data")?,
        (PAST + 1, 987_654_321),
    )
}

submit!(
    Case::new("time.omit", "UTIME_OMIT leaves a time as it is", omit)
        .source("POSIX utimensat(): UTIME_OMIT")
        .needed_by(&["touch -a, touch -m", "rsync", "libarchive"])
);

fn omit(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", at(PAST, 1), at(PAST, 2))?;
    set("data", at(PAST + 5, 5), at(0, UTIME_OMIT))?;
    expect(
        "utimensat",
        "both times",
        (atime("data")?, mtime("data")?),
        ((PAST + 5, 5), (PAST, 2)),
    )?;
    set("data", at(0, UTIME_OMIT), at(PAST + 7, 7))?;
    expect(
        "utimensat",
        "both times",
        (atime("data")?, mtime("data")?),
        ((PAST + 5, 5), (PAST + 7, 7)),
    )
}

submit!(
    Case::new(
        "time.now",
        "UTIME_NOW sets a time to now and leaves the other that was given",
        now
    )
    .source("POSIX utimensat(): UTIME_NOW")
    .needed_by(&["touch", "build stamps", "borg (cache markers)"])
);

fn now(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", at(PAST, 0), at(PAST, 0))?;
    set("data", at(PAST + 3, 3), at(0, UTIME_NOW))?;
    expect(
        "utimensat",
        "the access time",
        atime("data")?,
        (PAST + 3, 3),
    )?;
    ensure(
        "utimensat",
        mtime("data")?.0 > PAST + 100,
        "UTIME_NOW left the modification time in the past",
    )?;
    set("data", at(PAST, 0), at(PAST, 0))?;
    nix::sys::stat::utimensat(
        CWD,
        "data",
        &nix::sys::time::TimeSpec::UTIME_NOW,
        &nix::sys::time::TimeSpec::UTIME_NOW,
        nix::sys::stat::UtimensatFlags::FollowSymlink,
    )
    .call("utimensat", "data, both now")?;
    ensure(
        "utimensat",
        atime("data")?.0 > PAST + 100 && mtime("data")?.0 > PAST + 100,
        "UTIME_NOW left a time in the past",
    )
}

submit!(
    Case::new("time.early", "a time before 1970 is kept", early)
        .source("POSIX: time_t is signed; ext4 keeps times from 1901 on")
        .needed_by(&["archives of old files", "tar"])
);

fn early(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", at(-1_000_000, 0), at(-86_400, 500))?;
    expect(
        "utimensat",
        "the modification time",
        mtime("data")?,
        (-86_400, 500),
    )
}

submit!(
    Case::new("time.epoch", "the time 0 is kept", epoch)
        .source("POSIX utimensat()")
        .needed_by(&[
            "Nix (1970-01-01)",
            "reproducible builds",
            "OCI image layers"
        ])
);

fn epoch(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", at(0, 0), at(0, 0))?;
    expect(
        "utimensat",
        "both times",
        (atime("data")?, mtime("data")?),
        ((0, 0), (0, 0)),
    )
}

submit!(
    Case::new(
        "time.late",
        "times after 2038 and after 2106 are kept",
        late
    )
    .source("Linux: 64-bit times; ext4 keeps times up to 2446")
    .needed_by(&[
        "certificates and caches with far dates",
        "tests of the year 2038"
    ])
);

fn late(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    for seconds in [2_147_483_648, 4_294_967_296, 5_000_000_000] {
        set("data", at(seconds, 0), at(seconds, 9))?;
        expect(
            "utimensat",
            "the modification time",
            mtime("data")?,
            (seconds, 9),
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "time.of_directory",
        "the times of a directory are set and kept",
        of_directory
    )
    .source("POSIX utimensat()")
    .needed_by(&["tar, rsync -t", "reproducible builds"])
);

fn of_directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    write("dir/data", b"x")?;
    set("dir", at(PAST, 1), at(PAST, 2))?;
    expect(
        "utimensat",
        "the modification time",
        mtime("dir")?,
        (PAST, 2),
    )
}

submit!(
    Case::new(
        "time.futimens",
        "the times of an open file are set and outlive its closing",
        futimens
    )
    .source("POSIX futimens(); v9fs may write back behind it")
    .needed_by(&["tar", "cp -p", "rsync", "unzip"])
);

fn futimens(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'x'; 10_000])?;
    rustix::fs::futimens(
        &fd,
        &Timestamps {
            last_access: at(PAST, 1),
            last_modification: at(PAST, 2),
        },
    )
    .call("futimens", "data")?;
    drop(fd);
    expect(
        "futimens",
        "the modification time after close",
        mtime("data")?,
        (PAST, 2),
    )
}

submit!(
    Case::new(
        "time.write_moves",
        "write and truncate advance mtime and ctime",
        write_moves
    )
    .source("POSIX write(), ftruncate(): last data modification and last status change")
    .needed_by(&[
        "make",
        "git (racy index entries)",
        "backup programs",
        "editors (changed on disk)"
    ])
);

fn write_moves(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"0123456789")?;
    for step in ["pwrite", "ftruncate"] {
        set("data", at(PAST, 0), at(PAST, 0))?;
        let before = ctime("data")?;
        match step {
            "pwrite" => write_at(&fd, "data", 0, b"y")?,
            _ => rustix::fs::ftruncate(&fd, 4).call("ftruncate", "data, 4")?,
        }
        ensure(
            step,
            mtime("data")?.0 > PAST,
            format_args!("{step} left the modification time"),
        )?;
        ensure(
            step,
            ctime("data")? >= before,
            format_args!("{step} moved the change time back"),
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "time.read_keeps",
        "reading, stat and opening leave mtime",
        read_keeps
    )
    .source("POSIX read()")
    .needed_by(&["make", "backup programs"])
);

fn read_keeps(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", at(PAST, 0), at(PAST, 7))?;
    read("data")?;
    drop(open("data", OFlags::RDWR)?);
    expect("close", "the modification time", mtime("data")?, (PAST, 7))
}

submit!(
    Case::new(
        "time.change_moves",
        "chmod, link and rename leave mtime, and chmod advances ctime",
        change_moves
    )
    .source("POSIX chmod(), link(): last status change")
    .needed_by(&[
        "backup programs (ctime)",
        "git (trustctime)",
        "borg, restic"
    ])
);

fn change_moves(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", at(PAST, 0), at(PAST, 7))?;
    let before = ctime("data")?;
    ensure(
        "utimensat",
        before.0 > PAST + 100,
        "the change time was set into the past, where no call can set it",
    )?;
    chmod("data", 0o600)?;
    link("data", "again")?;
    rename("data", "moved")?;
    expect(
        "rename",
        "the modification time",
        mtime("moved")?,
        (PAST, 7),
    )?;
    ensure(
        "chmod",
        ctime("moved")? >= before,
        "the change time went back",
    )
}

submit!(
    Case::new(
        "time.order",
        "a file made after another is never older",
        order
    )
    .source("POSIX: times are marked when they are updated; make's rule")
    .needed_by(&["make and ninja", "cargo (fingerprints)"])
);

fn order(_: &mut Ctx) -> CaseOutcome {
    for i in 0..30 {
        write(&format!("f{i}"), b"x")?;
    }
    for i in 1..30 {
        let (old, new) = (mtime(&format!("f{}", i - 1))?, mtime(&format!("f{i}"))?);
        ensure(
            "open",
            new >= old,
            format_args!(
                "f{i} was made after f{}, but its modification time {new:?} is before {old:?}",
                i - 1
            ),
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "time.clock",
        "the time of a new file lies between two readings of the process's clock, within 2 s",
        clock
    )
    .source("POSIX: last data modification is the current time")
    .needed_by(&[
        "make (clock skew detected)",
        "git",
        "caches that compare with now"
    ])
);

fn clock(_: &mut Ctx) -> CaseOutcome {
    let now = || rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    let before = now();
    write("data", b"x")?;
    let made = mtime("data")?.0;
    // A coarse clock, or another machine's that is in step, may differ by a tick.
    ensure(
        "open",
        (before - 2..=now() + 2).contains(&made),
        "the file's modification time is not the time at which it was made, by the process's clock",
    )
}

submit!(
    Case::new(
        "time.resolution",
        "times are kept finer than a second when the system sets them",
        resolution
    )
    .source("POSIX <sys/stat.h>: st_mtim")
    .needed_by(&[
        "make and ninja",
        "incremental compilers",
        "pytest (bytecode)"
    ])
);

fn resolution(ctx: &mut Ctx) -> CaseOutcome {
    let mut fine = false;
    for i in 0..20 {
        let name = format!("f{i}");
        write(&name, b"x")?;
        fine |= mtime(&name)?.1 != 0;
    }
    ctx.guarantee("finer than a second", fine);
    expect("open", "the number of files", names(".")?.len(), 20)
}

submit!(
    Case::new(
        "time.owner_alone",
        "another user sets a writable file's times to now, and no others: EPERM",
        owner_alone
    )
    .source("POSIX utimensat(): EPERM, EACCES")
    .needed_by(&["shared trees", "tar as an ordinary user"])
    .needs(&[Need::SecondUser])
);

fn owner_alone(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    write("data", b"x")?;
    chmod("data", 0o666)?;
    set("data", at(PAST, 0), at(PAST, 0))?;
    as_user(THIRD, || {
        let times = Timestamps {
            last_access: at(5, 5),
            last_modification: at(5, 5),
        };
        rustix::fs::utimensat(CWD, "data", &times, AtFlags::empty()).refused(
            "utimensat",
            "data, by another user",
            Errno::EPERM,
        )?;
        set("data", at(0, UTIME_NOW), at(0, UTIME_NOW))
    })?;
    ensure(
        "utimensat",
        mtime("data")?.0 > PAST,
        "UTIME_NOW by another user left the modification time",
    )
}
