//! Root without one of its capabilities: what containers and services that drop them meet.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;

/// Runs `body` as root that has lost these capabilities.
fn without(lost: CapabilitySet, body: impl FnOnce() -> CaseOutcome) -> CaseOutcome {
    fork(|_| {
        let mut sets = capabilities(None).call("capget", "")?;
        for set in [
            &mut sets.effective,
            &mut sets.permitted,
            &mut sets.inheritable,
        ] {
            set.remove(lost);
        }
        set_capabilities(None, sets).call("capset", "")?;
        body()
    })?
    .join()
}

const READ_ALL: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);

submit!(
    Case::new(
        "permission.no_dac_override",
        "root without CAP_DAC_OVERRIDE is kept out of another user's private file and directory",
        no_dac_override
    )
    .source("capabilities(7): CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH")
    .needed_by(&[
        "hardened containers (cap_drop: ALL)",
        "systemd (CapabilityBoundingSet)"
    ])
    .needs(&[Need::SecondUser])
);

fn no_dac_override(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    as_user(OTHER, || {
        create_mode("private", 0o600, b"x")?;
        rustix::fs::mkdir("closed", mode(0o700)).call("mkdir", "closed")
    })?;
    without(READ_ALL, || {
        rustix::fs::open("private", OFlags::RDONLY, Mode::empty()).refused(
            "open",
            "private, 0600, another user's, without CAP_DAC_OVERRIDE",
            Errno::EACCES,
        )?;
        rustix::fs::stat("closed/data").refused(
            "stat",
            "closed/data, in another user's directory of mode 0700, without CAP_DAC_OVERRIDE",
            Errno::EACCES,
        )
    })
}

submit!(
    Case::new(
        "permission.no_dac_override_own",
        "root without CAP_DAC_OVERRIDE uses the private files and directories that it makes",
        no_dac_override_own
    )
    .source("capabilities(7): CAP_DAC_OVERRIDE; POSIX open(): the owner's permissions")
    .needed_by(&[
        "hardened containers (cap_drop: ALL)",
        "Bitnami-like images",
        "systemd services"
    ])
    .needs(&[Need::Root])
);

fn no_dac_override_own(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    without(READ_ALL, || {
        drop(create_mode("private", 0o600, b"mine")?);
        contents("open", "private", b"mine")?;
        rustix::fs::mkdir("closed", mode(0o700)).call("mkdir", "closed")?;
        write("closed/data", b"mine")?;
        contents("open", "closed/data", b"mine")
    })
}

submit!(
    Case::new(
        "permission.no_chown",
        "root without CAP_CHOWN does not give its file away: EPERM",
        no_chown
    )
    .source("capabilities(7): CAP_CHOWN; POSIX chown(): EPERM")
    .needed_by(&[
        "hardened containers",
        "tar, cp -a as root (they go on with a warning)"
    ])
    .needs(&[Need::Root])
);

fn no_chown(_: &mut Ctx) -> CaseOutcome {
    without(CapabilitySet::CHOWN, || {
        let fd = create("data", b"x")?;
        let before = fstat(&fd, "data")?;
        let (user, group) = (
            rustix::fs::Uid::from_raw(OTHER),
            rustix::fs::Gid::from_raw(OTHER),
        );
        rustix::fs::chown("data", Some(user), None).refused(
            "chown",
            "data, to another user, without CAP_CHOWN",
            Errno::EPERM,
        )?;
        rustix::fs::fchown(&fd, None, Some(group)).refused(
            "fchown",
            "data, to a foreign group, without CAP_CHOWN",
            Errno::EPERM,
        )?;
        let after = stat("data")?;
        expect(
            "chown",
            "the owner",
            (after.st_uid, after.st_gid),
            (before.st_uid, before.st_gid),
        )
    })
}

submit!(
    Case::new(
        "permission.no_fowner",
        "root without CAP_FOWNER changes neither mode nor times of another user's file: EPERM",
        no_fowner
    )
    .source("capabilities(7): CAP_FOWNER; POSIX chmod(), utimensat(): EPERM")
    .needed_by(&["hardened containers", "systemd-tmpfiles"])
    .needs(&[Need::SecondUser])
);

fn no_fowner(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    as_user(OTHER, || write("data", b"x"))?;
    without(CapabilitySet::FOWNER, || {
        rustix::fs::chmod("data", mode(0o600)).refused(
            "chmod",
            "data, another user's, without CAP_FOWNER",
            Errno::EPERM,
        )?;
        let times = both_times(1_000_000_000);
        rustix::fs::utimensat(CWD, "data", &times, AtFlags::empty()).refused(
            "utimensat",
            "data, another user's, without CAP_FOWNER",
            Errno::EPERM,
        )
    })
}

submit!(
    Case::new(
        "permission.no_fowner_own",
        "root without CAP_FOWNER changes mode and times of the files that it makes",
        no_fowner_own
    )
    .source("capabilities(7): CAP_FOWNER; POSIX chmod(): the owner may")
    .needed_by(&[
        "hardened containers (cap_drop: ALL)",
        "install, cp -p, tar in them"
    ])
    .needs(&[Need::Root])
);

fn no_fowner_own(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    without(CapabilitySet::FOWNER, || {
        write("data", b"x")?;
        chmod("data", 0o640)?;
        expect(
            "chmod",
            "the mode",
            permissions(&stat("data")?),
            "0640".into(),
        )?;
        let times = both_times(1_000_000_000);
        rustix::fs::utimensat(CWD, "data", &times, AtFlags::empty()).call("utimensat", "data")?;
        expect(
            "utimensat",
            "st_mtime",
            stat("data")?.st_mtime,
            1_000_000_000,
        )
    })
}

submit!(
    Case::new(
        "permission.no_fsetid",
        "root without CAP_FSETID clears a program's set-user-id and set-group-id bits by writing to it",
        no_fsetid
    )
    .source("capabilities(7): CAP_FSETID; POSIX write()")
    .needed_by(&["hardened containers", "package managers in them"])
    .needs(&[Need::Root])
);

fn no_fsetid(_: &mut Ctx) -> CaseOutcome {
    drop(create_mode("program", 0o755, b"x")?);
    chmod("program", 0o6755)?;
    without(CapabilitySet::FSETID, || {
        let fd = open("program", OFlags::RDWR)?;
        write_at(&fd, "program", 0, b"y")
    })?;
    expect(
        "pwrite",
        "the mode",
        permissions(&stat("program")?),
        "0755".into(),
    )
}

submit!(
    Case::new(
        "permission.no_mknod",
        "root without CAP_MKNOD makes no device node: EPERM",
        no_mknod
    )
    .source("capabilities(7): CAP_MKNOD")
    .needed_by(&[
        "rootless and hardened containers",
        "debootstrap (falls back to bind mounts)"
    ])
    .needs(&[Need::Root])
);

fn no_mknod(_: &mut Ctx) -> CaseOutcome {
    without(CapabilitySet::MKNOD, || {
        rustix::fs::mknodat(
            CWD,
            "null",
            rustix::fs::FileType::CharacterDevice,
            mode(0o666),
            rustix::fs::makedev(1, 3),
        )
        .refused("mknod", "null, c 1 3, without CAP_MKNOD", Errno::EPERM)?;
        holds("mknod", ".", &[])
    })
}
