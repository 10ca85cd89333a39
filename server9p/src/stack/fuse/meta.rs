//! Names and attributes: lookup, getattr, setattr, readlink, unlink, rename, link, statfs.

use std::{fs, sync::Arc, time::Duration};

use fuser::{Errno, FileAttr, FileType, TimeOrNow};

use super::{
    convert::{Outcome, errno, file_attr, time_to_set},
    file::Handle,
    node::Node,
    volume::Volume,
};
use crate::{
    client::{Fid, GetattrMask, SetAttr, SetattrMask, StatFs},
    stack::Series,
};

/// Longest name that v9fs passes on (`NAME_MAX`).
const NAME_MAX: usize = 255;
/// `P9_DOTL_AT_REMOVEDIR`.
const AT_REMOVEDIR: u32 = 0x200;

/// An answer to a lookup: the node, its attributes, and for how long the kernel may rely on name and attributes.
pub(super) struct Entry {
    pub node: Arc<Node>,
    pub attr: FileAttr,
    pub entry_ttl: Duration,
    pub attr_ttl: Duration,
}

/// What a setattr changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<TimeOrNow>,
    pub mtime: Option<TimeOrNow>,
}

impl Volume {
    /// For how long the kernel may rely on attributes.
    pub(super) fn attr_ttl(&self) -> Duration {
        if self.is_loose() {
            Duration::from_secs(1 << 30)
        } else {
            Duration::ZERO
        }
    }

    /// The same for one file. v9fs checks permissions by the inode of a directory that it has looked up, without
    /// asking; FUSE asks for a directory's attributes on every way through it, unless they are valid. The least
    /// that the kernel can count, a tick, spares most of that; it shows only in `fstat` of a directory that the
    /// host has changed within that tick.
    pub(super) fn attr_ttl_of(&self, kind: FileType) -> Duration {
        match kind {
            FileType::Directory => self.attr_ttl().max(Duration::from_millis(1)),
            _ => self.attr_ttl(),
        }
    }

    /// `v9fs_vfs_lookup`: Twalk, then Tgetattr for the new inode.
    pub(super) fn lookup(&self, parent: &Arc<Node>, name: &[u8], uid: u32) -> Outcome<Entry> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let dir = self.fid(parent, uid)?;
        let walked = self.client.walk(&dir, &[name]).map_err(errno);
        if walked.as_ref().err() == Some(&Errno::EACCES)
            && let Some(node) = self.nodes.in_use(parent, name)
        {
            // v9fs finds the dentry of an open file without asking, so a server that lets nobody search the
            // directory does not keep it from its next step.
            return Ok(Entry {
                attr: node.remembered(),
                node,
                entry_ttl: Duration::ZERO,
                attr_ttl: Duration::ZERO,
            });
        }
        self.instantiate(parent, name, uid, walked?.0)
    }

    /// `v9fs_get_new_inode_from_fid`, and the dentry with it.
    pub(super) fn instantiate(
        &self,
        parent: &Arc<Node>,
        name: &[u8],
        uid: u32,
        fid: Fid,
    ) -> Outcome<Entry> {
        let mask = GetattrMask::BASIC | GetattrMask::GEN;
        let attr = self.client.getattr(&fid, mask).map_err(errno)?;
        let node = self.nodes.enter(parent, name, uid, Arc::new(fid), attr);
        let shown = node.remembered();
        let ttl = self.attr_ttl();
        // fuser shows the node's number as st_ino until the kernel asks for attributes: then they must agree.
        let attr_ttl = match node.id == node.ino {
            true => self.attr_ttl_of(node.kind),
            false => ttl,
        };
        Ok(Entry {
            attr: shown,
            node,
            entry_ttl: ttl,
            attr_ttl,
        })
    }

    /// `v9fs_vfs_getattr_dotl`: always asks the server, by the dentry's fid.
    pub(super) fn getattr(&self, node: &Arc<Node>, uid: u32) -> Outcome<FileAttr> {
        let fid = self.fid(node, uid)?;
        let attr = self.client.getattr(&fid, GetattrMask::ALL).map_err(errno)?;
        Ok(node.remember(attr))
    }

    /// What the kernel asks for: the attributes themselves, or only whether `pid` may pass or use what it has already.
    /// For that v9fs looks at the inode that it has, be the file gone from the server or out of its reach.
    pub(super) fn getattr_for(
        &self,
        node: &Arc<Node>,
        uid: u32,
        pid: u32,
    ) -> Outcome<(FileAttr, Duration)> {
        match self.getattr(node, uid) {
            Err(_) if !asks_for_attributes(pid) => Ok((node.remembered(), Duration::ZERO)),
            told => told.map(|attr| (attr, self.attr_ttl_of(attr.kind))),
        }
    }

    /// The kernel asks on its own behalf: for SEEK_END, or before it reads from its cache, where v9fs would use the
    /// inode that it has. An error must not show. What bounds a read must be of the very file that is open, not of
    /// another that has its name by now.
    pub(super) fn getattr_internal(&self, handle: &Handle, uid: u32) -> FileAttr {
        let node = &handle.node;
        if handle.reads_cache()
            && let Ok(attr) = self.client.getattr(&handle.fid, GetattrMask::ALL)
        {
            return file_attr(&attr, node.ino, node.kind);
        }
        self.getattr(node, uid)
            .unwrap_or_else(|_| node.remembered())
    }

    /// `v9fs_vfs_setattr_dotl`. `handle` is given for `ftruncate`, which from Linux 5.11 on goes by the open
    /// file's fid.
    pub(super) fn setattr(
        &self,
        node: &Arc<Node>,
        uid: u32,
        changes: &Changes,
        handle: Option<&Handle>,
    ) -> Outcome<FileAttr> {
        let set = changes.to_9p(handle.is_some());
        let fid = match handle {
            Some(handle) if self.series != Series::Linux5_10 => Arc::clone(&handle.fid),
            _ => self.fid(node, uid)?,
        };
        self.client.setattr(&fid, &set).map_err(errno)?;
        match self.client.getattr(&fid, GetattrMask::ALL) {
            Ok(attr) => Ok(node.remember(attr)),
            Err(_) => {
                // v9fs does not ask; it takes over what was set.
                let mut state = node.state();
                let attr = &mut state.attr;
                attr.size = changes.size.unwrap_or(attr.size);
                attr.uid = changes.uid.unwrap_or(attr.uid);
                attr.gid = changes.gid.unwrap_or(attr.gid);
                if let Some(mode) = changes.mode {
                    attr.mode = attr.mode & !0o7777 | mode & 0o7777;
                }
                drop(state);
                Ok(node.remembered())
            }
        }
    }

    /// `v9fs_vfs_get_link_dotl`.
    pub(super) fn readlink(&self, node: &Arc<Node>, uid: u32) -> Outcome<Vec<u8>> {
        let fid = self.fid(node, uid)?;
        self.client.readlink(&fid).map_err(errno)
    }

    /// `v9fs_remove`: Tunlinkat, or Tremove where the server has none.
    pub(super) fn remove(
        &self,
        dir: &Arc<Node>,
        name: &[u8],
        uid: u32,
        is_dir: bool,
    ) -> Outcome<()> {
        let dir_fid = self.fid(dir, uid)?;
        let flags = if is_dir { AT_REMOVEDIR } else { 0 };
        let outcome = self.client.unlinkat(&dir_fid, name, flags).map_err(errno);
        match outcome {
            Err(error) if error == Errno::EOPNOTSUPP => {
                let (fid, _) = self.client.walk(&dir_fid, &[name]).map_err(errno)?;
                self.client.remove(fid).map_err(errno)?;
            }
            other => other?,
        }
        self.nodes
            .removed(dir.id, name, self.series != Series::Linux5_10);
        Ok(())
    }

    /// `v9fs_vfs_rename`: Trenameat on clones of both directories, or Trename where the server has none.
    pub(super) fn rename(
        &self,
        dir: &Arc<Node>,
        name: &[u8],
        new_dir: &Arc<Node>,
        new_name: &[u8],
        uid: u32,
    ) -> Outcome<()> {
        let old_fid = self.clone_fid(dir, uid)?;
        let new_fid = self.clone_fid(new_dir, uid)?;
        let _no_walks = self.renaming();
        let outcome = self
            .client
            .renameat(&old_fid, name, &new_fid, new_name)
            .map_err(errno);
        match outcome {
            Err(error) if error == Errno::EOPNOTSUPP => {
                let (fid, _) = self.client.walk(&old_fid, &[name]).map_err(errno)?;
                self.client
                    .rename(&fid, &new_fid, new_name)
                    .map_err(errno)?;
            }
            other => other?,
        }
        self.nodes.moved(dir.id, name, new_dir, new_name);
        Ok(())
    }

    /// `v9fs_vfs_link_dotl`.
    pub(super) fn link(
        &self,
        node: &Arc<Node>,
        dir: &Arc<Node>,
        name: &[u8],
        uid: u32,
    ) -> Outcome<Entry> {
        let dir_fid = self.fid(dir, uid)?;
        let fid = self.fid(node, uid)?;
        self.client.link(&dir_fid, &fid, name).map_err(errno)?;
        self.lookup(dir, name, uid)
    }

    /// `v9fs_statfs`.
    pub(super) fn statfs(&self, node: &Arc<Node>, uid: u32) -> Outcome<StatFs> {
        let fid = self.fid(node, uid)?;
        self.client.statfs(&fid).map_err(errno)
    }
}

/// Whether the system call that a thread is in is one that tells attributes; so taken where that cannot be found out.
fn asks_for_attributes(thread: u32) -> bool {
    #[cfg(target_arch = "x86_64")]
    const BY_NAME: &[libc::c_long] = &[libc::SYS_stat, libc::SYS_lstat, libc::SYS_newfstatat];
    #[cfg(not(target_arch = "x86_64"))]
    const BY_NAME: &[libc::c_long] = &[libc::SYS_newfstatat];
    let told = fs::read_to_string(format!("/proc/{thread}/syscall")).ok();
    let call = told.and_then(|told| told.split_whitespace().next()?.parse().ok());
    call.is_none_or(|call| {
        [libc::SYS_fstat, libc::SYS_statx].contains(&call) || BY_NAME.contains(&call)
    })
}

impl Changes {
    /// `v9fs_mapped_iattr_valid`, given what the VFS puts into `ia_valid` for each call. `truncating_open_file`
    /// tells `ftruncate` and O_TRUNC, which set the times too, from `truncate`, which does not.
    fn to_9p(&self, truncating_open_file: bool) -> SetAttr {
        let mut set = SetAttr {
            mode: self.mode.unwrap_or(0),
            uid: self.uid.unwrap_or(u32::MAX),
            gid: self.gid.unwrap_or(u32::MAX),
            size: self.size.unwrap_or(0),
            ..SetAttr::default()
        };
        let valid = &mut set.valid;
        valid.set(SetattrMask::MODE, self.mode.is_some());
        valid.set(SetattrMask::UID, self.uid.is_some());
        valid.set(SetattrMask::GID, self.gid.is_some());
        valid.set(SetattrMask::SIZE, self.size.is_some());
        let only_size = self.size.is_some() && !truncating_open_file;
        valid.set(SetattrMask::CTIME, !only_size);
        if self.size.is_some() && truncating_open_file {
            *valid |= SetattrMask::MTIME;
        }
        if let Some(time) = self.atime {
            let (time, chosen) = time_to_set(time);
            set.atime = time;
            *valid |= SetattrMask::ATIME;
            valid.set(SetattrMask::ATIME_SET, chosen);
        }
        if let Some(time) = self.mtime {
            let (time, chosen) = time_to_set(time);
            set.mtime = time;
            *valid |= SetattrMask::MTIME;
            valid.set(SetattrMask::MTIME_SET, chosen);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncate_sets_no_times_and_ftruncate_does() {
        let changes = Changes {
            size: Some(5),
            ..Changes::default()
        };
        assert_eq!(changes.to_9p(false).valid, SetattrMask::SIZE);
        assert_eq!(
            changes.to_9p(true).valid,
            SetattrMask::SIZE | SetattrMask::MTIME | SetattrMask::CTIME
        );
    }

    #[test]
    fn touch_leaves_the_time_to_the_server() {
        let changes = Changes {
            mtime: Some(TimeOrNow::Now),
            ..Changes::default()
        };
        assert_eq!(
            changes.to_9p(false).valid,
            SetattrMask::MTIME | SetattrMask::CTIME
        );
    }
}
