//! Outcomes as the kernel gets them.

use std::sync::Arc;

use fuser::{
    FileHandle, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyEmpty, ReplyEntry, ReplyWrite,
    ReplyXattr, Request, WriteFlags,
};

use super::V9fs;
use crate::stack::fuse::{
    convert::Outcome, create::Maker, file::Handle, meta::Entry, node::Node, xattr::Xattr,
};

/// A number stands for one node at a time, which is all that the kernel needs unless it exports over NFS.
const GENERATION: Generation = Generation(0);

/// Who makes something.
pub(super) fn maker(req: &Request) -> Maker {
    Maker {
        uid: req.uid(),
        gid: req.gid(),
    }
}

/// Done, or not.
pub(super) fn answer(outcome: Outcome<()>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

/// An attribute, or its length.
pub(super) fn answer_xattr(outcome: Outcome<Xattr>, reply: ReplyXattr) {
    match outcome {
        Ok(Xattr::Length(length)) => reply.size(length),
        Ok(Xattr::Value(value)) => reply.data(&value),
        Err(error) => reply.error(error),
    }
}

impl V9fs {
    /// What a name stands for.
    pub(super) fn entry(&self, entry: Outcome<Entry>, reply: ReplyEntry) {
        match entry {
            // fuser takes the node's number from the attributes; st_ino is right once they are asked for.
            Ok(Entry {
                node,
                attr,
                entry_ttl,
                attr_ttl,
            }) => {
                let attr = fuser::FileAttr {
                    ino: INodeNo(node.id),
                    ..self.0.ids.show(attr)
                };
                reply.entry_with_ttls(&attr_ttl, &entry_ttl, &attr, GENERATION);
            }
            Err(error) => reply.error(error),
        }
    }

    /// A file that was made, and is open.
    pub(super) fn created(&self, outcome: Outcome<(Entry, Handle)>, reply: ReplyCreate) {
        match outcome {
            Err(error) => reply.error(error),
            Ok((entry, handle)) => {
                let attr = fuser::FileAttr {
                    ino: INodeNo(entry.node.id),
                    ..self.0.ids.show(entry.attr)
                };
                let (number, fopen) = self.0.keep(handle);
                reply.created(
                    &entry.entry_ttl,
                    &attr,
                    GENERATION,
                    FileHandle(number),
                    fopen,
                );
            }
        }
    }

    /// Attributes after a change; `size` is the new size, if that was among it.
    pub(super) fn changed(
        &self,
        outcome: Outcome<(Arc<Node>, fuser::FileAttr)>,
        size: Option<u64>,
        reply: ReplyAttr,
    ) {
        match outcome {
            Err(error) => reply.error(error),
            Ok((node, attr)) => {
                let ttl = self.0.attr_ttl();
                let attr = self.0.ids.show(attr);
                let answer = move || reply.attr(&ttl, &attr);
                match size {
                    // The kernel itself drops what this node has beyond the new end; other names are ours.
                    Some(size) => self.0.invalidator.changed(&node, size, 0, answer),
                    None => answer(),
                }
            }
        }
    }

    /// How much was written.
    pub(super) fn written(
        &self,
        outcome: Outcome<(usize, Arc<Handle>)>,
        offset: u64,
        write_flags: WriteFlags,
        reply: ReplyWrite,
    ) {
        match outcome {
            Err(error) => reply.error(error),
            Ok((count, handle)) => {
                let answer = move || reply.written(count as u32);
                // What the page cache itself writes back it has.
                if write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
                    return answer();
                }
                let count = count as u64;
                self.0
                    .invalidator
                    .changed(&handle.node, offset, count, answer);
            }
        }
    }
}
