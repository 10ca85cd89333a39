//! Bytes, sizes and attributes that the host changes.

use super::*;

submit!(
    Case::new(
        "coherence.host_writes",
        "bytes that the host changes are read, by an open descriptor and by a new one",
        host_writes
    )
    .source(SOURCE)
    .needed_by(&[
        "configuration reloads",
        "shared databases (which is why they must not)"
    ])
    .needs(&[Need::HostView])
);

fn host_writes(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'1'; 6000])?;
    chmod("data", 0o666)?;
    let fd = open("data", OFlags::RDONLY)?;
    same_bytes(
        "pread",
        "data",
        &read_at(&fd, "data", 0, 6000)?,
        &[b'1'; 6000],
    )?;
    host::write("data", &[b'2'; 6000])?;
    same_bytes(
        "pread",
        "data, changed by the host",
        &read_at(&fd, "data", 0, 6000)?,
        &[b'2'; 6000],
    )?;
    contents("open", "data", &[b'2'; 6000])
}

submit!(
    Case::new(
        "coherence.host_restores_time",
        "bytes that the host changes are read, though size and times are as they were",
        host_restores_time
    )
    .source(
        "linux fs/9p/vfs_file.c: with cache=none every read is a Tread, whatever the attributes say"
    )
    .needed_by(&[
        "rsync --times --inplace",
        "cp -p, tar -x over an old version"
    ])
    .needs(&[Need::HostView])
);

fn host_restores_time(_: &mut Ctx) -> CaseOutcome {
    let touch = || host::act(Act::Touch("data".into(), 1_234_567_890));
    write("data", &[b'1'; 6000])?;
    chmod("data", 0o666)?;
    touch()?;
    let fd = open("data", OFlags::RDONLY)?;
    let before = read_at(&fd, "data", 0, 6000)?;
    same_bytes("pread", "data", &before, &[b'1'; 6000])?;
    host::write("data", &[b'2'; 6000])?;
    touch()?;
    expect(
        "stat",
        "st_mtime that the host set again",
        stat("data")?.st_mtime,
        1_234_567_890,
    )?;
    same_bytes(
        "pread",
        "data, changed by the host",
        &read_at(&fd, "data", 0, 6000)?,
        &[b'2'; 6000],
    )
}

submit!(
    Case::new(
        "coherence.host_appends",
        "a file that the host makes longer shows its new size and bytes",
        host_appends
    )
    .source(SOURCE)
    .needed_by(&["tail -f", "log shippers", "followers of a transfer"])
    .needs(&[Need::HostView])
);

fn host_appends(_: &mut Ctx) -> CaseOutcome {
    write("log", b"one\n")?;
    chmod("log", 0o666)?;
    let fd = open("log", OFlags::RDONLY)?;
    same_bytes("pread", "log", &read_at(&fd, "log", 0, 100)?, b"one\n")?;
    host::append("log", b"two\n")?;
    expect("fstat", "st_size of log", fstat(&fd, "log")?.st_size, 8)?;
    expect("stat", "st_size of log", stat("log")?.st_size, 8)?;
    same_bytes("pread", "log", &read_at(&fd, "log", 4, 100)?, b"two\n")
}

submit!(
    Case::new(
        "coherence.host_truncates",
        "a file that the host cuts shows its new size and end",
        host_truncates
    )
    .source(SOURCE)
    .needed_by(&["log rotation by the host", "transfers that start again"])
    .needs(&[Need::HostView])
);

fn host_truncates(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'x'; 9000])?;
    expect("fstat", "st_size", fstat(&fd, "data")?.st_size, 9000)?;
    host::act(Act::Truncate("data".into(), 10))?;
    expect(
        "fstat",
        "st_size that the host set",
        fstat(&fd, "data")?.st_size,
        10,
    )?;
    same_bytes(
        "pread",
        "data",
        &read_at(&fd, "data", 0, 9000)?,
        &[b'x'; 10],
    )
}

submit!(
    Case::new(
        "coherence.host_chmods",
        "a mode that the host changes is told and obeyed",
        host_chmods
    )
    .source(SOURCE)
    .needed_by(&["files that the host makes executable"])
    .needs(&[Need::HostView])
);

fn host_chmods(_: &mut Ctx) -> CaseOutcome {
    drop(create_mode("script", 0o644, b"#!/bin/sh\nexit 0\n")?);
    expect(
        "stat",
        "the mode",
        permissions(&stat("script")?),
        "0644".into(),
    )?;
    host::act(Act::Chmod("script".into(), 0o755))?;
    expect(
        "stat",
        "the mode that the host set",
        permissions(&stat("script")?),
        "0755".into(),
    )?;
    let status = std::process::Command::new("./script")
        .status()
        .call("execve", "./script")?;
    ensure(
        "execve",
        status.success(),
        "the script that the host made executable failed",
    )
}

submit!(
    Case::new(
        "coherence.host_touches",
        "a time that the host sets is told",
        host_touches
    )
    .source(SOURCE)
    .needed_by(&["make", "watchers that poll (tsc, nodemon --legacy-watch)"])
    .needs(&[Need::HostView])
);

fn host_touches(_: &mut Ctx) -> CaseOutcome {
    write("data", b"x")?;
    stat("data")?;
    host::act(Act::Touch("data".into(), 1_234_567_890))?;
    expect(
        "stat",
        "st_mtime that the host set",
        stat("data")?.st_mtime,
        1_234_567_890,
    )
}

submit!(
    Case::new(
        "coherence.mapping",
        "a mapping made after the host changed a file shows the change",
        mapping
    )
    .source("linux fs/9p: pages of a mapping are cached whatever the cache mode")
    .needed_by(&[
        "ld.so after the host replaced a library in place",
        "git, Lucene"
    ])
    .needs(&[Need::HostView])
);

fn mapping(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'1'; 4096])?;
    chmod("data", 0o666)?;
    let fd = open("data", OFlags::RDONLY)?;
    let first = Map::new(&fd, "data", 4096, READ, PRIVATE)?;
    expect("mmap", "what the first mapping shows", first.byte(7), b'1')?;
    drop((first, fd));
    host::write("data", &[b'2'; 4096])?;
    let fd = open("data", OFlags::RDONLY)?;
    let second = Map::new(&fd, "data", 4096, READ, PRIVATE)?;
    expect(
        "mmap",
        "what a mapping made after the host's write shows",
        second.byte(7),
        b'2',
    )
}
