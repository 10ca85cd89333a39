//! Reading, writing and naming files by io_uring.

use io_uring::IoUring;
use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types;

use super::super::prelude::*;

/// Hands one request to a fresh ring and waits for its result.
fn once(name: &str, args: &str, entry: Entry) -> CaseOutcome<u32> {
    let mut ring = IoUring::new(4).call("io_uring_setup", "4")?;
    // SAFETY: the caller keeps buffers and descriptors of the entry alive until this returns.
    unsafe { ring.submission().push(&entry) }.map_err(|e| Stop::broken("io_uring_enter", e))?;
    ring.submit_and_wait(1).call("io_uring_enter", args)?;
    let result = ring
        .completion()
        .next()
        .ok_or_else(|| Stop::broken("io_uring_enter", "no completion came"))?
        .result();
    if result < 0 {
        Err(Errno::from_raw(-result)).call(name, args)
    } else {
        Ok(result.unsigned_abs())
    }
}

submit!(
    Case::new(
        "io.uring_read",
        "io_uring reads a file at an offset",
        uring_read
    )
    .source("io_uring_enter(2): IORING_OP_READ")
    .needed_by(&[
        "Node.js (libuv)",
        "RocksDB (MultiGet)",
        "ScyllaDB",
        "Rust tokio-uring, glommio"
    ])
    .needs(&[Need::IoUring])
);

fn uring_read(_: &mut Ctx) -> CaseOutcome {
    let bytes: Vec<u8> = (0..50_000u32).map(|i| (i % 233) as u8).collect();
    write("data", &bytes)?;
    let fd = open("data", OFlags::RDONLY)?;
    let mut buffer = vec![0u8; 60_000];
    let entry = opcode::Read::new(types::Fd(fd.as_raw_fd()), buffer.as_mut_ptr(), 60_000)
        .offset(1000)
        .build();
    let n = once("io_uring_read", "data", entry)?;
    same_bytes(
        "io_uring_read",
        "data",
        &buffer[..n as usize],
        &bytes[1000..],
    )
}

submit!(
    Case::new(
        "io.uring_write",
        "io_uring writes a file and syncs it",
        uring_write
    )
    .source("io_uring_enter(2): IORING_OP_WRITE, IORING_OP_FSYNC")
    .needed_by(&["RocksDB", "QEMU (aio=io_uring)", "MariaDB", "PostgreSQL 18"])
    .needs(&[Need::IoUring])
);

fn uring_write(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"0123456789")?;
    let bytes = vec![b'u'; 40_000];
    let entry = opcode::Write::new(types::Fd(fd.as_raw_fd()), bytes.as_ptr(), 40_000)
        .offset(5)
        .build();
    expect(
        "io_uring_write",
        "the count",
        once("io_uring_write", "data", entry)?,
        40_000,
    )?;
    once(
        "io_uring_fsync",
        "data",
        opcode::Fsync::new(types::Fd(fd.as_raw_fd())).build(),
    )?;
    contents("io_uring_write", "data", &[&b"01234"[..], &bytes].concat())
}

submit!(
    Case::new("io.uring_open", "io_uring opens, asks for attributes, renames and removes by name", uring_open)
        .source("io_uring_enter(2): IORING_OP_OPENAT, STATX, RENAMEAT, UNLINKAT; Linux 5.11 for the last two")
        .needed_by(&["Node.js (libuv 1.45)", "Samba", "Rust compio"])
        .needs(&[Need::IoUring])
);

fn uring_open(_: &mut Ctx) -> CaseOutcome {
    let ring = IoUring::new(4).call("io_uring_setup", "4")?;
    let mut known = io_uring::Probe::new();
    ring.submitter()
        .register_probe(&mut known)
        .call("io_uring_register", "IORING_REGISTER_PROBE")?;
    if !known.is_supported(opcode::RenameAt::CODE) || !known.is_supported(opcode::UnlinkAt::CODE) {
        return Err(Stop::NotRun(
            "needs io_uring's renameat and unlinkat, which came with Linux 5.11".into(),
        ));
    }
    write("data", b"by ring")?;
    let here = types::Fd(libc::AT_FDCWD);
    let fd = once(
        "io_uring_openat",
        "data",
        opcode::OpenAt::new(here, c"data".as_ptr())
            .flags(libc::O_RDONLY | libc::O_CLOEXEC)
            .build(),
    )?;
    // SAFETY: the descriptor was just made by the ring and belongs to nobody else.
    let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd as i32) };
    same_bytes(
        "io_uring_openat",
        "data",
        &read_at(&fd, "data", 0, 20)?,
        b"by ring",
    )?;
    // SAFETY: all fields are plain numbers, for which zero is a value.
    let mut told: libc::statx = unsafe { std::mem::zeroed() };
    let entry = opcode::Statx::new(here, c"data".as_ptr(), std::ptr::from_mut(&mut told).cast())
        .mask(libc::STATX_SIZE)
        .build();
    once("io_uring_statx", "data", entry)?;
    expect("io_uring_statx", "stx_size", told.stx_size, 7)?;
    once(
        "io_uring_renameat",
        "data, moved",
        opcode::RenameAt::new(here, c"data".as_ptr(), here, c"moved".as_ptr()).build(),
    )?;
    holds("io_uring_renameat", ".", &["moved"])?;
    once(
        "io_uring_unlinkat",
        "moved",
        opcode::UnlinkAt::new(here, c"moved".as_ptr()).build(),
    )?;
    holds("io_uring_unlinkat", ".", &[])
}

submit!(
    Case::new(
        "io.uring_many",
        "64 reads in one submission all complete, each with its own bytes",
        uring_many
    )
    .source("io_uring_enter(2)")
    .needed_by(&[
        "ScyllaDB (Seastar)",
        "RocksDB (MultiGet)",
        "fio --ioengine=io_uring"
    ])
    .needs(&[Need::IoUring])
);

fn uring_many(_: &mut Ctx) -> CaseOutcome {
    let bytes: Vec<u8> = (0..64u8).flat_map(|i| vec![i; 1000]).collect();
    write("data", &bytes)?;
    let fd = open("data", OFlags::RDONLY)?;
    let mut ring = IoUring::new(64).call("io_uring_setup", "64")?;
    let mut buffers = vec![vec![0u8; 1000]; 64];
    for (i, buffer) in buffers.iter_mut().enumerate() {
        let entry = opcode::Read::new(types::Fd(fd.as_raw_fd()), buffer.as_mut_ptr(), 1000)
            .offset(i as u64 * 1000)
            .build()
            .user_data(i as u64);
        // SAFETY: the buffers live until all completions have come.
        unsafe { ring.submission().push(&entry) }.map_err(|e| Stop::broken("io_uring_enter", e))?;
    }
    ring.submit_and_wait(64)
        .call("io_uring_enter", "64 reads of data")?;
    let results: Vec<(u64, i32)> = ring
        .completion()
        .map(|c| (c.user_data(), c.result()))
        .collect();
    expect(
        "io_uring_enter",
        "the number of completions",
        results.len(),
        64,
    )?;
    for (i, result) in results {
        expect(
            "io_uring_read",
            &format!("the count of read {i}"),
            result,
            1000,
        )?;
        same_bytes(
            "io_uring_read",
            &format!("piece {i}"),
            &buffers[i as usize],
            &[i as u8; 1000],
        )?;
    }
    Ok(())
}

submit!(
    Case::new(
        "io.uring_fixed",
        "io_uring reads into registered buffers from registered files",
        uring_fixed
    )
    .source("io_uring_register(2): IORING_REGISTER_BUFFERS, IORING_REGISTER_FILES")
    .needed_by(&["QEMU", "databases that register their page cache"])
    .needs(&[Need::IoUring])
);

fn uring_fixed(_: &mut Ctx) -> CaseOutcome {
    write("data", &[b'f'; 4096])?;
    let fd = open("data", OFlags::RDONLY)?;
    let mut ring = IoUring::new(4).call("io_uring_setup", "4")?;
    let mut buffer = vec![0u8; 4096];
    let pieces = [libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: 4096,
    }];
    // SAFETY: the buffer outlives the ring's use of it, which ends with the only completion.
    unsafe { ring.submitter().register_buffers(&pieces) }.call("io_uring_register", "a buffer")?;
    ring.submitter()
        .register_files(&[fd.as_raw_fd()])
        .call("io_uring_register", "data")?;
    let entry = opcode::ReadFixed::new(types::Fixed(0), buffer.as_mut_ptr(), 4096, 0).build();
    // SAFETY: as above.
    unsafe { ring.submission().push(&entry) }.map_err(|e| Stop::broken("io_uring_enter", e))?;
    ring.submit_and_wait(1).call("io_uring_enter", "data")?;
    let result = ring.completion().next().map_or(0, |c| c.result());
    expect("io_uring_read_fixed", "the result", result, 4096)?;
    same_bytes("io_uring_read_fixed", "data", &buffer, &[b'f'; 4096])
}
