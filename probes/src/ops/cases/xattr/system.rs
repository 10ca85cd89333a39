//! Attributes that the system gives a meaning: trusted, security, ACLs.

use rustix::fs::XattrFlags;

use super::*;

submit!(
    Case::new(
        "xattr.trusted",
        "root sets and reads a trusted attribute",
        trusted
    )
    .source("xattr(7): trusted attributes, CAP_SYS_ADMIN")
    .needed_by(&[
        "overlayfs (trusted.overlay.*)",
        "GlusterFS",
        "Docker (overlay2)"
    ])
    .needs(&[Need::HostRoot])
);

fn trusted(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", "trusted.k", b"v", XattrFlags::empty())?;
    expect(
        "setxattr",
        "the value",
        get("data", "trusted.k")?,
        b"v".to_vec(),
    )
}

submit!(
    Case::new(
        "xattr.capability",
        "a file capability is set and read back, as setcap does",
        capability
    )
    .source("capabilities(7): security.capability; kata-containers/tests#2358")
    .needed_by(&[
        "setcap",
        "dnf and rpm (iputils, httpd)",
        "dpkg maintainer scripts"
    ])
    .needs(&[Need::HostRoot])
);

fn capability(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    // struct vfs_cap_data, revision 2: CAP_NET_RAW permitted and effective.
    let mut value = [0u8; 20];
    value[..4].copy_from_slice(&0x0200_0001u32.to_le_bytes());
    value[4..8].copy_from_slice(&(1u32 << 13).to_le_bytes());
    set("data", "security.capability", &value, XattrFlags::empty())?;
    same_bytes(
        "setxattr",
        "security.capability",
        &get("data", "security.capability")?,
        &value,
    )
}

submit!(
    Case::new(
        "xattr.selinux_label",
        "a security.selinux label is set and read back where no policy is loaded",
        selinux_label
    )
    .source("xattr(7): security attributes; containers/podman#13775")
    .needed_by(&["podman -v :Z", "tar --selinux", "rsync -X as root"])
    .needs(&[Need::HostRoot])
);

fn selinux_label(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let label = b"system_u:object_r:container_file_t:s0\0";
    set("data", "security.selinux", label, XattrFlags::empty())?;
    same_bytes(
        "setxattr",
        "security.selinux",
        &get("data", "security.selinux")?,
        label,
    )
}

/// A POSIX ACL as the kernel takes it: version 2, then tag, permissions and id of each entry.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

const NO_ID: u32 = u32::MAX;

submit!(
    Case::new(
        "xattr.acl_access",
        "a POSIX ACL that names another user is set and read back, and shows in the mode",
        acl_access
    )
    .source("acl(5); system.posix_acl_access")
    .needed_by(&["setfacl", "rsync -A", "systemd-journald", "libvirt"])
    .needs(&[Need::SecondUser])
);

fn acl_access(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let value = acl(&[
        (1, 6, NO_ID),
        (2, 6, OTHER),
        (4, 4, NO_ID),
        (16, 6, NO_ID),
        (32, 0, NO_ID),
    ]);
    set(
        "data",
        "system.posix_acl_access",
        &value,
        XattrFlags::empty(),
    )?;
    same_bytes(
        "setxattr",
        "system.posix_acl_access",
        &get("data", "system.posix_acl_access")?,
        &value,
    )?;
    expect(
        "setxattr",
        "the mode, whose group bits are the mask",
        permissions(&stat("data")?),
        "0660".into(),
    )
}

submit!(
    Case::new(
        "xattr.acl_enforced",
        "a POSIX ACL gives a named user what it says and its mask allows, and others nothing",
        acl_enforced
    )
    .source("acl(5): access check algorithm")
    .needed_by(&[
        "setfacl",
        "systemd-journald (readers of the journal)",
        "udev (devices of a seat)",
        "Samba"
    ])
    .needs(&[Need::SecondUser])
);

fn acl_enforced(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    create_mode("data", 0o600, b"theirs")?;
    let named = |mask: u16| {
        acl(&[
            (1, 6, NO_ID),
            (2, 6, OTHER),
            (4, 0, NO_ID),
            (16, mask, NO_ID),
            (32, 0, NO_ID),
        ])
    };
    let attempt = |user: u32, want_read: Result<(), Errno>, want_write: Result<(), Errno>| {
        as_user(user, move || {
            for (flags, want) in [(OFlags::RDONLY, want_read), (OFlags::RDWR, want_write)] {
                let opened = rustix::fs::open("data", flags | OFlags::CLOEXEC, Mode::empty());
                let got = opened
                    .map(drop)
                    .map_err(|e| Errno::from_raw(e.raw_os_error()));
                expect(
                    "open",
                    &format!("data, {flags:?}, by user {user}"),
                    got,
                    want,
                )?;
            }
            Ok(())
        })
    };
    let no = Err(Errno::EACCES);
    attempt(OTHER, no, no)?;
    const NAME: &str = "system.posix_acl_access";
    set("data", NAME, &named(6), XattrFlags::empty())?;
    attempt(OTHER, Ok(()), Ok(()))?;
    attempt(THIRD, no, no)?;
    set("data", NAME, &named(4), XattrFlags::empty())?;
    attempt(OTHER, Ok(()), no)?;
    // The group bits of a mode are the mask.
    chmod("data", 0o600)?;
    attempt(OTHER, no, no)
}

submit!(
    Case::new(
        "xattr.acl_default",
        "a directory's default ACL is inherited by what is made in it",
        acl_default
    )
    .source("acl(5): default ACLs")
    .needed_by(&[
        "setfacl -d",
        "shared project trees",
        "systemd-journald (/var/log/journal)"
    ])
    .needs(&[Need::SecondUser])
);

fn acl_default(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    let value = acl(&[
        (1, 7, NO_ID),
        (2, 6, OTHER),
        (4, 5, NO_ID),
        (16, 7, NO_ID),
        (32, 0, NO_ID),
    ]);
    set(
        "dir",
        "system.posix_acl_default",
        &value,
        XattrFlags::empty(),
    )?;
    same_bytes(
        "setxattr",
        "system.posix_acl_default",
        &get("dir", "system.posix_acl_default")?,
        &value,
    )?;
    create_mode("dir/data", 0o666, b"x")?;
    let inherited = get("dir/data", "system.posix_acl_access")?;
    ensure(
        "open",
        inherited.len() == value.len(),
        "a new file did not inherit the default ACL",
    )?;
    expect(
        "open",
        "the mode of a new file",
        permissions(&stat("dir/data")?),
        "0660".into(),
    )
}
