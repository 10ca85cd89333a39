//! Allocating room for a file and giving it back.

use rustix::fs::FallocateFlags;

use super::super::prelude::*;
use crate::ops::case::Side;

submit!(
    Case::new(
        "io.fallocate",
        "fallocate gives a file its length and room",
        fallocate
    )
    .source("fallocate(2); kata-containers/runtime#687")
    .needed_by(&["systemd-journald", "fio", "qemu-img", "BitTorrent clients"])
);

fn fallocate(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"kept")?;
    rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, 100_000)
        .call("fallocate", "data, 0+100000")?;
    expect("fallocate", "st_size", stat("data")?.st_size, 100_000)?;
    same_bytes(
        "fallocate",
        "data",
        &read_at(&fd, "data", 0, 6)?,
        b"kept\0\0",
    )
}

submit!(
    Case::new(
        "io.posix_fallocate",
        "posix_fallocate gives a file its length, if need be by writing",
        posix_fallocate
    )
    .source("POSIX posix_fallocate(); glibc writes where the filesystem has no fallocate")
    .needed_by(&[
        "MySQL (InnoDB)",
        "aria2",
        "Transmission",
        "sqlite with chunk sizes"
    ])
);

fn posix_fallocate(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"kept")?;
    // SAFETY: the descriptor is open; the call takes numbers alone.
    let error = unsafe { libc::posix_fallocate(fd.as_raw_fd(), 0, 100_000) };
    let result = if error == 0 {
        Ok(())
    } else {
        Err(Errno::from_raw(error))
    };
    result.call("posix_fallocate", "data, 0+100000")?;
    expect("posix_fallocate", "st_size", stat("data")?.st_size, 100_000)?;
    same_bytes(
        "posix_fallocate",
        "data",
        &read_at(&fd, "data", 0, 6)?,
        b"kept\0\0",
    )
}

submit!(
    Case::new(
        "io.fallocate_keep_size",
        "fallocate with FALLOC_FL_KEEP_SIZE leaves the length",
        fallocate_keep_size
    )
    .source("fallocate(2): FALLOC_FL_KEEP_SIZE")
    .needed_by(&["rsync --preallocate", "RocksDB", "Samba"])
);

fn fallocate_keep_size(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"kept")?;
    rustix::fs::fallocate(&fd, FallocateFlags::KEEP_SIZE, 0, 100_000)
        .call("fallocate", "data, FALLOC_FL_KEEP_SIZE")?;
    contents("fallocate", "data", b"kept")
}

submit!(
    Case::new(
        "io.punch_hole",
        "fallocate with FALLOC_FL_PUNCH_HOLE turns a range into zeros",
        punch_hole
    )
    .source("fallocate(2): FALLOC_FL_PUNCH_HOLE")
    .needed_by(&[
        "MySQL (page compression)",
        "QEMU (discard)",
        "MongoDB",
        "fstrim of loop devices"
    ])
);

fn punch_hole(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'd'; 16_384])?;
    rustix::fs::fallocate(
        &fd,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        4096,
        4096,
    )
    .call("fallocate", "data, FALLOC_FL_PUNCH_HOLE, 4096+4096")?;
    let mut want = vec![b'd'; 16_384];
    want[4096..8192].fill(0);
    contents("fallocate", "data", &want)
}

submit!(
    Case::new(
        "io.fallocate_shift",
        "fallocate turns a range into zeros, takes one out of a file and puts one in",
        fallocate_shift
    )
    .source("fallocate(2): FALLOC_FL_ZERO_RANGE, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE")
    .needed_by(&[
        "QEMU (write zeroes)",
        "video editors",
        "fio",
        "PostgreSQL (zeroing WAL)"
    ])
);

fn fallocate_shift(ctx: &mut Ctx) -> CaseOutcome {
    const BLOCK: usize = 65_536;
    let whole: Vec<u8> = (0..4u8).flat_map(|i| [b'a' + i; BLOCK]).collect();
    let fd = create("data", &whole)?;
    rustix::fs::fsync(&fd).call("fsync", "data")?;
    let turn = |flags, name: &str| {
        let done = rustix::fs::fallocate(&fd, flags, BLOCK as u64, BLOCK as u64);
        match done {
            // Few file systems of Linux know these, so natively it may be no fault.
            Err(rustix::io::Errno::OPNOTSUPP) if ctx.side == Side::Native => Err(Stop::NotRun(
                format!("needs a native file system that has {name}, such as ext4 or XFS"),
            )),
            done => done.call("fallocate", format_args!("data, {name}, 65536+65536")),
        }
    };
    let block = |letter: u8| [letter; BLOCK];
    turn(FallocateFlags::ZERO_RANGE, "FALLOC_FL_ZERO_RANGE")?;
    contents(
        "fallocate",
        "data",
        &[block(b'a'), block(0), block(b'c'), block(b'd')].concat(),
    )?;
    turn(FallocateFlags::COLLAPSE_RANGE, "FALLOC_FL_COLLAPSE_RANGE")?;
    contents(
        "fallocate",
        "data",
        &[block(b'a'), block(b'c'), block(b'd')].concat(),
    )?;
    turn(FallocateFlags::INSERT_RANGE, "FALLOC_FL_INSERT_RANGE")?;
    contents(
        "fallocate",
        "data",
        &[block(b'a'), block(0), block(b'c'), block(b'd')].concat(),
    )
}
