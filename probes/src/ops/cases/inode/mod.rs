//! Identity of files: one file is one inode number, however it was reached and whatever it is called.

mod descriptor;
mod handle;
mod identity;
mod kept;
mod replaced;
mod unlinked;
mod unlinked_more;

use super::prelude::*;

const POSIX: &str = "POSIX unlink(): the file stays accessible while it is open; QEMU hw/9pfs goes by path for attributes";

/// A file that is open for reading and writing and has no name.
fn nameless(bytes: &[u8]) -> CaseOutcome<OwnedFd> {
    let fd = create("data", bytes)?;
    unlink("data")?;
    expect("unlink", "the presence of the name", exists("data")?, false)?;
    Ok(fd)
}

const GONE: &str = "data, whose name was removed";
