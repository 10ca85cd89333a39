//! From a request to the export's method.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use rs9p::FCall;
use rustix::io::Errno;

use super::Session;
use crate::{
    export::{Fid, Result},
    shared_memory::{RFETCH, RSTORE},
    wire::{READ_HEADER, Reply, Request, WALK_MAX, to_wire},
};

impl Session {
    /// Carries a request out. Tversion, Tflush and Tlock are not for here.
    ///
    /// Which errno an unknown fid gets is QEMU's choice message by message.
    pub(super) fn dispatch(&self, request: &Request, payload: &[u8]) -> Result<Reply> {
        let export = &self.shared.export;
        let msize = match self.msize.load(Ordering::Relaxed) {
            0 => return Err(Errno::PROTO),
            msize => msize,
        };
        let room = msize - READ_HEADER as u32;
        if let Some(place) = &request.shared {
            return self.through_memory(&request.call, place.clone(), room);
        }
        let call = match &request.call {
            FCall::TAuth { .. } => return Err(Errno::OPNOTSUPP),
            FCall::TAttach {
                fid,
                afid,
                aname,
                n_uname,
                ..
            } => {
                if *afid != rs9p::NOFID {
                    return Err(Errno::INVAL);
                }
                self.fids.check_new(*fid)?;
                let (qid, attached) = export.attach(*n_uname, &to_wire(aname))?;
                self.fids.insert(*fid, attached)?;
                FCall::RAttach { qid }
            }
            FCall::TWalk {
                fid,
                newfid,
                wnames,
            } => self.walk(*fid, *newfid, wnames)?,
            FCall::TlOpen { fid, flags } => {
                export.lopen(&*self.fid(*fid, Errno::NOENT)?, *flags, msize)?
            }
            FCall::TlCreate {
                fid,
                name,
                flags,
                mode,
                gid,
            } => {
                let dir = self.fid(*fid, Errno::NOENT)?;
                export.lcreate(&dir, &to_wire(name), *flags, *mode, *gid, msize)?
            }
            FCall::TRead { fid, offset, count } => {
                return export.read(&*self.fid(*fid, Errno::INVAL)?, *offset, (*count).min(room));
            }
            FCall::TReadDir { fid, offset, count } => {
                return export.readdir(
                    &*self.fid(*fid, Errno::INVAL)?,
                    *offset,
                    (*count).min(room),
                );
            }
            FCall::TWrite { fid, offset, .. } => {
                export.write(&*self.fid(*fid, Errno::INVAL)?, *offset, payload)?
            }
            FCall::TClunk { fid } => export.clunk(&*self.fids.remove(*fid).ok_or(Errno::NOENT)?)?,
            FCall::TRemove { fid } => {
                let fid = self.fids.remove(*fid).ok_or(Errno::INVAL)?;
                let removed = export.remove(&fid);
                let _ = export.clunk(&fid);
                removed?
            }
            FCall::TStatFs { fid } => export.statfs(&*self.fid(*fid, Errno::NOENT)?, msize)?,
            FCall::TSymlink {
                fid,
                name,
                symtgt,
                gid,
            } => {
                let dir = self.fid(*fid, Errno::INVAL)?;
                export.symlink(&dir, &to_wire(name), &to_wire(symtgt), *gid)?
            }
            FCall::TMkNod {
                dfid,
                name,
                mode,
                major,
                minor,
                gid,
            } => {
                let dir = self.fid(*dfid, Errno::NOENT)?;
                export.mknod(&dir, &to_wire(name), *mode, (*major, *minor), *gid)?
            }
            FCall::TMkDir {
                dfid,
                name,
                mode,
                gid,
            } => export.mkdir(
                &*self.fid(*dfid, Errno::NOENT)?,
                &to_wire(name),
                *mode,
                *gid,
            )?,
            FCall::TLink { dfid, fid, name } => {
                let dir = self.fid(*dfid, Errno::NOENT)?;
                export.link(&dir, &*self.fid(*fid, Errno::NOENT)?, &to_wire(name))?
            }
            FCall::TRename { fid, dfid, name } => {
                let object = self.fid(*fid, Errno::NOENT)?;
                export.rename(&object, &*self.fid(*dfid, Errno::NOENT)?, &to_wire(name))?
            }
            FCall::TRenameAt {
                olddirfid,
                oldname,
                newdirfid,
                newname,
            } => {
                let old = self.fid(*olddirfid, Errno::NOENT)?;
                let new = self.fid(*newdirfid, Errno::NOENT)?;
                export.renameat(&old, &to_wire(oldname), &new, &to_wire(newname))?
            }
            FCall::TUnlinkAt { dirfd, name, flags } => {
                export.unlinkat(&*self.fid(*dirfd, Errno::INVAL)?, &to_wire(name), *flags)?
            }
            FCall::TReadLink { fid } => export.readlink(&*self.fid(*fid, Errno::NOENT)?)?,
            FCall::TGetAttr { fid, req_mask } => {
                return export.getattr(&*self.fid(*fid, Errno::NOENT)?, *req_mask, msize);
            }
            FCall::TSetAttr { fid, valid, stat } => {
                export.setattr(&*self.fid(*fid, Errno::INVAL)?, *valid, stat)?
            }
            FCall::TxAttrWalk { fid, newfid, name } => {
                let object = self.fid(*fid, Errno::NOENT)?;
                self.fids.check_new(*newfid)?;
                let (size, walked) = export.xattrwalk(&object, &to_wire(name))?;
                self.fids.insert(*newfid, walked)?;
                FCall::RxAttrWalk { size }
            }
            FCall::TxAttrCreate {
                fid,
                name,
                attr_size,
                flags,
            } => export.xattrcreate(
                &*self.fid(*fid, Errno::INVAL)?,
                &to_wire(name),
                *attr_size,
                *flags,
            )?,
            FCall::TFSync { fid } => {
                export.fsync(&*self.fid(*fid, Errno::NOENT)?, request.datasync)?
            }
            FCall::TGetLock { fid, flock } => {
                export.getlock(self.id, &*self.fid(*fid, Errno::NOENT)?, flock)?
            }
            _ => return Err(Errno::OPNOTSUPP),
        };
        Ok(Reply::Call(call))
    }

    /// A Tread or Twrite whose data are in the memory that the client shares.
    fn through_memory(&self, call: &FCall, place: Range<usize>, room: u32) -> Result<Reply> {
        let memory = self.memory.get().ok_or(Errno::PROTO)?;
        if place.len() > room as usize {
            return Err(Errno::MSGSIZE);
        }
        let export = &self.shared.export;
        let (kind, count) = match call {
            FCall::TRead { fid, offset, .. } => {
                let fid = self.fid(*fid, Errno::INVAL)?;
                (RFETCH, export.fetch(&fid, *offset, memory, place)?)
            }
            FCall::TWrite { fid, offset, .. } => {
                let fid = self.fid(*fid, Errno::INVAL)?;
                (RSTORE, export.store(&fid, *offset, memory, place)?)
            }
            _ => return Err(Errno::PROTO),
        };
        let count = count as u32;
        Ok(Reply::Shared { kind, count })
    }

    fn fid(&self, number: u32, unknown: Errno) -> Result<Arc<Fid>> {
        self.fids.get(number).ok_or(unknown)
    }

    fn walk(&self, number: u32, new: u32, names: &[String]) -> Result<FCall> {
        if names.len() > WALK_MAX {
            return Err(Errno::INVAL);
        }
        let fid = self.fid(number, Errno::NOENT)?;
        let names: Vec<Vec<u8>> = names.iter().map(|name| to_wire(name)).collect();
        if number == new {
            // A fid on which something is open stays what it is.
            fid.idle()?;
        } else {
            self.fids.check_new(new)?;
        }
        let walked = self.shared.export.walk(&fid, &names)?;
        match walked.fid {
            None => {}
            Some(walked) if number == new => self.fids.replace(number, walked),
            Some(walked) => self.fids.insert(new, walked)?,
        }
        Ok(FCall::RWalk { wqids: walked.qids })
    }
}
