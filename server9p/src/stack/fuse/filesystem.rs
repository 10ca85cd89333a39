//! The kernel's requests, each handed to the operation that does it.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, Generation, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};

use super::{
    convert::Outcome,
    create::Maker,
    lock::{Wanted, signalled},
    meta::{Changes, Entry},
    volume::Volume,
    xattr::Xattr,
};
use crate::{client::LockType, stack::Cache};

/// A number stands for one node at a time, which is all that the kernel needs unless it exports over NFS.
const GENERATION: Generation = Generation(0);

/// What fuser serves.
#[derive(Debug)]
pub(super) struct V9fs(Arc<Volume>);

impl V9fs {
    pub fn new(volume: Arc<Volume>) -> V9fs {
        V9fs(volume)
    }
}

fn maker(req: &Request) -> Maker {
    Maker {
        uid: req.uid(),
        gid: req.gid(),
    }
}

fn wanted(owner: LockOwner, start: u64, end: u64, typ: i32, pid: u32) -> Outcome<Wanted> {
    let kind = match typ {
        libc::F_RDLCK => LockType::Read,
        libc::F_WRLCK => LockType::Write,
        libc::F_UNLCK => LockType::Unlock,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Wanted {
        owner: owner.0,
        start,
        end,
        kind,
        pid,
    })
}

fn answer(outcome: Outcome<()>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl V9fs {
    fn entry(&self, entry: Outcome<Entry>, reply: ReplyEntry) {
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
}

impl Filesystem for V9fs {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let volume = &self.0;
        let mut wanted = vec![
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_POSIX_LOCKS,
            InitFlags::FUSE_FLOCK_LOCKS,
        ];
        match volume.cache {
            Cache::None | Cache::Readahead => wanted.push(InitFlags::FUSE_AUTO_INVAL_DATA),
            Cache::Mmap => wanted.push(InitFlags::FUSE_AUTO_INVAL_DATA),
            Cache::Loose | Cache::Fscache => wanted.push(InitFlags::FUSE_WRITEBACK_CACHE),
        }
        for flag in wanted {
            if config.add_capabilities(flag).is_err() {
                tracing::warn!(?flag, "this kernel's FUSE lacks a capability");
            }
        }
        if volume.cache == Cache::Mmap
            && config
                .add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP)
                .is_ok()
        {
            volume.direct_mmap.store(true, Ordering::Relaxed);
        }
        // v9fs gives out no file handles. Linux before 6.9 cannot be told.
        let _ = config.add_capabilities(InitFlags::FUSE_NO_EXPORT_SUPPORT);
        // Refused values leave fuser's own, which work as well.
        let _ = config.set_max_write(volume.io_pages_bytes());
        let _ = config.set_max_background(64);
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
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut buffer = self.0.take_buffer();
        let outcome = self.0.handle(fh.0).and_then(|handle| {
            // The kernel takes a short answer for the end of a file that it caches.
            let flags = if handle.is_cached() { 0 } else { flags.0 };
            self.0.read(&handle, offset, size, flags, &mut buffer)
        });
        match outcome {
            Ok(got) => reply.data(&buffer[..got]),
            Err(error) => reply.error(error),
        }
        self.0.give_buffer(buffer);
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
        let outcome = self.0.handle(fh.0).and_then(|handle| {
            let wanted = wanted(lock_owner, start, end, typ, pid)?;
            self.0.get_lock(&handle, &wanted)
        });
        match outcome {
            Ok(lock) => {
                let typ = match lock.kind {
                    LockType::Read => libc::F_RDLCK,
                    LockType::Write => libc::F_WRLCK,
                    LockType::Unlock => libc::F_UNLCK,
                };
                reply.locked(lock.start, lock.end, typ, lock.pid);
            }
            Err(error) => reply.error(error),
        }
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
        let (handle, wanted) = match self.0.handle(fh.0).and_then(|h| Ok((h, wanted?))) {
            Ok(both) => both,
            Err(error) => return reply.error(error),
        };
        if !sleep || wanted.kind == LockType::Unlock {
            return answer(self.0.set_lock(&handle, &wanted, None), reply);
        }
        // It may wait for long, and must not keep a serving thread from answering whoever it waits for.
        let volume = Arc::clone(&self.0);
        let thread = req.pid();
        let waiter = move || {
            let interrupted = || signalled(thread);
            answer(volume.set_lock(&handle, &wanted, Some(&interrupted)), reply);
        };
        if let Err(error) = std::thread::Builder::new()
            .name("fuse-lock".into())
            .spawn(waiter)
        {
            // The reply went with the closure, and its drop has answered EIO.
            tracing::warn!(%error, "no thread can be started to wait for a lock");
        }
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

fn answer_xattr(outcome: Outcome<Xattr>, reply: ReplyXattr) {
    match outcome {
        Ok(Xattr::Length(length)) => reply.size(length),
        Ok(Xattr::Value(value)) => reply.data(&value),
        Err(error) => reply.error(error),
    }
}
