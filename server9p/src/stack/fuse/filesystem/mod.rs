//! The kernel's requests, each handed to the operation that does it. What is agreed on at the beginning is in [`setup`],
//! how outcomes are answered in [`answer`], and locks, which may be waited for, in [`locks`].

mod answer;
mod locks;
mod setup;

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt, path::Path, sync::Arc, time::SystemTime};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use super::{meta::Changes, volume::Volume};
use answer::{answer, answer_xattr, maker};
use locks::wanted;

/// What fuser serves.
#[derive(Debug)]
pub(super) struct V9fs(Arc<Volume>);

impl V9fs {
    pub fn new(volume: Arc<Volume>) -> V9fs {
        V9fs(volume)
    }
}

impl Filesystem for V9fs {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        setup::agree(&self.0, config);
        Ok(())
    }

    fn destroy(&mut self) {
        self.0.close();
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let outcome = self.0.node(parent).and_then(|dir| {
            self.0.leave_watched(&dir, name.as_bytes(), req.pid());
            self.0.lookup(&dir, name.as_bytes(), req.uid())
        });
        self.entry(outcome, reply);
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.0.nodes.forget(ino.0, nlookup);
    }

    fn getattr(&self, req: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let outcome = match fh.and_then(|fh| self.0.handle(fh.0).ok()) {
            Some(handle) => {
                let attr = self.0.getattr_internal(&handle, req.uid());
                Ok((attr, self.0.attr_ttl_of(attr.kind)))
            }
            None => self
                .0
                .node(ino)
                .and_then(|node| self.0.getattr_for(&node, req.uid(), req.pid())),
        };
        match outcome {
            Ok((attr, ttl)) => reply.attr(&ttl, &self.0.ids.show(attr)),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changes = Changes {
            mode,
            uid,
            gid,
            size,
            atime,
            mtime,
        };
        let handle = fh.and_then(|fh| self.0.handle(fh.0).ok());
        let outcome = self.0.node(ino).and_then(|node| {
            let attr = self
                .0
                .setattr(&node, req.uid(), &changes, handle.as_deref())?;
            Ok((node, attr))
        });
        self.changed(outcome, size, reply);
    }

    fn readlink(&self, req: &Request, ino: INodeNo, reply: ReplyData) {
        match self
            .0
            .node(ino)
            .and_then(|node| self.0.readlink(&node, req.uid()))
        {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(error),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let outcome = self
            .0
            .node(parent)
            .and_then(|dir| self.0.mknod(&dir, name.as_bytes(), mode, rdev, maker(req)));
        self.entry(outcome, reply);
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let outcome = self
            .0
            .node(parent)
            .and_then(|dir| self.0.mkdir(&dir, name.as_bytes(), mode, maker(req)));
        self.entry(outcome, reply);
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(
            self.0
                .node(parent)
                .and_then(|dir| self.0.remove(&dir, name.as_bytes(), req.uid(), false)),
            reply,
        );
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(
            self.0
                .node(parent)
                .and_then(|dir| self.0.remove(&dir, name.as_bytes(), req.uid(), true)),
            reply,
        );
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        link_name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let outcome = self.0.node(parent).and_then(|dir| {
            let target = target.as_os_str().as_bytes();
            self.0
                .symlink(&dir, link_name.as_bytes(), target, maker(req))
        });
        self.entry(outcome, reply);
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let outcome = self.0.node(parent).and_then(|dir| {
            let new_dir = self.0.node(newparent)?;
            let (name, newname) = (name.as_bytes(), newname.as_bytes());
            self.0.rename(&dir, name, &new_dir, newname, req.uid())
        });
        answer(outcome, reply);
    }

    fn link(
        &self,
        req: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let outcome = self.0.node(ino).and_then(|node| {
            let dir = self.0.node(newparent)?;
            self.0.link(&node, &dir, newname.as_bytes(), req.uid())
        });
        self.entry(outcome, reply);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self
            .0
            .node(ino)
            .and_then(|node| self.0.open(&node, flags.0, req.uid()))
        {
            Ok(handle) => {
                let (number, fopen) = self.0.keep(handle);
                reply.opened(FileHandle(number), fopen);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut room = self.0.take_room(size);
        let outcome = self.0.handle(fh.0).and_then(|handle| {
            // What names no owner fills the page cache, for which a short answer is the file's end.
            let flags = lock_owner.map_or(0, |_| flags.0);
            self.0.read(&handle, offset, size, flags, &mut room)
        });
        match outcome {
            Ok(got) => reply.data(room.data(got)),
            Err(error) => reply.error(error),
        }
        self.0.give_room(room);
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let outcome = self
            .0
            .handle(fh.0)
            .and_then(|handle| Ok((self.0.write(&handle, offset, data)?, handle)));
        self.written(outcome, offset, write_flags, reply);
    }

    fn flush(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // v9fs itself does nothing when a descriptor is closed, but the VFS drops locks.
        if let Ok(handle) = self.0.handle(fh.0) {
            self.0.close_locks(&handle, lock_owner.0, req.pid());
        }
        reply.ok();
    }

    fn getlk(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        lock_owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        self.get_lock(fh, wanted(lock_owner, start, end, typ, pid), reply);
    }

    fn setlk(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        lock_owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        let wanted = wanted(lock_owner, start, end, typ, pid);
        self.set_lock(fh, wanted, sleep, req.pid(), reply);
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.0.release(fh.0);
        reply.ok();
    }

    fn fsync(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        answer(
            self.0
                .handle(fh.0)
                .and_then(|handle| self.0.fsync(&handle, datasync)),
            reply,
        );
    }

    fn opendir(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.open(req, ino, flags, reply);
    }

    fn readdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        match self
            .0
            .handle(fh.0)
            .and_then(|handle| self.0.readdir(&handle, offset, &mut reply))
        {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.release(fh.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.fsync(req, ino, fh, datasync, reply);
    }

    fn statfs(&self, req: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match self
            .0
            .node(ino)
            .and_then(|node| self.0.statfs(&node, req.uid()))
        {
            Ok(fs) => reply.statfs(
                fs.blocks, fs.bfree, fs.bavail, fs.files, fs.ffree, fs.bsize, fs.namelen, fs.bsize,
            ),
            Err(error) => reply.error(error),
        }
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let outcome = self.0.node(ino).and_then(|node| {
            let flags = flags as u32;
            self.0
                .setxattr(&node, name.as_bytes(), value, flags, req.uid())
        });
        answer(outcome, reply);
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        answer_xattr(
            self.0
                .node(ino)
                .and_then(|node| self.0.getxattr(&node, name.as_bytes(), size, req.uid())),
            reply,
        );
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        answer_xattr(
            self.0
                .node(ino)
                .and_then(|node| self.0.listxattr(&node, size, req.uid())),
            reply,
        );
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(
            self.0
                .node(ino)
                .and_then(|node| self.0.removexattr(&node, name.as_bytes(), req.uid())),
            reply,
        );
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let outcome = self.0.node(parent).and_then(|dir| {
            self.0
                .create(&dir, name.as_bytes(), mode, flags, maker(req))
        });
        self.created(outcome, reply);
    }

    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    // v9fs has none of the following: ENOSYS makes the kernel do what it does for filesystems without.

    fn poll(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _ph: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _req: &Request,
        _ino_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
    }
}
