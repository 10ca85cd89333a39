//! What is agreed on with the kernel when the mount begins.

use fuser::{InitFlags, KernelConfig};

use crate::stack::{
    Cache,
    fuse::volume::{LARGEST_REQUEST, Volume},
};

/// Asks for what the cache mode needs. What a kernel lacks is said and done without.
pub(super) fn agree(volume: &Volume, config: &mut KernelConfig) {
    let mut wanted = vec![
        InitFlags::FUSE_PARALLEL_DIROPS,
        // Without it the kernel leaves the offset of an asynchronous read where it was, and io_uring, which reads on after
        // a short one, has the same bytes again.
        InitFlags::FUSE_ASYNC_DIO,
        InitFlags::FUSE_POSIX_LOCKS,
        InitFlags::FUSE_FLOCK_LOCKS,
    ];
    match volume.cache {
        Cache::None | Cache::Readahead | Cache::Mmap => {
            wanted.push(InitFlags::FUSE_AUTO_INVAL_DATA);
        }
        Cache::Loose | Cache::Fscache => wanted.push(InitFlags::FUSE_WRITEBACK_CACHE),
    }
    for flag in wanted {
        if config.add_capabilities(flag).is_err() {
            tracing::warn!(?flag, "this kernel's FUSE lacks a capability");
        }
    }
    agree_on_mappings(volume, config);
    // v9fs gives out no file handles. Linux before 6.9 cannot be told.
    let _ = config.add_capabilities(InitFlags::FUSE_NO_EXPORT_SUPPORT);
    // Refused values leave fuser's own, which work as well.
    let _ = config.set_max_write(LARGEST_REQUEST);
    let _ = config.set_max_background(64);
}

/// Whether files can be read directly and be mapped shared, too. Linux 6.6 is the first that can.
fn agree_on_mappings(volume: &Volume, config: &mut KernelConfig) {
    // A kernel that then says no refuses shared mappings all the same, and by the guard with v9fs's errno.
    let answered = match volume.cache {
        Cache::Readahead | Cache::Loose | Cache::Fscache => return,
        Cache::None if !volume.supervised => volume.guard_mappings(),
        Cache::None | Cache::Mmap => Ok(()),
    };
    let agreed = answered.and_then(|()| {
        config
            .add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP)
            .map_err(|_| "it takes Linux 6.6".to_owned())
    });
    let _ = volume.direct_mmap.set(agreed);
}
