//! Many operations, processes or names at once, seeded, each checked against a model or a sum.

use std::collections::BTreeMap;

use super::prelude::*;

/// A small generator of numbers (xorshift64*): the same seed gives the same operations on both sides.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

/// Random reads, writes and truncations of one file, compared with bytes in memory after each read.
fn fsx(seed: u64, steps: usize, largest: usize, reopen: bool, flags: OFlags) -> CaseOutcome {
    let mut random = Random(seed);
    let mut model: Vec<u8> = Vec::new();
    write("data", b"")?;
    let mut fd = open("data", OFlags::RDWR | flags)?;
    for step in 0..steps {
        match random.below(if reopen { 6 } else { 5 }) {
            0 | 1 => {
                let (at, len) = (random.below(largest), 1 + random.below(largest / 4));
                let byte = b'a' + (step % 26) as u8;
                write_at(&fd, "data", at as u64, &vec![byte; len])?;
                if model.len() < at + len {
                    model.resize(at + len, 0);
                }
                model[at..at + len].fill(byte);
            }
            2 => {
                let len = random.below(largest);
                rustix::fs::ftruncate(&fd, len as u64)
                    .call("ftruncate", format_args!("data, {len}"))?;
                model.resize(len, 0);
            }
            3 | 4 => {
                let (at, len) = (random.below(largest), 1 + random.below(largest));
                let got = read_at(&fd, "data", at as u64, len)?;
                let want = model
                    .get(at..(at + len).min(model.len()))
                    .unwrap_or_default();
                same_bytes(
                    "pread",
                    &format!("data at {at} in step {step} of seed {seed}"),
                    &got,
                    want,
                )?;
                expect(
                    "fstat",
                    "st_size",
                    fstat(&fd, "data")?.st_size as usize,
                    model.len(),
                )?;
            }
            _ => {
                drop(fd);
                fd = open("data", OFlags::RDWR | flags)?;
            }
        }
    }
    drop(fd);
    contents("pwrite", "data", &model)
}

submit!(
    Case::new(
        "stress.random_io",
        "600 random reads, writes and truncations of a file agree with a model in memory",
        random_io
    )
    .source("fsx, the file system exerciser")
    .needed_by(&["databases", "disk images", "every program"])
    .limit_secs(180)
);

fn random_io(_: &mut Ctx) -> CaseOutcome {
    fsx(0x9e37_79b9_7f4a_7c15, 600, 300_000, false, OFlags::empty())
}

submit!(
    Case::new(
        "stress.random_io_small",
        "1500 random operations within two pages agree with a model, over reopenings",
        random_io_small
    )
    .source("fsx, the file system exerciser")
    .needed_by(&["databases", "editors"])
    .limit_secs(180)
);

fn random_io_small(_: &mut Ctx) -> CaseOutcome {
    fsx(0x1234_5678_9abc_def1, 1500, 8192, true, OFlags::empty())
}

submit!(
    Case::new(
        "stress.random_io_sync",
        "200 random operations of a file opened with O_SYNC agree with a model",
        random_io_sync
    )
    .source("fsx, the file system exerciser; open(2): O_SYNC")
    .needed_by(&["write-ahead logs"])
    .limit_secs(180)
);

fn random_io_sync(_: &mut Ctx) -> CaseOutcome {
    fsx(0x0dd_ba11_5eed, 200, 100_000, true, OFlags::SYNC)
}

submit!(
    Case::new(
        "stress.random_tree",
        "700 random makings, renames, links and removals agree with a model of the tree",
        random_tree
    )
    .source("POSIX rename(), link(), unlink(), mkdir(), rmdir()")
    .needed_by(&["package managers", "git", "build systems"])
    .limit_secs(180)
);

/// What a name is in the model: an empty directory, or a file by the number of its contents.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Entry {
    Directory,
    File(usize),
}

fn random_tree(_: &mut Ctx) -> CaseOutcome {
    let mut random = Random(0x00c0_ffee_dead_beef);
    let mut model: BTreeMap<String, Entry> = BTreeMap::new();
    mkdir("a")?;
    mkdir("b")?;
    for step in 0..700 {
        let mut name = || {
            format!(
                "{}/{}",
                ["a", "b"][random.below(2)],
                ["p", "q", "r", "s"][random.below(4)]
            )
        };
        let (one, two) = (name(), name());
        let (at, to) = (model.get(&one).copied(), model.get(&two).copied());
        match random.below(6) {
            0 => {
                let made = rustix::fs::mkdir(&one, mode(0o755)).is_ok();
                expect(
                    "mkdir",
                    &format!("whether {one} could be made in step {step}"),
                    made,
                    at.is_none(),
                )?;
                if made {
                    model.insert(one, Entry::Directory);
                }
            }
            1 => {
                let made = rustix::fs::open(
                    &one,
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY,
                    mode(0o644),
                );
                expect(
                    "open",
                    &format!("whether {one} could be made in step {step}"),
                    made.is_ok(),
                    at.is_none(),
                )?;
                if let Ok(fd) = made {
                    write_at(&fd, &one, 0, step.to_string().as_bytes())?;
                    model.insert(one, Entry::File(step));
                }
            }
            2 => {
                let gone = rustix::fs::unlink(&one).is_ok();
                expect(
                    "unlink",
                    &format!("whether {one} could be removed in step {step}"),
                    gone,
                    matches!(at, Some(Entry::File(_))),
                )?;
                if gone {
                    model.remove(&one);
                }
            }
            3 => {
                let gone = rustix::fs::rmdir(&one).is_ok();
                expect(
                    "rmdir",
                    &format!("whether {one} could be removed in step {step}"),
                    gone,
                    at == Some(Entry::Directory),
                )?;
                if gone {
                    model.remove(&one);
                }
            }
            4 => {
                let linked = rustix::fs::link(&one, &two).is_ok();
                let may = matches!(at, Some(Entry::File(_))) && to.is_none();
                expect(
                    "link",
                    &format!("whether {two} could be linked to {one} in step {step}"),
                    linked,
                    may,
                )?;
                if linked {
                    model.extend(at.map(|entry| (two, entry)));
                }
            }
            _ => {
                let moved = rustix::fs::rename(&one, &two).is_ok();
                let may = match (at, to) {
                    (None, _) => false,
                    (Some(_), None) => true,
                    (Some(from), Some(over)) => {
                        (from == Entry::Directory) == (over == Entry::Directory)
                    }
                };
                expect(
                    "rename",
                    &format!("whether {one} could be renamed to {two} in step {step}"),
                    moved,
                    may,
                )?;
                // Between two names of one file, or to itself, a rename does nothing.
                if moved && one != two && !(matches!(at, Some(Entry::File(_))) && at == to) {
                    model.remove(&one);
                    model.extend(at.map(|entry| (two, entry)));
                }
            }
        }
    }
    for dir in ["a", "b"] {
        let want: Vec<&str> = model
            .keys()
            .filter_map(|name| name.strip_prefix(dir)?.strip_prefix('/'))
            .collect();
        holds("rename", dir, &want)?;
    }
    for (name, entry) in &model {
        if let Entry::File(step) = entry {
            contents("rename", name, step.to_string().as_bytes())?;
        }
    }
    Ok(())
}

submit!(
    Case::new(
        "stress.create_unlink",
        "6 processes make, write and remove 100 files each in one directory, and leave it empty",
        create_unlink
    )
    .source("POSIX open(), unlink()")
    .needed_by(&["compilers with -j", "mail servers", "PHP sessions"])
    .limit_secs(180)
);

fn create_unlink(_: &mut Ctx) -> CaseOutcome {
    mkdir("dir")?;
    let workers = (0..6)
        .map(|who| {
            fork(move |_| {
                for i in 0..100 {
                    let name = format!("dir/{who}-{i}");
                    write(&name, name.as_bytes())?;
                    contents("open", &name, name.as_bytes())?;
                    unlink(&name)?;
                }
                Ok(())
            })
        })
        .collect::<CaseOutcome<Vec<_>>>()?;
    workers.into_iter().try_for_each(|worker| worker.join())?;
    holds("unlink", "dir", &[])
}

submit!(
    Case::new(
        "stress.rename_storm",
        "4 processes rename files between two directories, and none is lost or doubled",
        rename_storm
    )
    .source("POSIX rename()")
    .needed_by(&["mail servers (new to cur)", "job spoolers", "ccache"])
    .limit_secs(180)
);

fn rename_storm(_: &mut Ctx) -> CaseOutcome {
    mkdir("a")?;
    mkdir("b")?;
    for i in 0..20 {
        write(&format!("a/f{i}"), format!("file {i}").as_bytes())?;
    }
    let workers = (1..=4u64)
        .map(|who| {
            fork(move |_| {
                let mut random = Random(who * 0x1357_9bdf);
                for _ in 0..150 {
                    let i = random.below(20);
                    let (from, to) = if random.below(2) == 0 {
                        ("a", "b")
                    } else {
                        ("b", "a")
                    };
                    match rustix::fs::rename(format!("{from}/f{i}"), format!("{to}/f{i}")) {
                        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                        Err(error) => {
                            return Err(error)
                                .call("rename", format_args!("{from}/f{i}, {to}/f{i}"));
                        }
                    }
                }
                Ok(())
            })
        })
        .collect::<CaseOutcome<Vec<_>>>()?;
    workers.into_iter().try_for_each(|worker| worker.join())?;
    for i in 0..20 {
        let (a, b) = (exists(&format!("a/f{i}"))?, exists(&format!("b/f{i}"))?);
        ensure(
            "rename",
            a != b,
            format_args!("file {i} is in {} directories", u8::from(a) + u8::from(b)),
        )?;
        let place = if a { "a" } else { "b" };
        contents(
            "rename",
            &format!("{place}/f{i}"),
            format!("file {i}").as_bytes(),
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "stress.shared_file",
        "4 processes write their own stripes of one file, and every byte is in its place",
        shared_file
    )
    .source("POSIX pwrite()")
    .needed_by(&[
        "BitTorrent clients, aria2",
        "parallel linkers",
        "databases",
        "MPI-IO"
    ])
    .limit_secs(180)
);

fn shared_file(_: &mut Ctx) -> CaseOutcome {
    const STRIPE: usize = 5000;
    write("data", b"")?;
    let workers = (0..4usize)
        .map(|who| {
            fork(move |_| {
                let fd = open("data", OFlags::RDWR)?;
                for i in (who..200).step_by(4) {
                    write_at(&fd, "data", (i * STRIPE) as u64, &vec![i as u8 + 1; STRIPE])?;
                }
                Ok(())
            })
        })
        .collect::<CaseOutcome<Vec<_>>>()?;
    workers.into_iter().try_for_each(|worker| worker.join())?;
    let want: Vec<u8> = (0..200usize)
        .flat_map(|i| vec![i as u8 + 1; STRIPE])
        .collect();
    contents("pwrite", "data", &want)
}

submit!(
    Case::new(
        "stress.read_while_written",
        "a reader of a file that another process appends to sees only whole bytes in order",
        read_while_written
    )
    .source("POSIX write(), read()")
    .needed_by(&[
        "tail -f",
        "log shippers",
        "follow-mode readers of databases"
    ])
    .limit_secs(180)
);

fn read_while_written(_: &mut Ctx) -> CaseOutcome {
    write("log", b"")?;
    let writer = fork(|_| {
        let fd = open("log", OFlags::WRONLY | OFlags::APPEND)?;
        for i in 0..500u32 {
            rustix::io::write(&fd, format!("{i:07}\n").as_bytes()).call("write", "log")?;
        }
        Ok(())
    })?;
    let fd = open("log", OFlags::RDONLY)?;
    let mut seen = Vec::new();
    while seen.len() < 4000 {
        let more = read_at(&fd, "log", seen.len() as u64, 512)?;
        if more.is_empty() {
            std::thread::yield_now();
        }
        seen.extend(more);
        let whole = seen.len() / 8;
        if whole > 0 {
            let last = &seen[(whole - 1) * 8..whole * 8];
            expect(
                "read",
                "the last whole line",
                String::from_utf8_lossy(last).into_owned(),
                format!("{:07}\n", whole - 1),
            )?;
        }
    }
    writer.join()?;
    expect("read", "the length", seen.len(), 4000)
}

submit!(
    Case::new(
        "stress.tree_copy",
        "a tree of 200 files in 20 directories is copied, compared and removed",
        tree_copy
    )
    .source("what cp -r, diff -r and rm -r do")
    .needed_by(&["npm install, pip install", "tar, rsync", "git checkout"])
    .limit_secs(180)
);

fn tree_copy(_: &mut Ctx) -> CaseOutcome {
    mkdir("from")?;
    mkdir("to")?;
    let bytes = |d: usize, f: usize| format!("{d} {f} ").repeat(d * f + 1).into_bytes();
    for d in 0..20 {
        mkdir(&format!("from/d{d}"))?;
        for f in 0..10 {
            write(&format!("from/d{d}/f{f}"), &bytes(d, f))?;
        }
    }
    for dir in names("from")? {
        let dir = dir.to_string_lossy().into_owned();
        mkdir(&format!("to/{dir}"))?;
        for file in names(&format!("from/{dir}"))? {
            let file = file.to_string_lossy().into_owned();
            std::fs::copy(format!("from/{dir}/{file}"), format!("to/{dir}/{file}")).call(
                "copy_file_range",
                format_args!("from/{dir}/{file}, to/{dir}/{file}"),
            )?;
        }
    }
    std::fs::remove_dir_all("from").call("unlinkat", "from, and all below")?;
    expect("unlinkat", "the presence of from", exists("from")?, false)?;
    for d in 0..20 {
        for f in 0..10 {
            contents("copy_file_range", &format!("to/d{d}/f{f}"), &bytes(d, f))?;
        }
    }
    Ok(())
}
