//! Which call marks which time for update: one table for a file's modification time, one for a directory's, one for
//! the time of change.

use rustix::fs::XattrFlags;

use super::*;

/// What a rule's call does, to the file or the directory of the name that it is given.
type Doing = fn(&str) -> CaseOutcome;

/// Whether a name's modification time, set to the past, is moved by each call.
fn moved(
    ctx: &mut Ctx,
    rules: &[(&str, Doing, bool)],
    make: fn(&str) -> CaseOutcome,
) -> CaseOutcome {
    for (i, (what, doing, wanted)) in rules.iter().enumerate() {
        let name = format!("n{i}");
        make(&name)?;
        set(&name, at(PAST, 0), at(PAST, 0))?;
        doing(&name)?;
        let now = mtime(&name)?.0 != PAST;
        ctx.fact(
            &format!("mtime after {what}"),
            if now { "moved" } else { "kept" },
        );
        expect(what, "whether st_mtime moved", now, *wanted)?;
    }
    Ok(())
}

fn rw(name: &str) -> CaseOutcome<OwnedFd> {
    open(name, OFlags::RDWR)
}

submit!(
    Case::new(
        "time.file_rules",
        "each call on a file moves its modification time or leaves it as POSIX says",
        file_rules
    )
    .source("POSIX: the \"mark for update\" of each function; write(2): a write of nothing marks nothing")
    .needed_by(&["make and ninja", "rsync", "git (index)", "incremental backups"])
);

fn file_rules(ctx: &mut Ctx) -> CaseOutcome {
    let rules: &[(&str, Doing, bool)] = &[
        ("a write", |n| write_at(&rw(n)?, n, 0, b"y"), true),
        (
            "a write of nothing",
            |n| {
                rustix::io::pwrite(rw(n)?, b"", 0)
                    .call("pwrite", n)
                    .map(drop)
            },
            false,
        ),
        (
            "an appending write",
            |n| write_at(&open(n, OFlags::WRONLY | OFlags::APPEND)?, n, 0, b"y"),
            true,
        ),
        (
            "ftruncate to another size",
            |n| rustix::fs::ftruncate(rw(n)?, 1).call("ftruncate", n),
            true,
        ),
        (
            "open with O_TRUNC",
            |n| open(n, OFlags::WRONLY | OFlags::TRUNC).map(drop),
            true,
        ),
        ("open for writing", |n| rw(n).map(drop), false),
        ("a read", |n| read(n).map(drop), false),
        (
            "fsync",
            |n| rustix::fs::fsync(rw(n)?).call("fsync", n),
            false,
        ),
        ("chmod", |n| chmod(n, 0o600), false),
        (
            "chown to the same owner",
            |n| rustix::fs::chown(n, None, None).call("chown", n),
            false,
        ),
        ("link", |n| link(n, &format!("{n}-again")), false),
        (
            "rename and back",
            |n| {
                rename(n, "elsewhere")?;
                rename("elsewhere", n)
            },
            false,
        ),
        (
            "setxattr",
            |n| rustix::fs::setxattr(n, "user.k", b"v", XattrFlags::empty()).call("setxattr", n),
            false,
        ),
        (
            "sendfile into it",
            |n| {
                write(&format!("{n}-from"), b"from")?;
                let from = rw(&format!("{n}-from"))?;
                rustix::fs::sendfile(rw(n)?, from, None, 4)
                    .call("sendfile", n)
                    .map(drop)
            },
            true,
        ),
    ];
    moved(ctx, rules, |name| write(name, b"xyz"))
}

submit!(
    Case::new(
        "time.directory_rules",
        "each call below a directory moves its modification time or leaves it as POSIX says",
        directory_rules
    )
    .source("POSIX: open(), mkdir(), link(), symlink(), rename(), unlink(), rmdir() mark the parent's st_mtim")
    .needed_by(&["make (directory targets)", "mail programs (maildir)", "file managers", "borg (files cache)"])
);

fn directory_rules(ctx: &mut Ctx) -> CaseOutcome {
    let rules: &[(&str, Doing, bool)] = &[
        (
            "open with O_CREAT",
            |n| write(&format!("{n}/new"), b""),
            true,
        ),
        (
            "open with O_CREAT of what is there",
            |n| {
                let flags = OFlags::WRONLY | OFlags::CREATE;
                rustix::fs::open(format!("{n}/data"), flags, mode(0o644))
                    .call("open", n)
                    .map(drop)
            },
            false,
        ),
        ("mkdir", |n| mkdir(&format!("{n}/new")), true),
        ("symlink", |n| symlink("data", &format!("{n}/new")), true),
        (
            "link",
            |n| link(&format!("{n}/data"), &format!("{n}/new")),
            true,
        ),
        ("unlink", |n| unlink(&format!("{n}/data")), true),
        (
            "rmdir",
            |n| rustix::fs::rmdir(format!("{n}/sub")).call("rmdir", n),
            true,
        ),
        (
            "rename inside",
            |n| rename(&format!("{n}/data"), &format!("{n}/new")),
            true,
        ),
        (
            "rename away",
            |n| rename(&format!("{n}/data"), &format!("{n}-away")),
            true,
        ),
        (
            "rename into it",
            |n| {
                write(&format!("{n}-new"), b"")?;
                rename(&format!("{n}-new"), &format!("{n}/new"))
            },
            true,
        ),
        (
            "a write below",
            |n| write_at(&rw(&format!("{n}/data"))?, n, 0, b"y"),
            false,
        ),
        ("chmod below", |n| chmod(&format!("{n}/data"), 0o600), false),
        (
            "mkdir two levels below",
            |n| mkdir(&format!("{n}/sub/new")),
            false,
        ),
        ("a listing", |n| names(n).map(drop), false),
    ];
    moved(ctx, rules, |name| {
        mkdir(name)?;
        write(&format!("{name}/data"), b"x")?;
        mkdir(&format!("{name}/sub"))
    })
}

submit!(
    Case::new(
        "time.change_rules",
        "each call that changes a file or what is told of it moves st_ctime, and reading leaves it",
        change_rules
    )
    .source("POSIX <sys/stat.h>: last file status change; Linux also for rename, link and xattrs")
    .needed_by(&[
        "tar --listed-incremental",
        "git (index)",
        "borg, restic",
        "find -cnewer"
    ])
);

fn change_rules(ctx: &mut Ctx) -> CaseOutcome {
    let rules: &[(&str, Doing, bool)] = &[
        ("a write", |n| write_at(&rw(n)?, n, 0, b"y"), true),
        (
            "ftruncate",
            |n| rustix::fs::ftruncate(rw(n)?, 1).call("ftruncate", n),
            true,
        ),
        ("chmod", |n| chmod(n, 0o600), true),
        ("link", |n| link(n, &format!("{n}-again")), true),
        (
            "rename and back",
            |n| {
                rename(n, "elsewhere")?;
                rename("elsewhere", n)
            },
            true,
        ),
        ("utimensat", |n| set(n, at(PAST, 0), at(PAST, 0)), true),
        (
            "setxattr",
            |n| rustix::fs::setxattr(n, "user.k", b"v", XattrFlags::empty()).call("setxattr", n),
            true,
        ),
        ("a read", |n| read(n).map(drop), false),
        ("open for writing", |n| rw(n).map(drop), false),
        ("stat", |n| stat(n).map(drop), false),
    ];
    let name = |i: usize| format!("n{i}");
    let mut before = Vec::new();
    for i in 0..rules.len() {
        write(&name(i), b"xyz")?;
        before.push(ctime(&name(i))?);
    }
    // The clock of files goes in ticks, and it may be another machine's: until a new file is later than all of them.
    let last = before.iter().max().copied().unwrap_or_default();
    loop {
        write("tick", b"")?;
        let now = ctime("tick")?;
        unlink("tick")?;
        if now > last {
            break;
        }
    }
    for (i, (what, doing, wanted)) in rules.iter().enumerate() {
        doing(&name(i))?;
        let moved = ctime(&name(i))? != before[i];
        ctx.fact(
            &format!("ctime after {what}"),
            if moved { "moved" } else { "kept" },
        );
        expect(what, "whether st_ctime moved", moved, *wanted)?;
    }
    Ok(())
}
