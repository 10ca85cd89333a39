//! Reading and writing without waiting: io_uring, Linux AIO and POSIX AIO, readiness of regular files.

use io_uring::{IoUring, opcode, squeue::Entry, types};

use super::prelude::*;

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

/// struct iocb of linux/aio_abi.h, of a little-endian machine.
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_fd: u32,
}

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FSYNC: u16 = 2;

/// Submits one request to Linux AIO and returns its result.
fn aio(name: &str, mut request: Iocb) -> CaseOutcome<i64> {
    let mut context: libc::c_ulong = 0;
    // SAFETY: the context is a number that starts as zero.
    check(unsafe { libc::syscall(libc::SYS_io_setup, 4, &mut context) }).call("io_setup", "4")?;
    let mut list = [std::ptr::from_mut(&mut request)];
    // SAFETY: the request, and the buffer that the caller keeps, live until the event has come.
    let submitted =
        check(unsafe { libc::syscall(libc::SYS_io_submit, context, 1, list.as_mut_ptr()) });
    let mut event = [0i64; 4];
    let got = match &submitted {
        // SAFETY: one event of four 64-bit words is asked for.
        Ok(_) => unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                context,
                1,
                1,
                event.as_mut_ptr(),
                std::ptr::null::<u8>(),
            )
        },
        Err(_) => 0,
    };
    // SAFETY: the context was made above, and nothing is under way in it.
    unsafe { libc::syscall(libc::SYS_io_destroy, context) };
    submitted.call("io_submit", name)?;
    expect("io_getevents", "the number of events", got, 1)?;
    if event[2] < 0 {
        Err(Errno::from_raw(-event[2] as i32)).call("io_getevents", name)
    } else {
        Ok(event[2])
    }
}

submit!(
    Case::new("io.aio", "Linux AIO reads and writes a file", aio_buffered)
        .source("io_submit(2); docker-library/mysql#371")
        .needed_by(&[
            "MySQL, MariaDB (innodb_use_native_aio)",
            "QEMU (aio=native)",
            "nginx (aio on)",
            "Oracle"
        ])
);

fn aio_buffered(_: &mut Ctx) -> CaseOutcome {
    aio_round_trip(OFlags::empty())
}

submit!(
    Case::new(
        "io.aio_direct",
        "Linux AIO reads and writes a file opened with O_DIRECT",
        aio_direct
    )
    .source("io_submit(2); docker-library/mysql#371, MariaDB/mariadb-docker#106")
    .needed_by(&[
        "MySQL, MariaDB (O_DIRECT and native AIO)",
        "QEMU (cache=none,aio=native)",
        "ScyllaDB"
    ])
);

fn aio_direct(_: &mut Ctx) -> CaseOutcome {
    aio_round_trip(OFlags::DIRECT)
}

fn aio_round_trip(flags: OFlags) -> CaseOutcome {
    write("data", &[b'.'; 8192])?;
    let fd = open("data", OFlags::RDWR | flags)?;
    let mut area = vec![0u8; 3 * 4096];
    let skip = area.as_ptr().align_offset(4096);
    let page = &mut area[skip..skip + 4096];
    page.fill(b'A');
    let request = |opcode, page: &mut [u8]| Iocb {
        opcode,
        fd: fd.as_raw_fd() as u32,
        buffer: page.as_mut_ptr() as u64,
        bytes: 4096,
        offset: 4096,
        ..Iocb::default()
    };
    expect(
        "io_submit",
        "the result of the write",
        aio("data, IOCB_CMD_PWRITE", request(PWRITE, page))?,
        4096,
    )?;
    page.fill(0);
    expect(
        "io_submit",
        "the result of the read",
        aio("data, IOCB_CMD_PREAD", request(PREAD, page))?,
        4096,
    )?;
    same_bytes("io_submit", "the second page", page, &[b'A'; 4096])?;
    contents("io_submit", "data", &[[b'.'; 4096], [b'A'; 4096]].concat())
}

submit!(
    Case::new("io.aio_fsync", "Linux AIO syncs a file", aio_fsync)
        .source("io_submit(2): IOCB_CMD_FSYNC, since Linux 4.18")
        .needed_by(&["Samba (aio_fsync)", "QEMU", "fio"])
);

fn aio_fsync(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"synced")?;
    let request = Iocb {
        opcode: FSYNC,
        fd: fd.as_raw_fd() as u32,
        ..Iocb::default()
    };
    expect(
        "io_submit",
        "the result of the sync",
        aio("data, IOCB_CMD_FSYNC", request)?,
        0,
    )?;
    contents("io_submit", "data", b"synced")
}

submit!(
    Case::new(
        "io.poll",
        "a regular file is always ready for poll, and refused by epoll with EPERM",
        poll
    )
    .source("POSIX poll(): regular files are always ready; epoll_ctl(2): EPERM")
    .needed_by(&[
        "libuv, libevent (which use threads then)",
        "shells",
        "Python asyncio (message)"
    ])
);

fn poll(_: &mut Ctx) -> CaseOutcome {
    use rustix::event::{PollFd, PollFlags, epoll};
    let fd = create("data", b"x")?;
    let mut fds = [PollFd::new(&fd, PollFlags::IN | PollFlags::OUT)];
    let n = rustix::event::poll(
        &mut fds,
        Some(&rustix::event::Timespec {
            tv_sec: 5,
            tv_nsec: 0,
        }),
    )
    .call("poll", "data")?;
    expect("poll", "the number of ready descriptors", n, 1)?;
    ensure(
        "poll",
        fds[0].revents().contains(PollFlags::IN | PollFlags::OUT),
        format_args!("a regular file is told as {:?}", fds[0].revents()),
    )?;
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).call("epoll_create1", "")?;
    epoll::add(
        &queue,
        &fd,
        epoll::EventData::new_u64(1),
        epoll::EventFlags::IN,
    )
    .refused("epoll_ctl", "EPOLL_CTL_ADD, data", Errno::EPERM)
}

submit!(
    Case::new(
        "io.tee",
        "tee copies what is in one pipe into another, on its way into two files",
        tee
    )
    .source("tee(2), splice(2)")
    .needed_by(&["systemd", "log pipelines", "HAProxy"])
);

fn tee(_: &mut Ctx) -> CaseOutcome {
    use rustix::pipe::{SpliceFlags, pipe, splice};
    write("from", b"twice")?;
    let from = open("from", OFlags::RDONLY)?;
    let (one, two) = (create("one", b"")?, create("two", b"")?);
    let (out_a, in_a) = pipe().call("pipe", "")?;
    let (out_b, in_b) = pipe().call("pipe", "")?;
    let flags = SpliceFlags::empty();
    expect(
        "splice",
        "the count",
        splice(&from, None, &in_a, None, 5, flags).call("splice", "from, a pipe")?,
        5,
    )?;
    expect(
        "tee",
        "the count",
        rustix::pipe::tee(&out_a, &in_b, 5, flags).call("tee", "a pipe, a pipe")?,
        5,
    )?;
    splice(&out_a, None, &one, None, 5, flags).call("splice", "a pipe, one")?;
    splice(&out_b, None, &two, None, 5, flags).call("splice", "a pipe, two")?;
    contents("splice", "one", b"twice")?;
    contents("splice", "two", b"twice")
}
