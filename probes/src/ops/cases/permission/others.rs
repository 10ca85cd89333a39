//! What users may do with files of others.

use rustix::fs::Access;
use rustix::fs::Gid;
use rustix::fs::Uid;

use super::*;

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
