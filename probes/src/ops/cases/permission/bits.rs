//! Permission and set-id bits: set, kept, taken away.

use rustix::fs::Gid;
use rustix::fs::Uid;

use super::*;

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
