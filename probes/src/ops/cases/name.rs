//! Which bytes a name may have: all but NUL and the slash, up to 255 of them.

use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::prelude::*;

/// Makes a file of that name, finds it in the listing, opens it by what the listing said, renames it twice.
fn survives(name: &[u8]) -> CaseOutcome {
    let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(name.to_vec()));
    let shown = format!("{path:?}");
    std::fs::write(&path, b"x").call("open", format_args!("{shown}, O_CREAT"))?;
    let listed = names(".")?;
    expect(
        "getdents64",
        "the list",
        listed.clone(),
        vec![std::ffi::OsString::from_vec(name.to_vec())],
    )?;
    let bytes = std::fs::read(&listed[0]).call("open", &shown)?;
    same_bytes("open", &shown, &bytes, b"x")?;
    rustix::fs::rename(&path, "plain").call("rename", format_args!("{shown}, plain"))?;
    rustix::fs::rename("plain", &path).call("rename", format_args!("plain, {shown}"))?;
    ensure(
        "rename",
        names(".")?[0].as_bytes() == name,
        format_args!("{shown} came back from two renames as {:?}", names(".")?),
    )?;
    rustix::fs::unlink(&path).call("unlink", shown)
}

submit!(
    Case::new(
        "name.not_utf8",
        "names that are not UTF-8 are made, listed, opened and renamed byte by byte",
        not_utf8
    )
    .source("POSIX: a filename is bytes")
    .needed_by(&[
        "tar and unzip of old archives",
        "git (its own tests)",
        "rsync"
    ])
);

fn not_utf8(_: &mut Ctx) -> CaseOutcome {
    survives(b"caf\xe9.txt")?;
    survives(b"\xff\xfe\x80")?;
    survives(b"half \xe2\x82")
}

submit!(
    Case::new(
        "name.control",
        "names with newlines, tabs, escapes and DEL are kept",
        control
    )
    .source("POSIX: a filename is bytes")
    .needed_by(&["find -print0 and xargs -0", "downloaders"])
);

fn control(_: &mut Ctx) -> CaseOutcome {
    survives(b"two\nlines")?;
    survives(b"\x01\t\r\x1b[31m\x7f")
}

submit!(
    Case::new(
        "name.special",
        "names with blanks, quotes, backslashes, colons and wildcards are kept",
        special
    )
    .source("POSIX: a filename is bytes")
    .needed_by(&[
        "Maildir (colons)",
        "systemd units (backslashes)",
        "music collections"
    ])
);

fn special(_: &mut Ctx) -> CaseOutcome {
    for name in [
        " leading",
        "trailing ",
        "trailing.",
        "a\\b",
        "1700000000.M1P2.host:2,S",
        "*?[x]|<>\"'",
        "-rf",
        "~",
        "%2F",
        "...",
    ] {
        survives(name.as_bytes())?;
    }
    Ok(())
}

submit!(
    Case::new(
        "name.reserved",
        "names that other systems reserve are ordinary ones",
        reserved
    )
    .source("POSIX: a filename is bytes")
    .needed_by(&["programs that were written for Unix alone"])
);

fn reserved(_: &mut Ctx) -> CaseOutcome {
    for name in [
        "CON",
        "nul.txt",
        "aux",
        "COM1",
        "desktop.ini:stream",
        ".fuse_hidden0001",
        ".nfs0001",
        "lost+found",
    ] {
        survives(name.as_bytes())?;
    }
    Ok(())
}

submit!(
    Case::new(
        "name.case",
        "names that differ in case alone are different files",
        case
    )
    .source("POSIX: names are compared byte by byte")
    .needed_by(&[
        "the Linux kernel's sources",
        "git checkouts",
        "Perl modules"
    ])
);

fn case(_: &mut Ctx) -> CaseOutcome {
    write("Makefile", b"upper")?;
    write("makefile", b"lower")?;
    contents("open", "Makefile", b"upper")?;
    contents("open", "makefile", b"lower")?;
    holds("open", ".", &["Makefile", "makefile"])
}

submit!(
    Case::new(
        "name.unicode_forms",
        "composed and decomposed forms of a letter are different names, kept as they are",
        unicode_forms
    )
    .source("POSIX: names are compared byte by byte")
    .needed_by(&["git (core.precomposeunicode)", "rsync between systems"])
);

fn unicode_forms(_: &mut Ctx) -> CaseOutcome {
    write("caf\u{e9}", b"composed")?;
    write("cafe\u{301}", b"decomposed")?;
    contents("open", "caf\u{e9}", b"composed")?;
    holds("open", ".", &["caf\u{e9}", "cafe\u{301}"])
}

submit!(
    Case::new(
        "name.long",
        "names of 255 bytes are made, listed and renamed, and 256 give ENAMETOOLONG",
        long
    )
    .source("POSIX: NAME_MAX, ENAMETOOLONG")
    .needed_by(&[
        "downloaders",
        "Bazel",
        "encrypting filesystems (eCryptfs, gocryptfs)"
    ])
);

fn long(_: &mut Ctx) -> CaseOutcome {
    survives(&[b'n'; 255])?;
    survives("\u{1F600}".repeat(63).as_bytes())?;
    let name = "n".repeat(256);
    rustix::fs::open(&name, OFlags::CREATE | OFlags::WRONLY, mode(0o644)).refused(
        "open",
        "a name of 256 bytes",
        Errno::ENAMETOOLONG,
    )?;
    rustix::fs::mkdir(&name, mode(0o755)).refused(
        "mkdir",
        "a name of 256 bytes",
        Errno::ENAMETOOLONG,
    )?;
    holds("open", ".", &[])
}

submit!(
    Case::new(
        "name.long_listed",
        "300 names of 255 bytes are listed whole",
        long_listed
    )
    .source("POSIX readdir()")
    .needed_by(&["encrypted trees", "media collections"])
);

fn long_listed(_: &mut Ctx) -> CaseOutcome {
    let name = |i: usize| format!("{i:03}{}", "l".repeat(252));
    (0..300).try_for_each(|i| write(&name(i), b""))?;
    let listed = names(".")?;
    expect("getdents64", "the number of entries", listed.len(), 300)?;
    let whole = listed
        .iter()
        .enumerate()
        .filter(|(i, n)| **n == *name(*i))
        .count();
    expect("getdents64", "the number of whole names", whole, 300)
}

submit!(
    Case::new(
        "name.empty",
        "an empty path gives ENOENT, and a slash behind a file's name ENOTDIR",
        empty
    )
    .source("POSIX path resolution")
    .needed_by(&["programs that join paths"])
);

fn empty(_: &mut Ctx) -> CaseOutcome {
    write("file", b"x")?;
    rustix::fs::open("", OFlags::RDONLY, Mode::empty()).refused(
        "open",
        "an empty path",
        Errno::ENOENT,
    )?;
    rustix::fs::stat("file/").refused("stat", "file/", Errno::ENOTDIR)?;
    rustix::fs::stat("file/inner").refused("stat", "file/inner", Errno::ENOTDIR)?;
    expect(
        "stat",
        "the size by doubled slashes",
        stat(".//./file")?.st_size,
        1,
    )
}
