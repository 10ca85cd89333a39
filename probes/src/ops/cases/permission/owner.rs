//! Whom files belong to, and who may give them away.

use rustix::fs::Gid;
use rustix::fs::Uid;

use super::*;

submit!(
    Case::new(
        "permission.owner_of_new",
        "what a user makes belongs to that user",
        owner_of_new
    )
    .source("POSIX open(): the file's owner is the effective user of the process")
    .needed_by(&[
        "git (safe.directory)",
        "gpg, ssh",
        "PostgreSQL",
        "npm as root",
        "sudo, logrotate"
    ])
);

fn owner_of_new(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    mkdir("dir")?;
    symlink("data", "soft")?;
    let me = rustix::process::geteuid().as_raw();
    for name in ["data", "dir", "soft"] {
        // Not the ids themselves: they differ between machines by design.
        expect(
            "open",
            &format!("whether {name} belongs to who made it"),
            lstat(name)?.st_uid == me,
            true,
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "permission.owner_other",
        "what another user makes belongs to that user and group",
        owner_other
    )
    .source("POSIX open(): owner and group of a new file")
    .needed_by(&[
        "daemons that drop to their own user",
        "mysqld, postgres, redis images"
    ])
    .needs(&[Need::SecondUser])
);

fn owner_other(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    as_user(OTHER, || {
        write("data", b"x")?;
        mkdir("dir")
    })?;
    for name in ["data", "dir"] {
        let stat = stat(name)?;
        expect(
            "open",
            &format!("owner and group of {name}"),
            (stat.st_uid, stat.st_gid),
            (OTHER, OTHER),
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "permission.chown_other",
        "root gives a file to another user and group",
        chown_other
    )
    .source("POSIX chown(); lima-vm/lima#1169")
    .needed_by(&[
        "mysql, postgres, redis, rabbitmq images",
        "dpkg, rpm",
        "tar and rsync as root"
    ])
    .needs(&[Need::SecondUser])
);

fn chown_other(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    rustix::fs::chown(
        "data",
        Some(Uid::from_raw(OTHER)),
        Some(Gid::from_raw(THIRD)),
    )
    .call("chown", "data, another user and group")?;
    let stat = stat("data")?;
    expect(
        "chown",
        "owner and group",
        (stat.st_uid, stat.st_gid),
        (OTHER, THIRD),
    )
}

submit!(
    Case::new(
        "permission.chown_directory",
        "root gives a directory to another user, who can then write in it",
        chown_directory
    )
    .source("POSIX chown()")
    .needed_by(&["entrypoints that chown a data directory (mysql, redis, grafana)"])
    .needs(&[Need::SecondUser])
);

fn chown_directory(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    mkdir("dir")?;
    rustix::fs::chown(
        "dir",
        Some(Uid::from_raw(OTHER)),
        Some(Gid::from_raw(OTHER)),
    )
    .call("chown", "dir, another user")?;
    as_user(OTHER, || write("dir/data", b"x"))?;
    contents("chown", "dir/data", b"x")
}

submit!(
    Case::new(
        "permission.chown_group",
        "root changes the group alone",
        chown_group
    )
    .source("POSIX chown(): (uid_t)-1")
    .needed_by(&["chgrp", "shared project trees", "Debian maintainer scripts"])
    .needs(&[Need::SecondUser])
);

fn chown_group(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let owner = stat("data")?.st_uid;
    rustix::fs::chown("data", None, Some(Gid::from_raw(THIRD)))
        .call("chown", "data, -1, another group")?;
    let stat = stat("data")?;
    expect("chown", "the group", stat.st_gid, THIRD)?;
    expect(
        "chown",
        "whether the owner is the same",
        stat.st_uid == owner,
        true,
    )
}

submit!(
    Case::new(
        "permission.chown_same",
        "a chown to the owner and group that a file has succeeds",
        chown_same
    )
    .source("POSIX chown()")
    .needed_by(&[
        "install",
        "rsync -o",
        "tar (files already right)",
        "OpenSSH sftp"
    ])
);

fn chown_same(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let before = stat("data")?;
    rustix::fs::chown(
        "data",
        Some(Uid::from_raw(before.st_uid)),
        Some(Gid::from_raw(before.st_gid)),
    )
    .call("chown", "data, its own owner and group")?;
    let after = stat("data")?;
    expect(
        "chown",
        "whether owner and group are the same",
        (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid),
        true,
    )
}

submit!(
    Case::new(
        "permission.chown_nothing",
        "a chown of -1, -1 succeeds and changes nothing",
        chown_nothing
    )
    .source("POSIX chown(): (uid_t)-1, (gid_t)-1; hexpm/hex#624")
    .needed_by(&["Erlang (hex)", "file libraries that always chown"])
);

fn chown_nothing(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let before = stat("data")?;
    rustix::fs::chown("data", None, None).call("chown", "data, -1, -1")?;
    let after = stat("data")?;
    expect(
        "chown",
        "whether owner and group are the same",
        (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid),
        true,
    )
}

submit!(
    Case::new(
        "permission.fchown_to_self",
        "a program running as root takes a file that it made as its own",
        fchown_to_self
    )
    .source("POSIX fchown()")
    .needed_by(&[
        "vim (backup files)",
        "OpenSSH (StrictModes)",
        "dpkg (extraction)",
        "install -o root"
    ])
    .needs(&[Need::Root])
);

fn fchown_to_self(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"x")?;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    rustix::fs::fchown(&fd, Some(uid), Some(gid))
        .call("fchown", "data, the process's own user and group")?;
    expect(
        "fchown",
        "whether the file belongs to the process's user",
        stat("data")?.st_uid == uid.as_raw(),
        true,
    )
}

submit!(
    Case::new(
        "permission.chown_refused",
        "who does not own a file gets EPERM from chown and chmod",
        chown_refused
    )
    .source("POSIX chown(), chmod(): EPERM")
    .needed_by(&["multi-user systems"])
    .needs(&[Need::SecondUser])
);

fn chown_refused(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    write("data", b"x")?;
    as_user(THIRD, || {
        rustix::fs::chown("data", Some(Uid::from_raw(THIRD)), None).refused(
            "chown",
            "data, by another user",
            Errno::EPERM,
        )?;
        rustix::fs::chmod("data", mode(0o777)).refused(
            "chmod",
            "data, by another user",
            Errno::EPERM,
        )
    })?;
    mode_is("chmod", "data", "0644")
}

submit!(
    Case::new(
        "permission.setgid_directory",
        "what is made in a set-group-id directory gets its group, and directories its bit",
        setgid_directory
    )
    .source("POSIX open(), mkdir(); inode(7): S_ISGID")
    .needed_by(&[
        "shared project trees",
        "Debian (/var/mail, /var/local)",
        "Samba shares"
    ])
    .needs(&[Need::SecondUser])
);

fn setgid_directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    rustix::fs::chown("dir", None, Some(Gid::from_raw(THIRD)))
        .call("chown", "dir, another group")?;
    chmod("dir", 0o2775)?;
    write("dir/data", b"x")?;
    mkdir("dir/sub")?;
    expect(
        "open",
        "the group of a new file",
        stat("dir/data")?.st_gid,
        THIRD,
    )?;
    expect(
        "mkdir",
        "the group of a new directory",
        stat("dir/sub")?.st_gid,
        THIRD,
    )?;
    mode_is("mkdir", "dir/sub", "2755")
}
