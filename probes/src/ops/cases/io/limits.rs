//! The limits of single calls: alignment of direct I/O, numbers and lengths of pieces, flags of preadv2 and pwritev2,
//! and reads that give less than was asked for.

use std::io::{IoSlice, IoSliceMut};

use rustix::io::ReadWriteFlags;

use super::super::prelude::*;
use crate::ops::case::Side;

submit!(
    Case::new(
        "io.direct_unaligned",
        "O_DIRECT refuses an offset, a length and a buffer off the block with EINVAL, where the file system has blocks",
        direct_unaligned
    )
    .source("open(2): O_DIRECT, EINVAL; QEMU hw/9pfs get_dotl_openflags takes the flag away")
    .needed_by(&["programs that probe the alignment (XFS tools, QEMU, fio)", "databases that test O_DIRECT at start"])
);

fn direct_unaligned(ctx: &mut Ctx) -> CaseOutcome {
    write("data", &[b'.'; 8192])?;
    let fd = open("data", OFlags::RDWR | OFlags::DIRECT)?;
    let mut area = vec![b'D'; 3 * 4096];
    let skip = area.as_ptr().align_offset(4096);
    let mut told = |what: &str, got: Result<usize, rustix::io::Errno>| {
        let said = match got {
            Ok(n) => format!("{n} bytes"),
            Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error())),
        };
        // A program that relied on the refusal goes on all the same.
        ctx.guarantee(what, said);
    };
    told(
        "a write at offset 100",
        rustix::io::pwrite(&fd, &area[skip..skip + 4096], 100),
    );
    told(
        "a write of 100 bytes",
        rustix::io::pwrite(&fd, &area[skip..skip + 100], 0),
    );
    told(
        "a read of 100 bytes",
        rustix::io::pread(&fd, &mut area[skip..skip + 100], 0),
    );
    told(
        "a read to an odd address",
        rustix::io::pread(&fd, &mut area[skip + 1..skip + 4097], 0),
    );
    let n = rustix::io::pread(&fd, &mut area[skip..skip + 4096], 4096)
        .call("pread", "data, O_DIRECT, aligned")?;
    expect("pread", "the count of an aligned read", n, 4096)
}

submit!(
    Case::new(
        "io.iov_max",
        "writev and readv take 1024 pieces, and refuse 1025 with EINVAL",
        iov_max
    )
    .source("POSIX writev(): EINVAL over IOV_MAX; readv(2)")
    .needed_by(&[
        "libuv, Node.js (gathered writes)",
        "nginx",
        "PostgreSQL",
        "Go net.Buffers-like writers"
    ])
);

fn iov_max(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"")?;
    let mut bytes: Vec<u8> = (0..1025u32).map(|i| (i % 251) as u8).collect();
    let written = bytes[..1024].to_vec();
    let pieces: Vec<libc::iovec> = bytes
        .iter_mut()
        .map(|byte| libc::iovec {
            iov_base: std::ptr::from_mut(byte).cast(),
            iov_len: 1,
        })
        .collect();
    // Not by rustix, which passes no more than 1024 on.
    let write = |count: i32| {
        // SAFETY: the pieces are bytes of a buffer that outlives the call.
        check(unsafe { libc::writev(fd.as_raw_fd(), pieces.as_ptr(), count) })
    };
    let read = |count: i32| {
        // SAFETY: as above; nothing else looks at the buffer meanwhile.
        check(unsafe { libc::preadv(fd.as_raw_fd(), pieces.as_ptr(), count, 0) })
    };
    expect(
        "writev",
        "the count",
        write(1024).call("writev", "data, 1024 pieces")?,
        1024,
    )?;
    write(1025).refused("writev", "data, 1025 pieces", Errno::EINVAL)?;
    contents("writev", "data", &written)?;
    write_at(&fd, "data", 0, &[255; 1024])?;
    expect(
        "preadv",
        "the count",
        read(1024).call("preadv", "data, 1024 pieces")?,
        1024,
    )?;
    read(1025).refused("preadv", "data, 1025 pieces", Errno::EINVAL)?;
    same_bytes("preadv", "data", &bytes[..1024], &[255; 1024])
}

submit!(
    Case::new(
        "io.iov_odd",
        "no pieces and empty ones move nothing, and a length beyond SSIZE_MAX is refused with EINVAL",
        iov_odd
    )
    .source("POSIX readv(), writev(); readv(2): EINVAL")
    .needed_by(&["writers that do not filter empty buffers (Go, Node.js)", "language runtimes"])
);

fn iov_odd(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"0123456789")?;
    let n = rustix::io::writev(&fd, &[]).call("writev", "data, no pieces")?;
    expect("writev", "the count of no pieces", n, 0)?;
    let empty = [IoSlice::new(b""), IoSlice::new(b"AB"), IoSlice::new(b"")];
    let n = rustix::io::pwritev(&fd, &empty, 4).call("pwritev", "data, empty pieces around one")?;
    expect("pwritev", "the count", n, 2)?;
    let piece = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: usize::MAX,
    };
    // SAFETY: the kernel refuses the length before it looks at the address.
    check(unsafe { libc::readv(fd.as_raw_fd(), &raw const piece, 1) }).refused(
        "readv",
        "data, a piece of more than SSIZE_MAX",
        Errno::EINVAL,
    )?;
    contents("pwritev", "data", b"0123AB6789")
}

submit!(
    Case::new(
        "io.huge_count",
        "a read that asks for more than 2 GiB gives what the file has",
        huge_count
    )
    .source("read(2): at most 0x7ffff000 bytes a call")
    .needed_by(&[
        "Python (read of a whole file)",
        "programs that give SSIZE_MAX",
        "Java FileChannel"
    ])
);

fn huge_count(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'h'; 100_000])?;
    let len = 3usize << 30;
    let flags = rustix::mm::MapFlags::PRIVATE | rustix::mm::MapFlags::NORESERVE;
    let rights = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
    // SAFETY: the kernel chooses the address, so no mapping that exists is replaced.
    let room = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, rights, flags) }
        .map_err(|error| {
            Stop::NotRun(format!(
                "needs 3 GiB of address space, and mmap says: {error}"
            ))
        })?;
    // SAFETY: the room is this function's own, and large enough.
    let n = check(unsafe { libc::pread(fd.as_raw_fd(), room, len, 0) });
    // SAFETY: what was read lies at its start; it is unmapped once.
    let right = unsafe {
        let read = n.map_or(0, |n| n.clamp(0, 100_000) as usize);
        let bytes = std::slice::from_raw_parts(room.cast::<u8>(), read);
        let right = bytes.iter().all(|byte| *byte == b'h');
        let _ = rustix::mm::munmap(room, len);
        right
    };
    expect(
        "pread",
        "the count",
        n.call("pread", "data, 3 GiB")?,
        100_000,
    )?;
    ensure("pread", right, "the bytes are not the file's")
}

submit!(
    Case::new(
        "io.short_read",
        "a read over the end gives what is left, one at the end nothing, and one at a negative offset EINVAL",
        short_read
    )
    .source("POSIX read(), pread()")
    .needed_by(&["every program that reads to the end", "databases (last page)"])
);

fn short_read(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b's'; 5000])?;
    let mut bytes = [0; 4096];
    let mut read = |at: u64, want: usize| {
        let n = rustix::io::pread(&fd, &mut bytes[..], at)
            .call("pread", format_args!("data, 4096 bytes at {at}"))?;
        expect("pread", &format!("the count at {at}"), n, want)
    };
    read(0, 4096)?;
    read(4096, 904)?;
    read(4999, 1)?;
    read(5000, 0)?;
    read(1 << 40, 0)?;
    // SAFETY: the buffer has a byte.
    check(unsafe { libc::pread(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), 1, -1) }).refused(
        "pread",
        "data, at -1",
        Errno::EINVAL,
    )
}

submit!(
    Case::new(
        "io.bad_address",
        "a read to and a write from memory that is not there give EFAULT and leave the file",
        bad_address
    )
    .source("read(2), write(2): EFAULT")
    .needed_by(&["runtimes that probe memory by write (Boehm GC, crash handlers)"])
);

fn bad_address(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"0123456789")?;
    let nowhere = std::ptr::without_provenance_mut::<libc::c_void>(16);
    // SAFETY: the kernel finds no memory at the address and says so.
    check(unsafe { libc::pread(fd.as_raw_fd(), nowhere, 10, 0) }).refused(
        "pread",
        "data, to nowhere",
        Errno::EFAULT,
    )?;
    // SAFETY: as above.
    check(unsafe { libc::pwrite(fd.as_raw_fd(), nowhere, 10, 0) }).refused(
        "pwrite",
        "data, from nowhere",
        Errno::EFAULT,
    )?;
    contents("pwrite", "data", b"0123456789")
}

submit!(
    Case::new(
        "io.rwf_nowait",
        "preadv2 with RWF_NOWAIT gives cached bytes or says EAGAIN",
        rwf_nowait
    )
    .source("preadv2(2): RWF_NOWAIT; EOPNOTSUPP where the file system has none")
    .needed_by(&[
        "Seastar, ScyllaDB",
        "liburing programs",
        "nginx (thread pools)",
        "glommio"
    ])
);

fn rwf_nowait(ctx: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'n'; 4096])?;
    drop(read("data")?);
    let mut bytes = [0; 4096];
    match rustix::io::preadv2(
        &fd,
        &mut [IoSliceMut::new(&mut bytes)],
        0,
        ReadWriteFlags::NOWAIT,
    ) {
        Err(rustix::io::Errno::AGAIN) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) if ctx.side == Side::Native => Err(Stop::NotRun(
            "needs a native file system that has RWF_NOWAIT, such as ext4 or XFS".into(),
        )),
        got => {
            let n = got.call("preadv2", "data, RWF_NOWAIT")?;
            ensure("preadv2", n > 0, "nothing was read")?;
            same_bytes("preadv2", "data", &bytes[..n], &vec![b'n'; n])
        }
    }
}

submit!(
    Case::new(
        "io.rwf_hipri",
        "preadv2 and pwritev2 take RWF_HIPRI, which means nothing without O_DIRECT",
        rwf_hipri
    )
    .source("preadv2(2): RWF_HIPRI")
    .needed_by(&["SPDK-like programs", "fio (pvsync2 --hipri)"])
);

fn rwf_hipri(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"0123456789")?;
    let n = rustix::io::pwritev2(&fd, &[IoSlice::new(b"HI")], 3, ReadWriteFlags::HIPRI)
        .call("pwritev2", "data, RWF_HIPRI")?;
    expect("pwritev2", "the count", n, 2)?;
    let mut bytes = [0; 10];
    let n = rustix::io::preadv2(
        &fd,
        &mut [IoSliceMut::new(&mut bytes)],
        0,
        ReadWriteFlags::HIPRI,
    )
    .call("preadv2", "data, RWF_HIPRI")?;
    same_bytes("preadv2", "data", &bytes[..n], b"012HI56789")
}

submit!(
    Case::new(
        "io.rwf_sync",
        "pwritev2 with RWF_SYNC writes, and at offset -1 where the descriptor stands",
        rwf_sync
    )
    .source("pwritev2(2): RWF_SYNC; offset -1 uses and moves the file offset")
    .needed_by(&[
        "MySQL",
        "PostgreSQL-like write-ahead logs",
        "liburing programs"
    ])
);

fn rwf_sync(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"0123456789")?;
    rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(8)).call("lseek", "data, 8")?;
    for piece in [&b"ab"[..], b"cd"] {
        let n = rustix::io::pwritev2(&fd, &[IoSlice::new(piece)], u64::MAX, ReadWriteFlags::SYNC)
            .call("pwritev2", "data, -1, RWF_SYNC")?;
        expect("pwritev2", "the count", n, 2)?;
    }
    contents("pwritev2", "data", b"01234567abcd")
}

submit!(
    Case::new(
        "io.rwf_unknown",
        "preadv2 refuses a flag that nobody knows with EOPNOTSUPP",
        rwf_unknown
    )
    .source("preadv2(2): EOPNOTSUPP")
    .needed_by(&["programs that probe for flags"])
);

fn rwf_unknown(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"x")?;
    let flags = ReadWriteFlags::from_bits_retain(1 << 30);
    rustix::io::preadv2(&fd, &mut [IoSliceMut::new(&mut [0])], 0, flags).refused(
        "preadv2",
        "data, 1<<30",
        Errno::EOPNOTSUPP,
    )
}
