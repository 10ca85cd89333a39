//! `fs/9p/vfs_dir.c`: reading directories.

use std::sync::PoisonError;

use fuser::{Errno, INodeNo, ReplyDirectory};

use super::{
    convert::{Outcome, entry_type, errno, qid_to_ino},
    file::Handle,
    volume::Volume,
};
use crate::client::DirEntries;

/// What Treaddir brought, and how far the kernel has got in it.
#[derive(Debug, Default)]
pub(super) struct Listing {
    data: Vec<u8>,
    /// The offset that stands for each place in `data` where an entry begins, in order.
    places: Vec<(u64, usize)>,
    /// Where the kernel is likely to go on, in `places`.
    likely: usize,
}

impl Listing {
    /// Takes over entries that were read from `offset` on.
    fn load(&mut self, offset: u64, data: Vec<u8>) -> Outcome<()> {
        self.places.clear();
        self.likely = 0;
        let mut entries = DirEntries::new(&data);
        let mut at = offset;
        loop {
            let place = data.len() - entries.remaining();
            match entries.next() {
                None => break,
                Some(Ok(entry)) => {
                    self.places.push((at, place));
                    at = entry.offset;
                }
                Some(Err(error)) => return Err(errno(error)),
            }
        }
        self.data = data;
        Ok(())
    }

    /// Where the entry after `offset` begins, as an index into `places`.
    fn find(&self, offset: u64) -> Option<usize> {
        let known = |index: &usize| self.places.get(*index).is_some_and(|p| p.0 == offset);
        Some(self.likely)
            .filter(known)
            .or_else(|| self.places.iter().position(|place| place.0 == offset))
    }
}

impl Volume {
    /// `v9fs_dir_readdir_dotl`: entries after `offset`, with the server's offsets, into `reply`. Offset 0 always
    /// asks the server, so that a rewound directory is read anew.
    pub(super) fn readdir(
        &self,
        handle: &Handle,
        offset: u64,
        reply: &mut ReplyDirectory,
    ) -> Outcome<()> {
        let mut listing = handle
            .listing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let start = match listing.find(offset).filter(|_| offset != 0) {
            Some(start) => start,
            None => {
                let data = self
                    .client
                    .readdir(&handle.fid, offset, self.client.msize())
                    .map_err(errno)?;
                listing.load(offset, data)?;
                0
            }
        };
        let Some(&(_, place)) = listing.places.get(start) else {
            return Ok(());
        };
        let mut given = start;
        for entry in DirEntries::new(&listing.data[place..]) {
            let entry = entry.map_err(errno)?;
            if entry.name.is_empty() || entry.name.contains(&b'/') {
                // The kernel would call the whole directory unreadable, as v9fs does not.
                return Err(Errno::EIO);
            }
            let full = reply.add(
                INodeNo(qid_to_ino(entry.qid)),
                entry.offset,
                entry_type(entry.kind, entry.qid),
                std::os::unix::ffi::OsStrExt::from_bytes(entry.name) as &std::ffi::OsStr,
            );
            if full {
                break;
            }
            given += 1;
        }
        listing.likely = given;
        Ok(())
    }
}
