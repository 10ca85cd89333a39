//! Files and directories that inotify or fanotify watches.
//!
//! Such a watch is on an inode and keeps that inode, but not the name (dentry) by which it was found. With
//! cache=none v9fs drops a dentry as soon as nothing uses it (`always_delete_dentry`), and the next lookup of the
//! name makes a new inode (`v9fs_test_new_inode_dotl` is never true): from then on the watch is on an inode that
//! no call meets any more, and tells of nothing. While something uses the dentry, because a process has the file
//! or something below it open, or has it as its working directory, lookups find it, and the watch tells of changes.
//!
//! FUSE keeps the inode as long as lookups bring the same node. So a lookup of a watched node that nothing uses
//! brings another one. Who uses it is read in /proc, of processes that this one sees: FUSE is not told of working
//! directories, nor of files opened with O_PATH. Only lookups of watched files pay for it, and when the watch is
//! dead they are over.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    process,
    sync::{Arc, atomic::Ordering},
};

use super::{node::Node, volume::Volume};

/// Whether a node's inode is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Watched {
    /// Nobody asked for it.
    #[default]
    No,
    /// This thread's call will put a watch on it, when it has looked it up.
    Soon(u32),
    /// As far as is known.
    Yes,
}

impl Volume {
    /// Thread `tid` is about to watch what is at `path`, if that is on this volume.
    pub(super) fn will_be_watched(&self, path: &Path, tid: u32) {
        let Ok(inside) = path.strip_prefix(self.mountpoint()) else {
            return;
        };
        let mut node = self.root();
        for name in inside {
            let Some(child) = self.nodes.named(&node, name.as_bytes()) else {
                return;
            };
            node = child;
        }
        node.state().watched = Watched::Soon(tid);
        self.watches.fetch_add(1, Ordering::Relaxed);
    }

    /// Before `tid`'s lookup of `name` in `parent`: if it is watched and nothing uses it, the name is another
    /// node's from now on.
    pub(super) fn leave_watched(&self, parent: &Arc<Node>, name: &[u8], tid: u32) {
        if self.watches.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(node) = self.nodes.named(parent, name) else {
            return;
        };
        let watched = {
            let mut state = node.state();
            let before = state.watched;
            if before == Watched::Soon(tid) {
                state.watched = Watched::Yes;
            }
            before
        };
        if watched == Watched::Yes && !self.is_used(&node) {
            self.nodes.drop_name(parent.id, name);
        }
    }

    /// Whether a process has the file, or something below it, open, as its directory, or as its program.
    fn is_used(&self, node: &Arc<Node>) -> bool {
        let mut path = self.mountpoint().to_owned();
        path.extend(node.path().into_iter().map(OsString::from_vec));
        let below = |link: PathBuf| link.starts_with(&path);
        let links_of = |process: PathBuf| {
            let single = ["cwd", "root", "exe"].map(|name| process.join(name));
            let open = fs::read_dir(process.join("fd")).into_iter().flatten();
            let open = open.filter_map(|entry| Some(entry.ok()?.path()));
            single.into_iter().chain(open).collect::<Vec<_>>()
        };
        processes()
            .flat_map(links_of)
            // Processes end, and descriptors are closed, while this goes on.
            .filter_map(|link| fs::read_link(link).ok())
            .any(below)
            || Self::is_mapped(node, &path)
    }

    /// Whether a process has the file mapped: then it is open, although no descriptor leads to it.
    fn is_mapped(node: &Node, path: &Path) -> bool {
        let open = node.state().open.iter().any(|(_, h)| h.strong_count() > 0);
        let maps = |pid: PathBuf| fs::read_to_string(pid.join("maps")).unwrap_or_default();
        let path = path.as_os_str().to_string_lossy();
        open && processes().any(|pid| maps(pid).lines().any(|line| line.ends_with(&*path)))
    }
}

/// The directories in /proc of all processes but this one.
fn processes() -> impl Iterator<Item = PathBuf> {
    let own = process::id().to_string();
    let all = fs::read_dir("/proc").into_iter().flatten();
    all.filter_map(|entry| Some(entry.ok()?.path()))
        .filter(move |path| {
            let name = path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
            name.iter().all(u8::is_ascii_digit) && name != own.as_bytes()
        })
}
