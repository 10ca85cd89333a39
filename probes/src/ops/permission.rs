//! Modes, and what other users may do: what the client checks, what the server allows, and what is kept.

use rustix::fs::{Access, Gid, Uid};

use super::prelude::*;

fn opened(path: &str, flags: OFlags) -> Result<OwnedFd, rustix::io::Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, mode(0o644))
}

fn mode_is(call: &str, path: &str, want: &str) -> CaseOutcome {
    expect(
        call,
        &format!("the mode of {path}"),
        permissions(&stat(path)?),
        want.into(),
    )
}

submit!(
    Case::new(
        "permission.chmod",
        "each of the nine permission bits of a file is set and read back",
        chmod_bits
    )
    .source("POSIX chmod()")
    .needed_by(&["ssh (key files)", "tar", "git (executable bit)", "install"])
);

fn chmod_bits(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    for bits in [
        0o400, 0o200, 0o100, 0o040, 0o020, 0o010, 0o004, 0o002, 0o001, 0o000, 0o777, 0o640,
    ] {
        chmod("data", bits)?;
        mode_is("chmod", "data", &format!("{bits:04o}"))?;
    }
    Ok(())
}

submit!(
    Case::new(
        "permission.set_id_bits",
        "set-user-id, set-group-id and sticky bits are set and read back",
        set_id_bits
    )
    .source("POSIX chmod(): S_ISUID, S_ISGID, S_ISVTX")
    .needed_by(&[
        "dpkg and rpm (su, sudo, crontab)",
        "tar as root",
        "debootstrap"
    ])
);

fn set_id_bits(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    mkdir("dir")?;
    for bits in [0o4755, 0o2755, 0o6711] {
        chmod("data", bits)?;
        mode_is("chmod", "data", &format!("{bits:04o}"))?;
    }
    for bits in [0o2775, 0o1777, 0o3777] {
        chmod("dir", bits)?;
        mode_is("chmod", "dir", &format!("{bits:04o}"))?;
    }
    Ok(())
}

submit!(
    Case::new(
        "permission.fchmod",
        "fchmod sets the mode of an open file",
        fchmod
    )
    .source("POSIX fchmod()")
    .needed_by(&["mkstemp users", "git", "OpenSSH"])
);

fn fchmod(_: &mut Ctx) -> CaseOutcome {
    let fd = create_mode("data", 0o600, b"x")?;
    rustix::fs::fchmod(&fd, mode(0o751)).call("fchmod", "data, 0751")?;
    mode_is("fchmod", "data", "0751")
}

submit!(
    Case::new(
        "permission.create_mode",
        "open, mkdir and mkfifo-like calls give exactly the mode asked for, less the umask",
        create_modes
    )
    .source("POSIX open(), mkdir(), umask()")
    .needed_by(&[
        "gpg, ssh (0700 directories)",
        "PostgreSQL (0700 data directory)",
        "tar"
    ])
);

fn create_modes(_: &mut Ctx) -> CaseOutcome {
    create_mode("private", 0o600, b"")?;
    mode_is("open", "private", "0600")?;
    create_mode("readonly", 0o444, b"")?;
    mode_is("open", "readonly", "0444")?;
    create_mode("all", 0o777, b"")?;
    mode_is("open", "all", "0755")?;
    rustix::fs::mkdir("dir", mode(0o700)).call("mkdir", "dir, 0700")?;
    mode_is("mkdir", "dir", "0700")
}

submit!(
    Case::new(
        "permission.umask",
        "the umask takes its bits away from what is made",
        umask
    )
    .source("POSIX umask()")
    .needed_by(&["every daemon", "shells"])
);

fn umask(_: &mut Ctx) -> CaseOutcome {
    rustix::process::umask(mode(0o077));
    create_mode("closed", 0o666, b"")?;
    rustix::fs::mkdir("dir", mode(0o777)).call("mkdir", "dir, 0777")?;
    rustix::process::umask(mode(0));
    create_mode("open", 0o666, b"")?;
    mode_is("umask", "closed", "0600")?;
    mode_is("umask", "dir", "0700")?;
    mode_is("umask", "open", "0666")
}

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
        "permission.private_file",
        "a file of mode 0600 is closed to other users",
        private_file
    )
    .source("POSIX file access permissions")
    .needed_by(&[
        "ssh and gpg (keys)",
        "PostgreSQL",
        "every multi-user system"
    ])
    .needs(&[Need::SecondUser])
);

fn private_file(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    create_mode("secret", 0o600, b"x")?;
    create_mode("public", 0o644, b"public")?;
    as_user(THIRD, || {
        opened("secret", OFlags::RDONLY).refused(
            "open",
            "secret (0600), by another user",
            Errno::EACCES,
        )?;
        opened("public", OFlags::WRONLY).refused(
            "open",
            "public (0644), by another user, O_WRONLY",
            Errno::EACCES,
        )?;
        contents("open", "public", b"public")
    })
}

submit!(
    Case::new(
        "permission.world_writable",
        "a file of mode 0666 is written by another user",
        world_writable
    )
    .source("POSIX file access permissions")
    .needed_by(&["shared logs", "containers that run as a made-up uid"])
    .needs(&[Need::SecondUser])
);

fn world_writable(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    write("data", b"x")?;
    chmod("data", 0o666)?;
    as_user(THIRD, || {
        write_at(&open("data", OFlags::RDWR)?, "data", 0, b"theirs")
    })?;
    contents("pwrite", "data", b"theirs")
}

submit!(
    Case::new(
        "permission.search",
        "without execute permission on a directory other users reach nothing in it",
        search
    )
    .source("POSIX path resolution: search permission")
    .needed_by(&["home directories", "nginx, apache (document roots)"])
    .needs(&[Need::SecondUser])
);

fn search(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    mkdir("dir")?;
    write("dir/data", b"x")?;
    chmod("dir", 0o744)?;
    as_user(THIRD, || {
        rustix::fs::stat("dir/data").refused(
            "stat",
            "dir/data, where dir is 0744",
            Errno::EACCES,
        )?;
        expect("getdents64", "the list of dir", names("dir")?.len(), 1)
    })?;
    chmod("dir", 0o711)?;
    as_user(THIRD, || {
        opened("dir", OFlags::RDONLY).refused("open", "dir (0711), to list it", Errno::EACCES)?;
        contents("open", "dir/data", b"x")
    })
}

submit!(
    Case::new(
        "permission.directory_write",
        "without write permission on a directory other users make and remove nothing",
        directory_write
    )
    .source("POSIX open(), unlink(), mkdir(), rename(): EACCES")
    .needed_by(&["multi-user systems"])
    .needs(&[Need::SecondUser])
);

fn directory_write(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    mkdir("dir")?;
    write("dir/data", b"x")?;
    as_user(THIRD, || {
        opened("dir/new", OFlags::WRONLY | OFlags::CREATE).refused(
            "open",
            "dir/new, O_CREAT, where dir is 0755",
            Errno::EACCES,
        )?;
        rustix::fs::mkdir("dir/sub", mode(0o755)).refused("mkdir", "dir/sub", Errno::EACCES)?;
        rustix::fs::unlink("dir/data").refused("unlink", "dir/data", Errno::EACCES)?;
        rustix::fs::rename("dir/data", "dir/moved").refused(
            "rename",
            "dir/data, dir/moved",
            Errno::EACCES,
        )
    })?;
    holds("unlink", "dir", &["data"])
}

submit!(
    Case::new(
        "permission.sticky",
        "in a sticky directory users remove and rename only what is theirs",
        sticky
    )
    .source("POSIX unlink(): S_ISVTX")
    .needed_by(&["/tmp-like directories", "PHP sessions", "mail spools"])
    .needs(&[Need::SecondUser])
);

fn sticky(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    mkdir("tmp")?;
    chmod("tmp", 0o1777)?;
    write("tmp/roots", b"x")?;
    as_user(OTHER, || write("tmp/others", b"y"))?;
    as_user(THIRD, || {
        write("tmp/thirds", b"z")?;
        rustix::fs::unlink("tmp/roots").refused(
            "unlink",
            "tmp/roots, in a sticky directory",
            Errno::EPERM,
        )?;
        rustix::fs::unlink("tmp/others").refused(
            "unlink",
            "tmp/others, in a sticky directory",
            Errno::EPERM,
        )?;
        rustix::fs::rename("tmp/others", "tmp/taken").refused(
            "rename",
            "tmp/others, in a sticky directory",
            Errno::EPERM,
        )?;
        unlink("tmp/thirds")
    })?;
    holds("unlink", "tmp", &["roots", "others"])
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

submit!(
    Case::new(
        "permission.setgid_bit_inherited",
        "a directory made in a set-group-id directory has the bit too",
        setgid_bit_inherited
    )
    .source("inode(7): S_ISGID")
    .needed_by(&["git init --shared", "shared project trees"])
);

fn setgid_bit_inherited(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    chmod("dir", 0o2775)?;
    mkdir("dir/sub")?;
    write("dir/data", b"x")?;
    mode_is("mkdir", "dir/sub", "2755")?;
    mode_is("open", "dir/data", "0644")
}

submit!(
    Case::new(
        "permission.suid_cleared_by_write",
        "a write by another user clears the set-user-id and set-group-id bits",
        suid_cleared_by_write
    )
    .source("POSIX write(); inode(7); v9fs/linux#29, CVE-2023-1386")
    .needed_by(&["the security of set-id programs"])
    .needs(&[Need::SecondUser])
);

fn suid_cleared_by_write(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    write("program", b"x")?;
    chmod("program", 0o6777)?;
    as_user(THIRD, || {
        write_at(&open("program", OFlags::RDWR)?, "program", 0, b"evil")
    })?;
    contents("pwrite", "program", b"evil")?;
    mode_is("pwrite", "program", "0777")
}

submit!(
    Case::new(
        "permission.suid_cleared_by_truncate",
        "a truncate by another user clears the set-user-id and set-group-id bits",
        suid_cleared_by_truncate
    )
    .source("POSIX ftruncate(); inode(7)")
    .needed_by(&["the security of set-id programs"])
    .needs(&[Need::SecondUser])
);

fn suid_cleared_by_truncate(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    write("program", b"long enough")?;
    chmod("program", 0o6777)?;
    as_user(THIRD, || {
        rustix::fs::ftruncate(open("program", OFlags::RDWR)?, 4).call("ftruncate", "program, 4")
    })?;
    contents("ftruncate", "program", b"long")?;
    mode_is("ftruncate", "program", "0777")
}

submit!(
    Case::new(
        "permission.suid_cleared_by_chown",
        "a chown clears the set-user-id and set-group-id bits of a program",
        suid_cleared_by_chown
    )
    .source("chown(2)")
    .needed_by(&[
        "the security of set-id programs",
        "dpkg (which sets the mode after the owner)"
    ])
);

fn suid_cleared_by_chown(_: &mut Ctx) -> CaseOutcome {
    write("program", b"x")?;
    chmod("program", 0o6755)?;
    let owner = stat("program")?;
    rustix::fs::chown(
        "program",
        Some(Uid::from_raw(owner.st_uid)),
        Some(Gid::from_raw(owner.st_gid)),
    )
    .call("chown", "program, its own owner")?;
    mode_is("chown", "program", "0755")
}

submit!(
    Case::new(
        "permission.root_reads_all",
        "root reads and writes a file of mode 0000",
        root_reads_all
    )
    .source("capabilities(7): CAP_DAC_OVERRIDE")
    .needed_by(&["backup programs", "package managers", "sudo"])
    .needs(&[Need::Root])
);

fn root_reads_all(_: &mut Ctx) -> CaseOutcome {
    write("closed", b"x")?;
    chmod("closed", 0)?;
    let fd = open("closed", OFlags::RDWR)?;
    write_at(&fd, "closed", 0, b"written")?;
    contents("open", "closed", b"written")
}

submit!(
    Case::new(
        "permission.root_passes_directory",
        "root makes, lists and removes in a directory of mode 0000",
        root_passes_directory
    )
    .source("capabilities(7): CAP_DAC_OVERRIDE")
    .needed_by(&[
        "rm -rf as root",
        "backup programs",
        "Go (read-only module cache)"
    ])
    .needs(&[Need::Root])
);

fn root_passes_directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    chmod("dir", 0)?;
    write("dir/data", b"x")?;
    holds("open", "dir", &["data"])?;
    unlink("dir/data")?;
    holds("unlink", "dir", &[])
}

submit!(
    Case::new(
        "permission.create_read_only",
        "a file made with mode 0444 is written by the descriptor that made it",
        create_read_only
    )
    .source("POSIX open(): the mode does not affect this descriptor; containers/libkrun#769")
    .needed_by(&["git (loose objects)", "Go (module cache)", "Mercurial"])
);

fn create_read_only(_: &mut Ctx) -> CaseOutcome {
    create_mode("object", 0o444, b"written all the same")?;
    contents("open", "object", b"written all the same")
}

submit!(
    Case::new(
        "permission.create_read_only_other",
        "another user's file made with mode 0444 or 0000 is written by the descriptor that made it",
        create_read_only_other
    )
    .source("POSIX open()")
    .needed_by(&["git as an ordinary user", "dpkg-deb"])
    .needs(&[Need::SecondUser])
);

fn create_read_only_other(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    as_user(OTHER, || {
        create_mode("object", 0o444, b"written")?;
        create_mode("closed", 0o000, b"written")?;
        opened("object", OFlags::WRONLY).refused(
            "open",
            "object (0444), O_WRONLY by its owner",
            Errno::EACCES,
        )
    })?;
    contents("open", "object", b"written")
}

submit!(
    Case::new(
        "permission.ftruncate_read_only",
        "a file of mode 0444 is truncated by a descriptor opened for writing",
        ftruncate_read_only
    )
    .source("POSIX ftruncate(): the descriptor's access counts; newren/git-filter-repo#342")
    .needed_by(&["git fast-import", "libgit2"])
);

fn ftruncate_read_only(_: &mut Ctx) -> CaseOutcome {
    let fd = create_mode("pack", 0o444, b"0123456789")?;
    rustix::fs::ftruncate(&fd, 4).call("ftruncate", "pack (0444)")?;
    contents("ftruncate", "pack", b"0123")
}

submit!(
    Case::new(
        "permission.access",
        "access asks for the real user, faccessat with AT_EACCESS for the effective one",
        access
    )
    .source("POSIX access(), faccessat()")
    .needed_by(&["shells (test -w)", "Python os.access", "installers"])
    .needs(&[Need::SecondUser])
);

fn access(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    create_mode("secret", 0o600, b"x")?;
    create_mode("public", 0o644, b"x")?;
    as_user(THIRD, || {
        rustix::fs::access("secret", Access::READ_OK).refused(
            "access",
            "secret, R_OK",
            Errno::EACCES,
        )?;
        rustix::fs::access("public", Access::READ_OK).call("access", "public, R_OK")?;
        rustix::fs::access("public", Access::WRITE_OK).refused(
            "access",
            "public, W_OK",
            Errno::EACCES,
        )?;
        rustix::fs::access("missing", Access::EXISTS).refused(
            "access",
            "missing, F_OK",
            Errno::ENOENT,
        )
    })?;
    rustix::fs::access("secret", Access::READ_OK | Access::WRITE_OK)
        .call("access", "secret, by its owner")?;
    rustix::fs::access("secret", Access::EXEC_OK).refused(
        "access",
        "secret, X_OK by root",
        Errno::EACCES,
    )?;
    fork(|_| {
        // The effective user alone changes; access still asks for the real one.
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::from_raw(THIRD), Uid::ROOT)
            .call("setresuid", "0, other, 0")?;
        rustix::fs::access("secret", Access::READ_OK)
            .call("access", "secret, R_OK with real user root")?;
        rustix::fs::accessat(CWD, "secret", Access::READ_OK, AtFlags::EACCESS).refused(
            "faccessat",
            "secret, R_OK, AT_EACCESS",
            Errno::EACCES,
        )
    })?
    .join()
}

submit!(
    Case::new(
        "permission.group",
        "members of a file's group, by main or supplementary group, have its group permissions",
        group
    )
    .source("POSIX file access permissions; credentials(7)")
    .needed_by(&[
        "shared project trees",
        "adm and systemd-journal (logs)",
        "docker (supplementary groups)"
    ])
    .needs(&[Need::SecondUser])
);

fn group(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    create_mode("shared", 0o640, b"x")?;
    let group = Gid::from_raw(stat("shared")?.st_gid);
    let member = |groups: &'static [u32], main: u32, want: Result<(), Errno>| {
        fork(move |_| {
            let groups: Vec<Gid> = groups.iter().map(|_| group).collect();
            rustix::thread::set_thread_groups(&groups).call("setgroups", "")?;
            let main = Gid::from_raw(main);
            rustix::thread::set_thread_res_gid(main, main, main).call("setresgid", "")?;
            let user = Uid::from_raw(THIRD);
            rustix::thread::set_thread_res_uid(user, user, user).call("setresuid", "")?;
            let got = opened("shared", OFlags::RDONLY)
                .map(drop)
                .map_err(|e| Errno::from_raw(e.raw_os_error()));
            expect("open", "the opening of shared (0640)", got, want)
        })?
        .join()
    };
    member(&[], THIRD, Err(Errno::EACCES))?;
    member(&[], group.as_raw(), Ok(()))?;
    member(&[1], THIRD, Ok(()))
}

submit!(
    Case::new(
        "permission.checked_at_open",
        "a descriptor keeps its access when the mode is taken away",
        checked_at_open
    )
    .source("POSIX open(): permissions are checked when a file is opened")
    .needed_by(&["daemons that open files before they drop to their user"])
    .needs(&[Need::SecondUser])
);

fn checked_at_open(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    let fd = create_mode("log", 0o600, b"start ")?;
    chmod("log", 0)?;
    as_user(THIRD, || {
        opened("log", OFlags::RDONLY).refused(
            "open",
            "log (0000), by another user",
            Errno::EACCES,
        )?;
        write_at(&fd, "log, opened before", 6, b"more")?;
        same_bytes(
            "pread",
            "log",
            &read_at(&fd, "log, opened before", 0, 20)?,
            b"start more",
        )
    })
}

submit!(
    Case::new(
        "permission.noatime",
        "O_NOATIME is allowed to the owner and refused to others with EPERM",
        noatime
    )
    .source("open(2): O_NOATIME, EPERM")
    .needed_by(&["restic, borg", "git (objects)", "tar --atime-preserve"])
    .needs(&[Need::SecondUser])
);

fn noatime(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    write("data", b"x")?;
    let fd = open("data", OFlags::RDONLY | OFlags::NOATIME)?;
    same_bytes("open", "data", &read_at(&fd, "data", 0, 10)?, b"x")?;
    as_user(THIRD, || {
        opened("data", OFlags::RDONLY | OFlags::NOATIME).refused(
            "open",
            "data, O_NOATIME by another user",
            Errno::EPERM,
        )
    })
}
