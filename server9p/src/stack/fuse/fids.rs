//! `fs/9p/fid.c`: which fid stands for a dentry, for the user who asks.
//!
//! With access=client, v9fs's default, every user (by fsuid) has fids of their own, walked from an attach with
//! their n_uname. A dentry keeps the fids that were walked for it until it is dropped or its name removed.

use std::sync::Arc;

use fuser::Errno;

use super::{
    convert::{Outcome, errno},
    node::Node,
    volume::Volume,
};
use crate::{
    client::{Fid, wire::MAXWELEM},
    stack::Series,
};

impl Volume {
    /// `v9fs_fid_find`: the fid that a dentry has for `uid`. From Linux 5.11 on, a dentry without any falls back
    /// to the files that are open on its inode, so that `fstat` works when the name is gone.
    fn find_fid(&self, node: &Node, uid: u32) -> Option<Arc<Fid>> {
        let state = node.state();
        if let Some((_, fid)) = state.fids.iter().find(|(owner, _)| *owner == uid) {
            return Some(Arc::clone(fid));
        }
        if self.series == Series::Linux5_10 || !state.fids.is_empty() {
            return None;
        }
        state
            .open
            .iter()
            .filter(|(owner, _)| *owner == uid)
            .find_map(|(_, handle)| handle.upgrade())
            .map(|handle| Arc::clone(&handle.fid))
    }

    /// `v9fs_fid_lookup`: the dentry's fid for `uid`, walked if need be.
    pub(super) fn fid(&self, node: &Arc<Node>, uid: u32) -> Outcome<Arc<Fid>> {
        if let Some(fid) = self.find_fid(node, uid) {
            return Ok(fid);
        }
        let _no_rename = self.walking();
        let (parent, name, hashed) = {
            let state = node.state();
            (state.parent.clone(), state.name.clone(), state.hashed)
        };
        let Some(parent) = parent else {
            return self.attach_for(node, uid);
        };
        if !hashed {
            // v9fs walks to the name, and then refuses what it found because the dentry is unhashed.
            return Err(Errno::ENOENT);
        }
        let fid = match self.find_fid(&parent, uid) {
            Some(parent) => self.client.walk(&parent, &[&name]).map_err(errno)?.0,
            None => self.walk_from_root(node, uid)?,
        };
        let fid = Arc::new(fid);
        let mut state = node.state();
        if !state.hashed {
            drop(state);
            return Err(Errno::ENOENT);
        }
        state.fids.push((uid, Arc::clone(&fid)));
        drop(state);
        self.nodes.touch(node.id);
        Ok(fid)
    }

    /// The root's fid for `uid`: a Tattach of that user's own, by number and not by name.
    fn attach_for(&self, root: &Arc<Node>, uid: u32) -> Outcome<Arc<Fid>> {
        let (fid, _) = self
            .client
            .attach(b"", self.aname.as_bytes(), uid)
            .map_err(errno)?;
        let fid = Arc::new(fid);
        root.state().fids.push((uid, Arc::clone(&fid)));
        Ok(fid)
    }

    fn walk_from_root(&self, node: &Arc<Node>, uid: u32) -> Outcome<Fid> {
        let root = self.root();
        let start = match self.find_fid(&root, uid) {
            Some(fid) => fid,
            None => self.attach_for(&root, uid)?,
        };
        let names = node.path();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let mut at: Option<Fid> = None;
        for part in names.chunks(MAXWELEM) {
            let from = at.as_ref().unwrap_or(&start);
            at = Some(self.client.walk(from, part).map_err(errno)?.0);
        }
        at.ok_or(Errno::ENOENT)
    }

    /// `v9fs_fid_clone`: a new fid for the dentry, to open.
    pub(super) fn clone_fid(&self, node: &Arc<Node>, uid: u32) -> Outcome<Fid> {
        let fid = self.fid(node, uid)?;
        Ok(self.client.walk(&fid, &[]).map_err(errno)?.0)
    }
}
