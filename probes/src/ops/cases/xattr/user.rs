//! User attributes: set, read, listed, with flags and sizes.

use rustix::fs::XattrFlags;

use super::*;

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
