//! FIFOs, sockets and devices as entries of a directory, and running programs from the volume.

use super::prelude::*;

submit!(
    Case::new(
        "special.mkfifo",
        "a FIFO is made, and passes bytes between two processes",
        mkfifo
    )
    .source("POSIX mkfifo(); QEMU hw/9pfs/9p-util.h, the fix of CVE-2023-2861")
    .needed_by(&["s6", "bash process substitution fallback", "runit"])
);

fn mkfifo(_: &mut Ctx) -> CaseOutcome {
    nix::unistd::mkfifo("fifo", nix::sys::stat::Mode::from_bits_truncate(0o644))
        .call("mkfifo", "fifo")?;
    let kind = rustix::fs::FileType::from_raw_mode(stat("fifo")?.st_mode);
    expect(
        "mkfifo",
        "the type of fifo",
        kind,
        rustix::fs::FileType::Fifo,
    )?;
    let writer = fork(|_| {
        let fd = open("fifo", OFlags::WRONLY)?;
        rustix::io::write(&fd, b"through")
            .call("write", "fifo")
            .map(drop)
    })?;
    let fd = open("fifo", OFlags::RDONLY)?;
    let mut bytes = [0; 16];
    let n = rustix::io::read(&fd, &mut bytes).call("read", "fifo")?;
    writer.join()?;
    same_bytes("read", "fifo", &bytes[..n], b"through")
}
