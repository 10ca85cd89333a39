//! The flags of renameat2.

use rustix::fs::RenameFlags;

use super::super::prelude::*;

fn rename2(from: &str, to: &str, flags: RenameFlags) -> Result<(), rustix::io::Errno> {
    rustix::fs::renameat_with(CWD, from, CWD, to, flags)
}

submit!(
    Case::new("rename.noreplace", "renameat2 with RENAME_NOREPLACE renames to a name that is free", noreplace)
        .source("rename(2): RENAME_NOREPLACE, EINVAL where the filesystem does not support it; ClickHouse#18959")
        .needed_by(&["ClickHouse (Atomic databases)", "mv -n since coreutils 9", "systemd"])
);

fn noreplace(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    rename2("a", "b", RenameFlags::NOREPLACE).call("renameat2", "a, b, RENAME_NOREPLACE")?;
    contents("renameat2", "b", b"one")?;
    holds("renameat2", ".", &["b"])
}

submit!(
    Case::new(
        "rename.noreplace_existing",
        "renameat2 with RENAME_NOREPLACE to a name that exists fails with EEXIST",
        noreplace_existing
    )
    .source("rename(2): RENAME_NOREPLACE, EEXIST")
    .needed_by(&["ClickHouse", "mv -n", "beads (file locks)"])
);

fn noreplace_existing(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    write("b", b"two")?;
    rename2("a", "b", RenameFlags::NOREPLACE).refused(
        "renameat2",
        "a, b, RENAME_NOREPLACE",
        Errno::EEXIST,
    )?;
    contents("renameat2", "b", b"two")
}

submit!(
    Case::new(
        "rename.exchange",
        "renameat2 with RENAME_EXCHANGE swaps two files",
        exchange
    )
    .source("rename(2): RENAME_EXCHANGE; beads_rust#419")
    .needed_by(&[
        "ClickHouse (EXCHANGE TABLES)",
        "mv --exchange",
        "ostree",
        "deployments that swap trees"
    ])
);

fn exchange(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    write("b", b"two")?;
    rename2("a", "b", RenameFlags::EXCHANGE).call("renameat2", "a, b, RENAME_EXCHANGE")?;
    contents("renameat2", "a", b"two")?;
    contents("renameat2", "b", b"one")
}

submit!(
    Case::new(
        "rename.exchange_kinds",
        "renameat2 with RENAME_EXCHANGE swaps a file and a directory with contents",
        exchange_kinds
    )
    .source("rename(2): RENAME_EXCHANGE, of different types")
    .needed_by(&["ostree", "image builders"])
);

fn exchange_kinds(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    mkdir("b")?;
    write("b/inner", b"two")?;
    rename2("a", "b", RenameFlags::EXCHANGE).call("renameat2", "a, b, RENAME_EXCHANGE")?;
    contents("renameat2", "b", b"one")?;
    contents("renameat2", "a/inner", b"two")
}

submit!(
    Case::new(
        "rename.whiteout",
        "renameat2 with RENAME_WHITEOUT leaves a whiteout device behind",
        whiteout
    )
    .source("rename(2): RENAME_WHITEOUT; kata-containers/runtime#1888")
    .needed_by(&[
        "overlayfs with its upper directory on the volume",
        "Docker (overlay2)"
    ])
    .needs(&[Need::HostRoot])
);

fn whiteout(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    rename2("a", "b", RenameFlags::WHITEOUT).call("renameat2", "a, b, RENAME_WHITEOUT")?;
    contents("renameat2", "b", b"one")?;
    let left = lstat("a")?;
    let kind = rustix::fs::FileType::from_raw_mode(left.st_mode);
    expect(
        "renameat2",
        "what is left at a",
        (kind, left.st_rdev),
        (rustix::fs::FileType::CharacterDevice, 0),
    )
}
