//! Making files: create, mkdir, mknod, symlink.

use std::sync::Arc;

use super::{
    convert::{Outcome, dotl_flags, errno},
    file::Handle,
    meta::Entry,
    node::Node,
    volume::Volume,
};

/// Who makes a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maker {
    pub uid: u32,
    pub gid: u32,
}

impl Volume {
    /// `v9fs_get_fsgid_for_create`: the directory's group when that is setgid.
    fn group_for(&self, dir: &Node, maker: Maker) -> (u32, bool) {
        let attr = dir.state().attr;
        let setgid = attr.mode & libc::S_ISGID != 0;
        (if setgid { attr.gid } else { maker.gid }, setgid)
    }

    /// `v9fs_vfs_atomic_open_dotl`: Tlcreate on a clone of the directory's fid, then a walk to the new name for
    /// the dentry. The kernel has applied the umask.
    pub(super) fn create(
        &self,
        dir: &Arc<Node>,
        name: &[u8],
        mode: u32,
        flags: i32,
        maker: Maker,
    ) -> Outcome<(Entry, Handle)> {
        let (gid, _) = self.group_for(dir, maker);
        let dir_fid = self.fid(dir, maker.uid)?;
        let (open, _) = self.client.walk(&dir_fid, &[]).map_err(errno)?;
        let flags = self.flags_to_open_with(flags);
        let (_, iounit) = self
            .client
            .lcreate(&open, name, dotl_flags(flags), mode, gid)
            .map_err(errno)?;
        let (fid, _) = self.client.walk(&dir_fid, &[name]).map_err(errno)?;
        let entry = self.instantiate(dir, name, maker.uid, fid)?;
        let handle = self.handle_for(&entry.node, maker.uid, open, flags, iounit);
        Ok((entry, handle))
    }

    /// `v9fs_vfs_mkdir_dotl`.
    pub(super) fn mkdir(
        &self,
        dir: &Arc<Node>,
        name: &[u8],
        mode: u32,
        maker: Maker,
    ) -> Outcome<Entry> {
        let (gid, setgid) = self.group_for(dir, maker);
        let mode = mode | libc::S_IFDIR | if setgid { libc::S_ISGID } else { 0 };
        let dir_fid = self.fid(dir, maker.uid)?;
        self.client
            .mkdir(&dir_fid, name, mode, gid)
            .map_err(errno)?;
        self.lookup(dir, name, maker.uid)
    }

    /// `v9fs_vfs_mknod_dotl`. `rdev` is in Linux's `new_encode_dev` form.
    pub(super) fn mknod(
        &self,
        dir: &Arc<Node>,
        name: &[u8],
        mode: u32,
        rdev: u32,
        maker: Maker,
    ) -> Outcome<Entry> {
        let (gid, _) = self.group_for(dir, maker);
        let device = ((rdev & 0xfff00) >> 8, rdev & 0xff | (rdev >> 12) & 0xfff00);
        let dir_fid = self.fid(dir, maker.uid)?;
        self.client
            .mknod(&dir_fid, name, mode, device, gid)
            .map_err(errno)?;
        self.lookup(dir, name, maker.uid)
    }

    /// `v9fs_vfs_symlink_dotl`.
    pub(super) fn symlink(
        &self,
        dir: &Arc<Node>,
        name: &[u8],
        target: &[u8],
        maker: Maker,
    ) -> Outcome<Entry> {
        let (gid, _) = self.group_for(dir, maker);
        let dir_fid = self.fid(dir, maker.uid)?;
        self.client
            .symlink(&dir_fid, name, target, gid)
            .map_err(errno)?;
        self.lookup(dir, name, maker.uid)
    }
}
