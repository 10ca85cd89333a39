//! Linux AIO, and readiness of regular files.

use super::super::prelude::*;

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

const PREAD: u16 = 0;

const PWRITE: u16 = 1;

const FSYNC: u16 = 2;

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
