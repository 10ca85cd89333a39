//! The dentries that the kernel knows of: v9fs's unit of identity with cache=none.
//!
//! With cache=none v9fs makes a new inode for every dentry that it looks up, so two names of one file are two
//! inodes with one number. A [`Node`] is such a pair. It lives as long as the kernel refers to it, which with an
//! entry timeout of 0 is as long as something uses it: an open file, a working directory, a child.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use fuser::{FileAttr, FileType};

use super::{
    convert::{file_attr, file_type, qid_to_ino},
    file::Handle,
    watched::Watched,
};
use crate::client::{Attr, Fid};

/// How many nodes that nothing has open keep their fids. Linux keeps dentries that nothing uses (from 6.13 or so
/// even with an entry timeout of 0), where v9fs drops them, and clunks their fids, at once. Every path lookup
/// walks anew, so only what is used without a lookup, such as a working directory, wants its fid again; that is
/// walked from the root.
const UNUSED_FIDS: usize = 256;

/// For how long after its lookup a node keeps its fid in any case, unless there are very many. What was looked up is used
/// by the same system call, whose thread may have to wait for its processor; if the name was replaced meanwhile, no
/// other fid leads there.
const SETTLED: Duration = Duration::from_secs(1);

/// How many that are: the server may hold a descriptor for each.
const VERY_MANY: usize = 16 * UNUSED_FIDS;

/// FUSE's number for the root.
pub(super) const ROOT: u64 = 1;

/// A dentry and its inode.
#[derive(Debug)]
pub(super) struct Node {
    /// FUSE's number for it; no two nodes have the same at one time.
    pub id: u64,
    /// `st_ino`, fixed when it was looked up.
    pub ino: u64,
    /// The server's identity of the file, for finding its other names.
    pub qid_path: u64,
    /// Its type, fixed likewise.
    pub kind: FileType,
    state: Mutex<NodeState>,
}

#[derive(Debug)]
pub(super) struct NodeState {
    /// `d_parent`; none for the root.
    pub parent: Option<Arc<Node>>,
    /// `d_name`.
    pub name: Vec<u8>,
    /// False once the name was removed (`d_unhashed`).
    pub hashed: bool,
    /// `d_fsdata`: unopened fids, by the user they were attached for.
    pub fids: Vec<(u32, Arc<Fid>)>,
    /// Open files by user, newest first (`i_private` from Linux 5.11 on).
    pub open: Vec<(u32, Weak<Handle>)>,
    /// What the server last said of it, with the size kept up by our own writes.
    pub attr: Attr,
    /// Whether somebody watches it.
    pub watched: Watched,
}

impl Node {
    pub fn state(&self) -> MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the server's attributes and gives them as FUSE wants them.
    pub fn remember(&self, attr: Attr) -> FileAttr {
        self.state().attr = attr;
        file_attr(&attr, self.ino, self.kind)
    }

    /// The attributes last seen.
    pub fn remembered(&self) -> FileAttr {
        file_attr(&self.state().attr, self.ino, self.kind)
    }

    /// The file is at least `end` bytes long, by our own writing.
    pub fn grown_to(&self, end: u64) {
        let mut state = self.state();
        state.attr.size = state.attr.size.max(end);
    }

    /// Its path from the root, and whether all of it still exists by our own knowledge.
    pub fn path(self: &Arc<Node>) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        let mut at = Arc::clone(self);
        loop {
            let parent = {
                let state = at.state();
                let Some(parent) = &state.parent else { break };
                names.push(state.name.clone());
                Arc::clone(parent)
            };
            at = parent;
        }
        names.reverse();
        names
    }
}

/// All nodes.
#[derive(Debug)]
pub(super) struct Nodes(Mutex<Table>);

#[derive(Debug)]
struct Table {
    /// The last number given to a node that could not have its inode's.
    next: u64,
    by_id: HashMap<u64, Entry>,
    /// By parent, then by name: what is hashed.
    names: HashMap<u64, HashMap<Vec<u8>, u64>>,
    /// What was looked up and when, oldest first, and still has the fid of that.
    recent: VecDeque<(u64, Instant)>,
}

#[derive(Debug)]
struct Entry {
    node: Arc<Node>,
    /// The kernel's references.
    lookups: u64,
}

impl Nodes {
    /// A table with the root in it.
    pub fn new(root_attr: Attr) -> Nodes {
        let root = Arc::new(Node {
            id: ROOT,
            ino: qid_to_ino(root_attr.qid),
            qid_path: root_attr.qid.path,
            kind: FileType::Directory,
            state: Mutex::new(NodeState {
                parent: None,
                name: Vec::new(),
                hashed: true,
                fids: Vec::new(),
                open: Vec::new(),
                attr: root_attr,
                watched: Watched::No,
            }),
        });
        Nodes(Mutex::new(Table {
            next: 1 << 62,
            by_id: HashMap::from([(
                ROOT,
                Entry {
                    node: root,
                    lookups: 1,
                },
            )]),
            names: HashMap::new(),
            recent: VecDeque::new(),
        }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node that the kernel calls `id`.
    pub fn get(&self, id: u64) -> Option<Arc<Node>> {
        self.table().by_id.get(&id).map(|e| Arc::clone(&e.node))
    }

    /// `name` in `parent` was looked up: gives its node one more reference. The node that already has the name
    /// stays, with `fid` for its user, when it is the same file.
    pub fn enter(
        &self,
        parent: &Arc<Node>,
        name: &[u8],
        uid: u32,
        fid: Arc<Fid>,
        attr: Attr,
    ) -> Arc<Node> {
        // Dropped after the table is unlocked: it may send a Tclunk.
        let mut stale = Vec::new();
        let mut table = self.table();
        let known = table
            .names
            .get(&parent.id)
            .and_then(|n| n.get(name))
            .copied();
        if let Some(entry) = known.and_then(|id| table.by_id.get_mut(&id)) {
            let node = Arc::clone(&entry.node);
            if node.qid_path == attr.qid.path && node.kind == file_type(attr.mode) {
                entry.lookups += 1;
                let mut state = node.state();
                state.attr = attr;
                if state.fids.is_empty() {
                    table.recent.push_back((node.id, Instant::now()));
                }
                match state.fids.iter_mut().find(|(owner, _)| *owner == uid) {
                    Some((_, old)) => stale.push(std::mem::replace(old, fid)),
                    None => state.fids.push((uid, fid)),
                }
                drop(state);
                let unused = table.drop_unused();
                drop(table);
                drop(unused);
                return node;
            }
            node.state().hashed = false;
        }
        let ino = qid_to_ino(attr.qid);
        let id = table.number_for(ino);
        let node = Arc::new(Node {
            id,
            ino,
            qid_path: attr.qid.path,
            kind: file_type(attr.mode),
            state: Mutex::new(NodeState {
                parent: Some(Arc::clone(parent)),
                name: name.to_vec(),
                hashed: true,
                fids: vec![(uid, fid)],
                open: Vec::new(),
                attr,
                watched: Watched::No,
            }),
        });
        table
            .names
            .entry(parent.id)
            .or_default()
            .insert(name.to_vec(), id);
        table.by_id.insert(
            id,
            Entry {
                node: Arc::clone(&node),
                lookups: 1,
            },
        );
        table.recent.push_back((id, Instant::now()));
        let unused = table.drop_unused();
        drop(table);
        drop(unused);
        node
    }

    /// Forgets all, and clunks all fids.
    pub fn clear(&self) {
        let nodes: Vec<_> = self.table().by_id.drain().map(|(_, e)| e.node).collect();
        for node in nodes {
            let fids = std::mem::take(&mut node.state().fids);
            drop(fids);
        }
    }

    /// The kernel drops `lookups` of its references.
    pub fn forget(&self, id: u64, lookups: u64) {
        if id == ROOT {
            return;
        }
        let mut table = self.table();
        let Some(entry) = table.by_id.get_mut(&id) else {
            return;
        };
        entry.lookups = entry.lookups.saturating_sub(lookups);
        if entry.lookups > 0 {
            return;
        }
        let gone = table.by_id.remove(&id);
        if let Some(entry) = &gone {
            table.unname(&entry.node);
        }
        drop(table);
        // Its fids are clunked here, outside the lock.
        drop(gone);
    }

    /// The node that `name` in `parent` is, as far as is known.
    pub fn named(&self, parent: &Node, name: &[u8]) -> Option<Arc<Node>> {
        let table = self.table();
        let id = table.names.get(&parent.id)?.get(name)?;
        Some(Arc::clone(&table.by_id.get(id)?.node))
    }

    /// The node that `name` in `parent` is while somebody has it open, with one more of the kernel's references.
    pub fn in_use(&self, parent: &Node, name: &[u8]) -> Option<Arc<Node>> {
        let mut table = self.table();
        let id = *table.names.get(&parent.id)?.get(name)?;
        let entry = table.by_id.get_mut(&id)?;
        let open = entry
            .node
            .state()
            .open
            .iter()
            .any(|(_, handle)| handle.strong_count() > 0);
        open.then(|| {
            entry.lookups += 1;
            Arc::clone(&entry.node)
        })
    }

    /// The dentry of `name` in `parent` is dropped: the next lookup makes a new one.
    pub fn drop_name(&self, parent: u64, name: &[u8]) {
        if let Some(node) = self.table().take_name(parent, name) {
            node.state().hashed = false;
        }
    }

    /// A node got a fid without a lookup.
    pub fn touch(&self, id: u64) {
        let mut table = self.table();
        table.recent.push_back((id, Instant::now()));
        let unused = table.drop_unused();
        drop(table);
        drop(unused);
    }

    /// `name` in `parent` was removed, and the kernel unhashes the dentry. From Linux 5.11 on `v9fs_remove`
    /// releases the dentry's fids (`release_fids`); before, they stay, and name whatever gets the name next.
    pub fn removed(&self, parent: u64, name: &[u8], release_fids: bool) {
        let mut table = self.table();
        let Some(node) = table.take_name(parent, name) else {
            return;
        };
        let mut state = node.state();
        state.hashed = false;
        let fids = if release_fids {
            std::mem::take(&mut state.fids)
        } else {
            Vec::new()
        };
        drop(state);
        drop(table);
        drop(fids);
    }

    /// `name` in `parent` became `new_name` in `new_parent` (`d_move`). What had that name is unhashed and
    /// keeps its fids.
    pub fn moved(&self, parent: u64, name: &[u8], new_parent: &Arc<Node>, new_name: &[u8]) {
        let mut table = self.table();
        if parent == new_parent.id && name == new_name {
            return;
        }
        if let Some(target) = table.take_name(new_parent.id, new_name) {
            target.state().hashed = false;
        }
        if let Some(node) = table.take_name(parent, name) {
            let mut state = node.state();
            state.parent = Some(Arc::clone(new_parent));
            state.name = new_name.to_vec();
            drop(state);
            table
                .names
                .entry(new_parent.id)
                .or_default()
                .insert(new_name.to_vec(), node.id);
        }
    }
}

impl Table {
    /// fuser gives the kernel one number as the node's and as `st_ino`, until attributes are asked for; so a node
    /// gets its inode number, unless another name of the same file has it already.
    fn number_for(&mut self, ino: u64) -> u64 {
        if ino > ROOT && !self.by_id.contains_key(&ino) {
            return ino;
        }
        loop {
            self.next += 1;
            if !self.by_id.contains_key(&self.next) {
                return self.next;
            }
        }
    }

    /// Takes the fids of what was looked up longest ago and is not open. They are to be dropped outside the lock.
    fn drop_unused(&mut self) -> Vec<Arc<Fid>> {
        let mut unused = Vec::new();
        let mut tries = self.recent.len().saturating_sub(UNUSED_FIDS);
        // Those that are open come again later; a few at a time, so that no lookup waits for many.
        tries = tries.min(8);
        for _ in 0..tries {
            let Some((id, looked_up)) = self.recent.pop_front() else {
                break;
            };
            if looked_up.elapsed() < SETTLED && self.recent.len() < VERY_MANY {
                self.recent.push_front((id, looked_up));
                break;
            }
            let Some(entry) = self.by_id.get(&id) else {
                continue;
            };
            let mut state = entry.node.state();
            if state.open.is_empty() {
                unused.extend(state.fids.drain(..).map(|(_, fid)| fid));
            } else {
                self.recent.push_back((id, looked_up));
            }
        }
        unused
    }

    fn take_name(&mut self, parent: u64, name: &[u8]) -> Option<Arc<Node>> {
        let children = self.names.get_mut(&parent)?;
        let id = children.remove(name)?;
        if children.is_empty() {
            self.names.remove(&parent);
        }
        self.by_id.get(&id).map(|entry| Arc::clone(&entry.node))
    }

    fn unname(&mut self, node: &Node) {
        let (parent, name) = {
            let state = node.state();
            let Some(parent) = &state.parent else { return };
            (parent.id, state.name.clone())
        };
        if let Some(children) = self.names.get_mut(&parent) {
            if children.get(&name) == Some(&node.id) {
                children.remove(&name);
            }
            if children.is_empty() {
                self.names.remove(&parent);
            }
        }
    }
}
