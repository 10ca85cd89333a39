//! Identity of files, and files that stay open after their name is gone.

use super::prelude::*;

submit!(
    Case::new(
        "inode.unlinked_ftruncate",
        "ftruncate works on an open file whose name was removed",
        unlinked_ftruncate,
    )
    .source("POSIX unlink(): the file stays accessible while it is open; kata-containers#9700")
    .needed_by(&["iperf3", "programs that size a tmpfile()"])
);

fn unlinked_ftruncate(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", b"0123456789")?;
    unlink("data")?;
    rustix::fs::ftruncate(&fd, 4).call("ftruncate", "data, 4; its name was removed")?;
    same_bytes("ftruncate", "data", &read_at(&fd, "data", 0, 100)?, b"0123")
}
