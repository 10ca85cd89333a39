//! 9P2000.L, one method a message.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    Attr, ClientError, Connection, DirEntries, Fid, GetattrMask, LockRequest, LockStatus, LockType,
    Pending, Qid, SetAttr, StatFs, Time,
    conn::{Reply, Sink},
    lanes::Lanes,
    wire::{self, Decoder, Encoder, kind},
};

/// The msize to ask for unless told otherwise: what Linux's virtio transport clips any larger one to.
pub const DEFAULT_MSIZE: u32 = 512_000;

/// How often a request that may be given up asks whether it is.
const STOP_INTERVAL: Duration = Duration::from_millis(20);

/// A 9P2000.L session. Cheap to clone; clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) conn: Arc<Connection>,
    msize: u32,
    /// Memory that the server shares, if it does.
    pub(super) lanes: Option<Arc<Lanes>>,
}

impl Client {
    /// Negotiates 9P2000.L on a connected stream socket, asking for messages of at most `msize` bytes
    /// (at least 4096).
    ///
    /// # Errors
    /// When the server speaks no 9P2000.L, or sends what is no 9P.
    pub fn connect(stream: OwnedFd, msize: u32) -> Result<Client, ClientError> {
        widen_buffers(&stream);
        let conn = Connection::new(stream, msize);
        let mut client = Client {
            conn,
            msize,
            lanes: None,
        };
        let version = Encoder::new(kind::TVERSION)
            .u32(msize)
            .bytes16(b"9P2000.L")?;
        let body = client.call(version)?;
        let mut body = Decoder::new(&body);
        let agreed = body.u32()?;
        let version = body.bytes16()?;
        if version != b"9P2000.L" {
            return Err(ClientError::Protocol(format!(
                "it speaks {:?}, not 9P2000.L; serve with a 9P2000.L server",
                String::from_utf8_lossy(version)
            )));
        }
        if agreed > msize || agreed < 4096 {
            return Err(ClientError::Protocol(format!(
                "it wants messages of {agreed} bytes; 4096 to {msize} are possible"
            )));
        }
        client.msize = agreed;
        client.conn.set_max_frame(agreed);
        Ok(client)
    }

    /// The negotiated size of the largest message, in bytes.
    pub fn msize(&self) -> u32 {
        self.msize
    }

    /// The connection below.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.conn
    }

    /// Fids that are in use, or whose clunk the server has not answered yet.
    pub fn fids_in_use(&self) -> u32 {
        self.conn.fids_in_use()
    }

    /// Most bytes in one Tread or Twrite on an open fid whose Rlopen said `iounit`, as v9fs counts them.
    pub fn io_size(&self, iounit: u32) -> u32 {
        let most = self.msize - wire::IOHDRSZ;
        if iounit == 0 { most } else { iounit.min(most) }
    }

    pub(super) fn check(reply: Reply, request: u8) -> Result<Reply, ClientError> {
        if reply.kind == request + 1 {
            return Ok(reply);
        }
        if reply.kind == kind::RLERROR {
            let errno = Decoder::new(&reply.body).u32()?;
            return Err(ClientError::Server(
                i32::try_from(errno)
                    .ok()
                    .filter(|errno| (1..4096).contains(errno))
                    .unwrap_or(libc::EIO),
            ));
        }
        Err(ClientError::Protocol(format!(
            "it answered a message of type {request} with one of type {}",
            reply.kind
        )))
    }

    fn submit(&self, request: Encoder, payload: &[u8]) -> Result<(Pending, u8), ClientError> {
        let frame = request.finish(payload.len());
        let kind = frame[4];
        if frame.len() + payload.len() > self.msize as usize {
            return Err(ClientError::TooLarge(
                "it is larger than the negotiated msize",
            ));
        }
        Ok((self.conn.submit(frame, payload, None)?, kind))
    }

    fn call(&self, request: Encoder) -> Result<Vec<u8>, ClientError> {
        let (pending, kind) = self.submit(request, &[])?;
        Ok(Client::check(pending.wait()?, kind)?.body)
    }

    /// Tattach: a fid for the root of `aname`, for `n_uname` ([`wire::NONUNAME`]: nobody in particular).
    pub fn attach(
        &self,
        uname: &[u8],
        aname: &[u8],
        n_uname: u32,
    ) -> Result<(Fid, Qid), ClientError> {
        let fid = Fid::reserve(&self.conn);
        let body = self.call(
            Encoder::new(kind::TATTACH)
                .u32(fid.number())
                .u32(wire::NOFID)
                .bytes16(uname)?
                .bytes16(aname)?
                .u32(n_uname),
        )?;
        let fid = fid.created();
        Ok((fid, Qid::decode(&mut Decoder::new(&body))?))
    }

    /// Twalk to a new fid. With no names it clones.
    ///
    /// # Errors
    /// As v9fs sees it, a walk that ends before the last name is ENOENT.
    pub fn walk(&self, from: &Fid, names: &[&[u8]]) -> Result<(Fid, Vec<Qid>), ClientError> {
        if names.len() > wire::MAXWELEM {
            return Err(ClientError::TooLarge("a walk of more than 16 names"));
        }
        let fid = Fid::reserve(&self.conn);
        let mut request = Encoder::new(kind::TWALK)
            .u32(from.number())
            .u32(fid.number())
            .u16(names.len() as u16);
        for name in names {
            request = request.bytes16(name)?;
        }
        let body = self.call(request)?;
        let mut body = Decoder::new(&body);
        let count = usize::from(body.u16()?);
        if count < names.len() {
            // A partial walk creates no fid.
            return Err(ClientError::Server(libc::ENOENT));
        }
        let fid = fid.created();
        let qids = (0..count)
            .map(|_| Qid::decode(&mut body))
            .collect::<Result<_, _>>()?;
        Ok((fid, qids))
    }

    /// Tlopen: opens `fid` with Linux open flags; returns the iounit in bytes, 0 when the server names none.
    pub fn lopen(&self, fid: &Fid, flags: u32) -> Result<(Qid, u32), ClientError> {
        let body = self.call(Encoder::new(kind::TLOPEN).u32(fid.number()).u32(flags))?;
        let mut body = Decoder::new(&body);
        Ok((Qid::decode(&mut body)?, body.u32()?))
    }

    /// Tlcreate: creates and opens `name` in the directory `fid`, which then stands for the new file.
    pub fn lcreate(
        &self,
        fid: &Fid,
        name: &[u8],
        flags: u32,
        mode: u32,
        gid: u32,
    ) -> Result<(Qid, u32), ClientError> {
        let body = self.call(
            Encoder::new(kind::TLCREATE)
                .u32(fid.number())
                .bytes16(name)?
                .u32(flags)
                .u32(mode)
                .u32(gid),
        )?;
        let mut body = Decoder::new(&body);
        Ok((Qid::decode(&mut body)?, body.u32()?))
    }

    /// Tread: at most `count` bytes from `offset`, put into `buffer` at `at`; the buffer grows as needed and
    /// never shrinks. Returns how many came; 0 is the end of the file.
    pub fn read(
        &self,
        fid: &Fid,
        offset: u64,
        count: u32,
        buffer: &mut Vec<u8>,
        at: usize,
    ) -> Result<usize, ClientError> {
        let shared = Arc::new(Mutex::new(std::mem::take(buffer)));
        let outcome = self
            .start_read(fid, offset, count, &shared, at)
            .and_then(|pending| Client::end_read(pending, count));
        *buffer = take_back(shared);
        outcome
    }

    /// Several Treads at once, each of at most `part` bytes: `count` bytes from `offset`, put at the start of
    /// `buffer`. Returns how many came before the first that came short.
    pub fn read_ahead(
        &self,
        fid: &Fid,
        offset: u64,
        count: u32,
        part: u32,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, ClientError> {
        let shared = Arc::new(Mutex::new(std::mem::take(buffer)));
        let mut started = Vec::new();
        let mut at = 0;
        while at < count {
            let size = part.min(count - at);
            let pending = self.start_read(fid, offset + u64::from(at), size, &shared, at as usize);
            started.push((pending, size));
            at += size;
        }
        let outcome = sum(started.into_iter().map(|(pending, size)| {
            let got = pending.and_then(|pending| Client::end_read(pending, size));
            (got, size as usize)
        }));
        *buffer = take_back(shared);
        outcome
    }

    fn start_read(
        &self,
        fid: &Fid,
        offset: u64,
        count: u32,
        buffer: &Arc<Mutex<Vec<u8>>>,
        at: usize,
    ) -> Result<Pending, ClientError> {
        let request = Encoder::new(kind::TREAD)
            .u32(fid.number())
            .u64(offset)
            .u32(count.min(self.io_size(0)));
        let sink = Sink {
            buffer: Arc::clone(buffer),
            at,
        };
        self.conn.submit(request.finish(0), &[], Some(sink))
    }

    fn end_read(pending: Pending, count: u32) -> Result<usize, ClientError> {
        let reply = Client::check(pending.wait()?, kind::TREAD)?;
        let got = reply.data.unwrap_or(0);
        if got > count as usize {
            return Err(ClientError::Protocol(format!(
                "it answered a Tread of {count} bytes with {got}"
            )));
        }
        Ok(got)
    }

    /// Twrite: `data`, at most [`Client::io_size`] bytes; returns how many were written.
    pub fn write(&self, fid: &Fid, offset: u64, data: &[u8]) -> Result<usize, ClientError> {
        let data = &data[..data.len().min(self.io_size(0) as usize)];
        let pending = self.start_write(fid, offset, data)?;
        Client::end_moved(pending, kind::TWRITE, data.len())
    }

    /// Several Twrites at once, each of at most `part` bytes: `data` at `offset`. Returns how many bytes were written
    /// before the first that came short. What follows one that failed may have been written all the same.
    pub fn write_ahead(
        &self,
        fid: &Fid,
        offset: u64,
        data: &[u8],
        part: u32,
    ) -> Result<usize, ClientError> {
        let part = part.min(self.io_size(0)) as usize;
        let mut started = Vec::new();
        for (index, data) in data.chunks(part.max(1)).enumerate() {
            let pending = self.start_write(fid, offset + (index * part) as u64, data);
            let stop = pending.is_err();
            started.push((pending, data.len()));
            if stop {
                break;
            }
        }
        Client::moved(started.into_iter(), kind::TWRITE)
    }

    fn start_write(&self, fid: &Fid, offset: u64, data: &[u8]) -> Result<Pending, ClientError> {
        let request = Encoder::new(kind::TWRITE)
            .u32(fid.number())
            .u64(offset)
            .u32(data.len() as u32);
        Ok(self.submit(request, data)?.0)
    }

    /// The [`sum`] of requests of this type, each with its length; the last may have failed to be sent.
    pub(super) fn moved(
        started: impl Iterator<Item = (Result<Pending, ClientError>, usize)>,
        kind: u8,
    ) -> Result<usize, ClientError> {
        sum(started.map(|(pending, length)| {
            let moved = pending.and_then(|pending| Client::end_moved(pending, kind, length));
            (moved, length)
        }))
    }

    /// The end of a request of this type that is answered by how many of `length` bytes it moved.
    fn end_moved(pending: Pending, kind: u8, length: usize) -> Result<usize, ClientError> {
        let body = Client::check(pending.wait()?, kind)?.body;
        let count = Decoder::new(&body).u32()? as usize;
        if count > length {
            return Err(ClientError::Protocol(format!(
                "it says that it moved {count} of {length} bytes"
            )));
        }
        Ok(count)
    }

    /// Tclunk, and its answer; dropping the fid clunks it without waiting for that.
    pub fn clunk(&self, fid: Fid) -> Result<(), ClientError> {
        let outcome = self.call(Encoder::new(kind::TCLUNK).u32(fid.number()));
        // A Tclunk frees the fid whatever the answer.
        fid.freed();
        outcome.map(drop)
    }

    /// Tremove: removes the file and frees the fid, whatever the answer.
    pub fn remove(&self, fid: Fid) -> Result<(), ClientError> {
        let outcome = self.call(Encoder::new(kind::TREMOVE).u32(fid.number()));
        fid.freed();
        outcome.map(drop)
    }

    /// Tgetattr.
    pub fn getattr(&self, fid: &Fid, mask: GetattrMask) -> Result<Attr, ClientError> {
        let body = self.call(
            Encoder::new(kind::TGETATTR)
                .u32(fid.number())
                .u64(mask.bits()),
        )?;
        Attr::decode(&mut Decoder::new(&body))
    }

    /// Tsetattr.
    pub fn setattr(&self, fid: &Fid, set: &SetAttr) -> Result<(), ClientError> {
        let time =
            |request: Encoder, time: Time| request.u64(time.sec as u64).u64(time.nsec.into());
        let request = Encoder::new(kind::TSETATTR)
            .u32(fid.number())
            .u32(set.valid.bits())
            .u32(set.mode)
            .u32(set.uid)
            .u32(set.gid)
            .u64(set.size);
        self.call(time(time(request, set.atime), set.mtime))
            .map(drop)
    }

    /// Tstatfs.
    pub fn statfs(&self, fid: &Fid) -> Result<StatFs, ClientError> {
        let body = self.call(Encoder::new(kind::TSTATFS).u32(fid.number()))?;
        let mut body = Decoder::new(&body);
        Ok(StatFs {
            kind: body.u32()?,
            bsize: body.u32()?,
            blocks: body.u64()?,
            bfree: body.u64()?,
            bavail: body.u64()?,
            files: body.u64()?,
            ffree: body.u64()?,
            fsid: body.u64()?,
            namelen: body.u32()?,
        })
    }

    /// Treaddir: the entries after `offset`, as many as fit into `count` bytes. None: the end.
    /// Read them with [`DirEntries`].
    pub fn readdir(&self, fid: &Fid, offset: u64, count: u32) -> Result<Vec<u8>, ClientError> {
        let mut body = self.call(
            Encoder::new(kind::TREADDIR)
                .u32(fid.number())
                .u64(offset)
                .u32(count.min(self.msize - wire::READDIRHDRSZ)),
        )?;
        let count = Decoder::new(&body).u32()? as usize;
        if count != body.len() - 4 {
            return Err(ClientError::Protocol(
                "the count of an Rreaddir is not its length".into(),
            ));
        }
        body.drain(..4);
        Ok(body)
    }

    /// Treaddir with the most that fits a message, decoded: offsets and names.
    pub fn read_names(&self, fid: &Fid, offset: u64) -> Result<Vec<(u64, Vec<u8>)>, ClientError> {
        let data = self.readdir(fid, offset, self.msize)?;
        DirEntries::new(&data)
            .map(|entry| entry.map(|entry| (entry.offset, entry.name.to_vec())))
            .collect()
    }

    /// Tfsync; with `datasync` only the data and what is needed to read it.
    pub fn fsync(&self, fid: &Fid, datasync: bool) -> Result<(), ClientError> {
        self.call(
            Encoder::new(kind::TFSYNC)
                .u32(fid.number())
                .u32(datasync.into()),
        )
        .map(drop)
    }

    /// Tmkdir.
    pub fn mkdir(&self, dir: &Fid, name: &[u8], mode: u32, gid: u32) -> Result<Qid, ClientError> {
        let body = self.call(
            Encoder::new(kind::TMKDIR)
                .u32(dir.number())
                .bytes16(name)?
                .u32(mode)
                .u32(gid),
        )?;
        Qid::decode(&mut Decoder::new(&body))
    }

    /// Tmknod; `device` is major and minor.
    pub fn mknod(
        &self,
        dir: &Fid,
        name: &[u8],
        mode: u32,
        device: (u32, u32),
        gid: u32,
    ) -> Result<Qid, ClientError> {
        let body = self.call(
            Encoder::new(kind::TMKNOD)
                .u32(dir.number())
                .bytes16(name)?
                .u32(mode)
                .u32(device.0)
                .u32(device.1)
                .u32(gid),
        )?;
        Qid::decode(&mut Decoder::new(&body))
    }

    /// Tsymlink: makes `name` lead to `target`.
    pub fn symlink(
        &self,
        dir: &Fid,
        name: &[u8],
        target: &[u8],
        gid: u32,
    ) -> Result<Qid, ClientError> {
        let body = self.call(
            Encoder::new(kind::TSYMLINK)
                .u32(dir.number())
                .bytes16(name)?
                .bytes16(target)?
                .u32(gid),
        )?;
        Qid::decode(&mut Decoder::new(&body))
    }

    /// Treadlink.
    pub fn readlink(&self, fid: &Fid) -> Result<Vec<u8>, ClientError> {
        let body = self.call(Encoder::new(kind::TREADLINK).u32(fid.number()))?;
        Ok(Decoder::new(&body).bytes16()?.to_vec())
    }

    /// Tlink: makes `name` in `dir` another name of `fid`.
    pub fn link(&self, dir: &Fid, fid: &Fid, name: &[u8]) -> Result<(), ClientError> {
        self.call(
            Encoder::new(kind::TLINK)
                .u32(dir.number())
                .u32(fid.number())
                .bytes16(name)?,
        )
        .map(drop)
    }

    /// Trename: moves `fid` to `name` in `dir`.
    pub fn rename(&self, fid: &Fid, dir: &Fid, name: &[u8]) -> Result<(), ClientError> {
        self.call(
            Encoder::new(kind::TRENAME)
                .u32(fid.number())
                .u32(dir.number())
                .bytes16(name)?,
        )
        .map(drop)
    }

    /// Trenameat.
    pub fn renameat(
        &self,
        old_dir: &Fid,
        old_name: &[u8],
        new_dir: &Fid,
        new_name: &[u8],
    ) -> Result<(), ClientError> {
        self.call(
            Encoder::new(kind::TRENAMEAT)
                .u32(old_dir.number())
                .bytes16(old_name)?
                .u32(new_dir.number())
                .bytes16(new_name)?,
        )
        .map(drop)
    }

    /// Tunlinkat; `flags` is 0 or AT_REMOVEDIR (0x200).
    pub fn unlinkat(&self, dir: &Fid, name: &[u8], flags: u32) -> Result<(), ClientError> {
        self.call(
            Encoder::new(kind::TUNLINKAT)
                .u32(dir.number())
                .bytes16(name)?
                .u32(flags),
        )
        .map(drop)
    }

    /// Txattrwalk: a fid to read the attribute `name` from (empty: the list of names), and its length.
    pub fn xattrwalk(&self, fid: &Fid, name: &[u8]) -> Result<(Fid, u64), ClientError> {
        let new = Fid::reserve(&self.conn);
        let body = self.call(
            Encoder::new(kind::TXATTRWALK)
                .u32(fid.number())
                .u32(new.number())
                .bytes16(name)?,
        )?;
        let new = new.created();
        Ok((new, Decoder::new(&body).u64()?))
    }

    /// Txattrcreate: `fid` then takes the attribute's value by writes; clunking it sets the attribute.
    pub fn xattrcreate(
        &self,
        fid: &Fid,
        name: &[u8],
        size: u64,
        flags: u32,
    ) -> Result<(), ClientError> {
        self.call(
            Encoder::new(kind::TXATTRCREATE)
                .u32(fid.number())
                .bytes16(name)?
                .u64(size)
                .u32(flags),
        )
        .map(drop)
    }

    /// Tlock; `flags` is 0 or 1 (block). With `stop` the request is flushed once that says so.
    pub fn lock(
        &self,
        fid: &Fid,
        lock: &LockRequest<'_>,
        flags: u32,
        stop: Option<&dyn Fn() -> bool>,
    ) -> Result<LockStatus, ClientError> {
        let request = Encoder::new(kind::TLOCK)
            .u32(fid.number())
            .u8(lock.kind as u8)
            .u32(flags)
            .u64(lock.start)
            .u64(lock.length)
            .u32(lock.proc_id)
            .bytes16(lock.client_id)?;
        let (pending, kind) = self.submit(request, &[])?;
        let reply = match stop {
            None => pending.wait()?,
            Some(stop) => pending.wait_unless(STOP_INTERVAL, stop)?,
        };
        let body = Client::check(reply, kind)?.body;
        match Decoder::new(&body).u8()? {
            0 => Ok(LockStatus::Success),
            1 => Ok(LockStatus::Blocked),
            2 => Ok(LockStatus::Error),
            3 => Ok(LockStatus::Grace),
            other => Err(ClientError::Protocol(format!(
                "it answered a Tlock with status {other}"
            ))),
        }
    }

    /// Tgetlock: the lock that conflicts with `lock`, or one of kind [`LockType::Unlock`]: its kind, start,
    /// length (0: to the end of the file) and process.
    pub fn getlock(
        &self,
        fid: &Fid,
        lock: &LockRequest<'_>,
    ) -> Result<(LockType, u64, u64, u32), ClientError> {
        let body = self.call(
            Encoder::new(kind::TGETLOCK)
                .u32(fid.number())
                .u8(lock.kind as u8)
                .u64(lock.start)
                .u64(lock.length)
                .u32(lock.proc_id)
                .bytes16(lock.client_id)?,
        )?;
        let mut body = Decoder::new(&body);
        let kind = match body.u8()? {
            0 => LockType::Read,
            1 => LockType::Write,
            2 => LockType::Unlock,
            other => {
                return Err(ClientError::Protocol(format!(
                    "it answered a Tgetlock with lock type {other}"
                )));
            }
        };
        Ok((kind, body.u64()?, body.u64()?, body.u32()?))
    }
}

/// What several requests moved together: all before the first that came short of its length or failed. Every one is waited
/// for, wanted or not, since where their data go is not ours before.
///
/// # Errors
/// That of the first that failed, where nothing was moved before.
fn sum(
    parts: impl Iterator<Item = (Result<usize, ClientError>, usize)>,
) -> Result<usize, ClientError> {
    let (mut total, mut whole, mut outcome) = (0, true, Ok(()));
    for (moved, length) in parts {
        match moved {
            _ if !whole => {}
            Ok(count) => {
                total += count;
                whole = count == length;
            }
            Err(error) => {
                outcome = Err(error);
                whole = false;
            }
        }
    }
    match outcome {
        Err(error) if total == 0 => Err(error),
        _ => Ok(total),
    }
}

/// The buffer that requests shared which have all ended.
fn take_back(shared: Arc<Mutex<Vec<u8>>>) -> Vec<u8> {
    match Arc::try_unwrap(shared) {
        Ok(buffer) => buffer.into_inner().unwrap_or_else(PoisonError::into_inner),
        // A connection that was lost in the midst of a reply may still hold it.
        Err(shared) => std::mem::take(&mut shared.lock().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// Room for a whole message in the socket, where the system allows it, so that neither end waits in its midst.
fn widen_buffers(stream: &OwnedFd) {
    const WANTED: usize = 1 << 20;
    use rustix::net::sockopt;
    // Only faster when it works: a machine that caps buffers still serves.
    if sockopt::set_socket_send_buffer_size_force(stream, WANTED).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(stream, WANTED);
    }
    if sockopt::set_socket_recv_buffer_size_force(stream, WANTED).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(stream, WANTED);
    }
    // No more than a wish on what is not TCP.
    let _ = sockopt::set_tcp_nodelay(stream, true);
}
