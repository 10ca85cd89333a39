//! Extended attributes: user, trusted, security and ACL ones, their sizes, lists and flags.

use rustix::fs::XattrFlags;

use super::prelude::*;

fn set(path: &str, name: &str, value: &[u8], flags: XattrFlags) -> CaseOutcome {
    rustix::fs::setxattr(path, name, value, flags).call(
        "setxattr",
        format_args!("{path}, {name}, {} bytes", value.len()),
    )
}

fn get(path: &str, name: &str) -> CaseOutcome<Vec<u8>> {
    let mut value = vec![0; 65_536];
    let n = rustix::fs::getxattr(path, name, &mut value[..])
        .call("getxattr", format_args!("{path}, {name}"))?;
    value.truncate(n);
    Ok(value)
}

/// The names in the list that begin with `prefix`, sorted: others may be the host's own.
fn list(path: &str, prefix: &str) -> CaseOutcome<Vec<String>> {
    let mut buffer = vec![0; 65_536];
    let n = rustix::fs::listxattr(path, &mut buffer[..]).call("listxattr", path)?;
    let mut names: Vec<String> = buffer[..n]
        .split(|b| *b == 0)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    Ok(names)
}

submit!(
    Case::new(
        "xattr.user",
        "a user attribute is set, read, listed and removed",
        user
    )
    .source("xattr(7): user attributes")
    .needed_by(&[
        "rsync -X",
        "tar --xattrs",
        "Beagle and Nautilus metadata",
        "curl --xattr",
        "Samba"
    ])
);

fn user(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", "user.mime", b"text/plain", XattrFlags::empty())?;
    expect(
        "setxattr",
        "the value",
        get("data", "user.mime")?,
        b"text/plain".to_vec(),
    )?;
    expect(
        "setxattr",
        "the list",
        list("data", "user.")?,
        vec!["user.mime".into()],
    )?;
    rustix::fs::removexattr("data", "user.mime").call("removexattr", "data, user.mime")?;
    expect(
        "removexattr",
        "the list",
        list("data", "user.")?,
        Vec::new(),
    )?;
    rustix::fs::getxattr("data", "user.mime", &mut [0u8; 10][..]).refused(
        "getxattr",
        "data, user.mime",
        Errno::ENODATA,
    )
}

submit!(
    Case::new(
        "xattr.flags",
        "XATTR_CREATE refuses an attribute that exists, XATTR_REPLACE one that does not",
        flags
    )
    .source("setxattr(2): EEXIST, ENODATA")
    .needed_by(&["Ceph and Gluster bricks", "Samba"])
);

fn flags(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    rustix::fs::setxattr("data", "user.k", b"1", XattrFlags::REPLACE).refused(
        "setxattr",
        "data, user.k, XATTR_REPLACE",
        Errno::ENODATA,
    )?;
    set("data", "user.k", b"1", XattrFlags::CREATE)?;
    rustix::fs::setxattr("data", "user.k", b"2", XattrFlags::CREATE).refused(
        "setxattr",
        "data, user.k, XATTR_CREATE",
        Errno::EEXIST,
    )?;
    expect(
        "setxattr",
        "the value",
        get("data", "user.k")?,
        b"1".to_vec(),
    )?;
    set("data", "user.k", b"333", XattrFlags::REPLACE)?;
    expect(
        "setxattr",
        "the value",
        get("data", "user.k")?,
        b"333".to_vec(),
    )
}

submit!(
    Case::new(
        "xattr.empty",
        "an attribute with an empty value is there, and is not the same as none",
        empty
    )
    .source("xattr(7)")
    .needed_by(&["OverlayFS markers", "backup programs"])
);

fn empty(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", "user.mark", b"", XattrFlags::empty())?;
    expect(
        "setxattr",
        "the value",
        get("data", "user.mark")?,
        Vec::new(),
    )?;
    expect(
        "setxattr",
        "the list",
        list("data", "user.")?,
        vec!["user.mark".into()],
    )
}

submit!(
    Case::new(
        "xattr.binary",
        "an attribute of 3000 bytes of every value is read back whole",
        binary
    )
    .source("xattr(7)")
    .needed_by(&["Samba (DOS attributes, streams)", "GlusterFS"])
);

fn binary(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let value: Vec<u8> = (0..3000u32).map(|i| (i * 7) as u8).collect();
    set("data", "user.blob", &value, XattrFlags::empty())?;
    same_bytes("setxattr", "user.blob", &get("data", "user.blob")?, &value)
}

submit!(
    Case::new("xattr.size", "asked with an empty buffer, getxattr and listxattr tell the size, and a small buffer gives ERANGE", size)
        .source("getxattr(2), listxattr(2): size 0; ERANGE")
        .needed_by(&["libattr", "rsync -X", "Python os.getxattr"])
);

fn size(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", "user.name", b"0123456789", XattrFlags::empty())?;
    let none = std::ptr::null_mut();
    // SAFETY: with size 0 the kernel writes nothing and only tells the size.
    let n = check(unsafe { libc::getxattr(c"data".as_ptr(), c"user.name".as_ptr(), none, 0) })
        .call("getxattr", "data, user.name, size 0")?;
    expect("getxattr", "the size", n, 10)?;
    rustix::fs::getxattr("data", "user.name", &mut [0u8; 4][..]).refused(
        "getxattr",
        "data, user.name, size 4",
        Errno::ERANGE,
    )?;
    // SAFETY: as above.
    let n = check(unsafe { libc::listxattr(c"data".as_ptr(), none.cast(), 0) })
        .call("listxattr", "data, size 0")?;
    ensure(
        "listxattr",
        n >= 10,
        format_args!("the list needs {n} bytes, and holds user.name and its NUL"),
    )
}

submit!(
    Case::new(
        "xattr.many",
        "20 attributes of one file are listed and read back",
        many
    )
    .source("xattr(7)")
    .needed_by(&["macOS file servers (Samba, netatalk)", "Ceph"])
);

fn many(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    for i in 0..20 {
        set(
            "data",
            &format!("user.number{i:02}"),
            format!("value {i}").as_bytes(),
            XattrFlags::empty(),
        )?;
    }
    let listed = list("data", "user.")?;
    expect("listxattr", "the number of names", listed.len(), 20)?;
    for (i, name) in listed.iter().enumerate() {
        expect(
            "getxattr",
            name,
            get("data", name)?,
            format!("value {i}").into_bytes(),
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "xattr.directory",
        "a directory carries user attributes, which its new entries do not inherit",
        directory
    )
    .source("xattr(7): regular files and directories")
    .needed_by(&["KDE (baloo)", "backup programs", "systemd"])
);

fn directory(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    set("dir", "user.k", b"dir", XattrFlags::empty())?;
    write("dir/data", b"x")?;
    expect(
        "setxattr",
        "the value",
        get("dir", "user.k")?,
        b"dir".to_vec(),
    )?;
    expect(
        "open",
        "the list of a new entry",
        list("dir/data", "user.")?,
        Vec::new(),
    )
}

submit!(
    Case::new(
        "xattr.symlink",
        "a user attribute of a symbolic link itself is refused with EPERM",
        symlink_refused
    )
    .source("xattr(7): user attributes only on files and directories")
    .needed_by(&["rsync -X", "tar --xattrs (their messages)"])
);

fn symlink_refused(_: &mut Ctx) -> CaseOutcome {
    symlink("data", "soft")?;
    rustix::fs::lsetxattr("soft", "user.k", b"v", XattrFlags::empty()).refused(
        "lsetxattr",
        "soft, user.k",
        Errno::EPERM,
    )
}

submit!(
    Case::new(
        "xattr.by_descriptor",
        "attributes are set, read and listed by an open descriptor",
        by_descriptor
    )
    .source("fsetxattr(2)")
    .needed_by(&["rsync", "systemd (journald)", "libarchive"])
);

fn by_descriptor(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"x")?;
    rustix::fs::fsetxattr(&fd, "user.k", b"value", XattrFlags::empty())
        .call("fsetxattr", "data, user.k")?;
    expect(
        "fsetxattr",
        "the value",
        get("data", "user.k")?,
        b"value".to_vec(),
    )?;
    rustix::fs::fremovexattr(&fd, "user.k").call("fremovexattr", "data, user.k")?;
    expect(
        "fremovexattr",
        "the list",
        list("data", "user.")?,
        Vec::new(),
    )
}

submit!(
    Case::new(
        "xattr.kept_over_rename",
        "attributes stay with a file that is renamed and with its hard links",
        kept_over_rename
    )
    .source("xattr(7): they belong to the inode")
    .needed_by(&["package managers", "rsync -X"])
);

fn kept_over_rename(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    set("data", "user.k", b"v", XattrFlags::empty())?;
    link("data", "again")?;
    rename("data", "moved")?;
    expect(
        "rename",
        "user.k of moved",
        get("moved", "user.k")?,
        b"v".to_vec(),
    )?;
    expect(
        "link",
        "user.k of again",
        get("again", "user.k")?,
        b"v".to_vec(),
    )
}

submit!(
    Case::new(
        "xattr.long_name",
        "an attribute's name may have 255 bytes, and no more",
        long_name
    )
    .source("xattr(7): XATTR_NAME_MAX")
    .needed_by(&["Samba (streams)", "rclone"])
);

fn long_name(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    let name = format!("user.{}", "n".repeat(250));
    set("data", &name, b"v", XattrFlags::empty())?;
    expect("setxattr", "the value", get("data", &name)?, b"v".to_vec())?;
    rustix::fs::setxattr("data", format!("{name}n"), b"v", XattrFlags::empty()).refused(
        "setxattr",
        "data, a name of 256 bytes",
        Errno::ERANGE,
    )
}

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
