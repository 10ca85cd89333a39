//! Files renamed: over others, while open, atomically.

use super::super::prelude::*;

submit!(
    Case::new(
        "rename.simple",
        "a rename gives a file its new name and takes the old one away",
        simple
    )
    .source("POSIX rename()")
    .needed_by(&["every program that saves by temporary file"])
);

fn simple(_: &mut Ctx) -> CaseOutcome {
    write("a", b"one")?;
    rename("a", "b")?;
    holds("rename", ".", &["b"])?;
    contents("rename", "b", b"one")
}

submit!(
    Case::new("rename.over", "a rename over a file replaces it", over)
        .source("POSIX rename()")
        .needed_by(&[
            "editors",
            "package managers",
            "git (ref and index updates)",
            "redis (RDB)"
        ])
);

fn over(_: &mut Ctx) -> CaseOutcome {
    write("data", b"old")?;
    write("tmp", b"new one")?;
    rename("tmp", "data")?;
    contents("rename", "data", b"new one")?;
    holds("rename", ".", &["data"])
}

submit!(
    Case::new(
        "rename.over_open",
        "a file that was renamed over is still read whole by who has it open",
        over_open
    )
    .source("POSIX rename(): the link is removed while the file is open")
    .needed_by(&[
        "servers that read while a deployment replaces files",
        "ld.so and shared libraries"
    ])
);

fn over_open(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'o'; 10_000])?;
    let old = open("data", OFlags::RDONLY)?;
    write("tmp", b"new")?;
    rename("tmp", "data")?;
    same_bytes(
        "rename",
        "the old file",
        &read_at(&old, "data", 0, 20_000)?,
        &[b'o'; 10_000],
    )?;
    contents("rename", "data", b"new")
}

submit!(
    Case::new(
        "rename.open_file",
        "a file renamed while it is open is written on by its descriptor",
        open_file
    )
    .source("POSIX rename()")
    .needed_by(&[
        "logrotate (create mode)",
        "downloaders (.part files)",
        "curl, wget, browsers"
    ])
);

fn open_file(_: &mut Ctx) -> CaseOutcome {
    let fd = create("file.part", b"half ")?;
    rename("file.part", "file")?;
    write_at(&fd, "file", 5, b"done")?;
    contents("pwrite", "file", b"half done")
}

submit!(
    Case::new(
        "rename.atomic",
        "while a file is replaced again and again, who opens it always finds it, whole",
        atomic
    )
    .source("POSIX rename(): a link named new shall remain visible throughout")
    .needed_by(&[
        "configuration reloads",
        "git (HEAD, refs)",
        "Prometheus textfile collector",
        "/etc/passwd updates"
    ])
);

fn atomic(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'0'; 5000])?;
    let mut reader = fork(|parent| {
        parent.tell()?;
        for _ in 0..100 {
            let fd = open("data", OFlags::RDONLY)?;
            let bytes = read_at(&fd, "data", 0, 6000)?;
            expect(
                "rename",
                "the length that a reader finds",
                bytes.len(),
                5000,
            )?;
            ensure(
                "rename",
                bytes.iter().all(|b| *b == bytes[0]),
                "a reader found a mixture of old and new",
            )?;
        }
        Ok(())
    })?;
    reader.hear()?;
    for round in 0..100u8 {
        write("tmp", &[b'0' + round % 10; 5000])?;
        rename("tmp", "data")?;
    }
    reader.join()?;
    holds("rename", ".", &["data"])
}

submit!(
    Case::new(
        "rename.same_file",
        "a rename between two names of one file does nothing and succeeds",
        same_file
    )
    .source("POSIX rename(): old and new resolve to the same file")
    .needed_by(&["mv (which then unlinks itself)", "case-only renames"])
);

fn same_file(_: &mut Ctx) -> CaseOutcome {
    write("a", b"x")?;
    link("a", "b")?;
    rename("a", "b")?;
    holds("rename", ".", &["a", "b"])?;
    expect("rename", "st_nlink", stat("a")?.st_nlink, 2)
}

submit!(
    Case::new(
        "rename.missing",
        "a rename of what does not exist fails with ENOENT and keeps the target",
        missing
    )
    .source("POSIX rename(): ENOENT")
    .needed_by(&["programs that try a rename first"])
);

fn missing(_: &mut Ctx) -> CaseOutcome {
    write("b", b"x")?;
    rustix::fs::rename("a", "b").refused("rename", "a, b", Errno::ENOENT)?;
    contents("rename", "b", b"x")
}

submit!(
    Case::new(
        "rename.over_itself_case",
        "a file is renamed to a name that differs in case alone",
        over_itself_case
    )
    .source("POSIX: names are bytes")
    .needed_by(&["git on case-sensitive trees"])
);

fn over_itself_case(_: &mut Ctx) -> CaseOutcome {
    write("readme", b"x")?;
    rename("readme", "README")?;
    holds("rename", ".", &["README"])
}

submit!(
    Case::new(
        "rename.read_only_file",
        "a file without write permission is renamed over and away",
        read_only_file
    )
    .source("POSIX rename(): the directory's permission decides")
    .needed_by(&["git (objects are 0444)", "Go (module cache is read-only)"])
);

fn read_only_file(_: &mut Ctx) -> CaseOutcome {
    create_mode("a", 0o444, b"one")?;
    create_mode("b", 0o444, b"two")?;
    rename("a", "b")?;
    contents("rename", "b", b"one")
}
