//! One connection: frames in, replies out, and the fids and requests in between.
//!
//! A thread of the connection's own reads frames. What cannot take long it does itself, at once, and the replies of
//! what came in together leave together, so that a request that is alone costs no switch of threads. What may take
//! long (large reads and writes, syncs, whatever frees a large file's blocks) goes to tokio's blocking threads, so
//! that it stalls nothing else; a lock that is held by another is waited for in a task of its own. Tflush is answered
//! only when the fate of the request it names is settled.

mod counters;
mod dispatch;
mod fids;
mod haste;
mod limits;
mod pending;
mod reader;
mod trace;
mod writer;

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rs9p::{FCall, Flock};
use rustix::io::Errno;
use tokio::sync::OwnedSemaphorePermit;

pub use counters::{Counters, Wire};
pub use limits::Limits;
pub use trace::{Trace, TraceError};

use crate::{
    export::{Export, LockAnswer},
    shared_memory::{RMEMORY, SharedMemory, TMEMORY},
    wire::{self, DecodeError, MSIZE_MAX, MSIZE_MIN, Reply, Request, buffers},
};
use fids::Fids;
use haste::Haste;
use limits::{Budget, Share};
use pending::{Entry, Pending};
use reader::{Frame, Reader};
use writer::Writer;

/// How often a lock that a process of the host may hold is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// How long replies may take to leave after the other end has said that it sends no more.
const LAST_REPLIES: Duration = Duration::from_secs(2);

/// What all sessions of a server share.
#[derive(Debug)]
pub struct Shared {
    export: Export,
    limits: Limits,
    budget: Budget,
    trace: Option<Trace>,
    counters: Option<Counters>,
    next_session: AtomicU64,
}

impl Shared {
    /// What serves an export within limits; every message is written to the trace, if there is one.
    pub fn new(export: Export, limits: Limits, trace: Option<Trace>) -> Arc<Shared> {
        Shared::counted(export, limits, trace, None)
    }

    /// The same; every frame is counted, if there is something to count with.
    pub fn counted(
        export: Export,
        limits: Limits,
        trace: Option<Trace>,
        counters: Option<Counters>,
    ) -> Arc<Shared> {
        let budget = Budget::new(&limits);
        Arc::new(Shared {
            export,
            limits,
            budget,
            trace,
            counters,
            next_session: AtomicU64::new(1),
        })
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// The state of one connection.
#[derive(Debug)]
struct Session {
    id: u64,
    shared: Arc<Shared>,
    /// The negotiated message size, bytes; 0 before Tversion.
    msize: AtomicU32,
    fids: Fids,
    pending: Pending,
    share: Share,
    writer: Arc<Writer>,
    /// What the client shares, if it does.
    memory: OnceLock<SharedMemory>,
    haste: Haste,
}

/// Serves one connected stream until the other end closes it or breaks its framing.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// Where the stream cannot be read, or what came over it cannot be taken apart into frames.
pub async fn serve(stream: OwnedFd, shared: Arc<Shared>) -> io::Result<()> {
    // The reader's thread waits in `read` itself; what writes says of each message that it must not wait.
    rustix::io::ioctl_fionbio(&stream, false)?;
    writer::widen(&stream);
    let stream = Arc::new(stream);
    let writer = Arc::new(Writer::new(stream.clone(), shared.counters.clone()));
    let session = Arc::new(Session {
        id: shared.next_session.fetch_add(1, Ordering::Relaxed),
        msize: AtomicU32::new(0),
        fids: Fids::new(shared.limits.fids),
        pending: Pending::default(),
        share: Share::default(),
        memory: OnceLock::new(),
        haste: Haste::default(),
        writer: writer.clone(),
        shared,
    });
    let drain = tokio::spawn(async move { writer.drain().await });
    let result = on_own_thread(session.clone(), stream).await;
    session.reset().await;
    let _ = tokio::time::timeout(LAST_REPLIES, session.writer.flushed()).await;
    session.writer.close();
    let _ = drain.await;
    session.shared.export.end_session(session.id);
    result
}

/// Runs a session's reader on a thread of its own, for as long as the caller waits.
async fn on_own_thread(session: Arc<Session>, stream: Arc<OwnedFd>) -> io::Result<()> {
    /// Ends the reader, which may be waiting for the other end.
    struct Hangup(Arc<OwnedFd>);
    impl Drop for Hangup {
        fn drop(&mut self) {
            let _ = rustix::net::shutdown(&*self.0, rustix::net::Shutdown::Read);
        }
    }
    let _hangup = Hangup(stream.clone());
    let (ended, end) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name(format!("session {}", session.id))
        .spawn(move || {
            let result = runtime.block_on(session.read_frames(Reader::new(stream)));
            // Where nobody waits any more the result is of no interest.
            let _ = ended.send(result);
        })?;
    end.await
        .unwrap_or_else(|_| Err(io::Error::other("the session's thread panicked")))
}

impl Session {
    async fn read_frames(self: &Arc<Self>, mut reader: Reader) -> io::Result<()> {
        let directories = self.shared.export.hold();
        loop {
            if !reader.has_frame() || !self.writer.has_room() {
                directories.release();
                self.writer.uncork();
                self.writer.room().await;
            }
            let limit = match self.msize.load(Ordering::Relaxed) {
                0 => MSIZE_MIN,
                msize => msize,
            };
            // What is under way elsewhere needs the processors more.
            let alone = self.pending.is_empty();
            let frame = reader.next(limit, alone, &self.shared.budget).await?;
            if let (Some(frame), Some(counters)) = (&frame, &self.shared.counters) {
                counters.request(frame.size());
            }
            match frame {
                None => return Ok(()),
                Some(Frame::TooLong { tag, size }) => {
                    tracing::warn!(size, limit, "a frame is longer than the session's msize");
                    self.refuse(tag, Errno::MSGSIZE);
                }
                Some(Frame::Small(frame)) if frame[4] == TMEMORY => {
                    let tag = u16::from_le_bytes([frame[5], frame[6]]);
                    let given = reader.take_descriptor();
                    self.take_memory(tag, given);
                }
                Some(Frame::Small(frame)) => {
                    let decoded = wire::decode_request(frame);
                    // Replies before one that takes longer leave at once, and so does its own.
                    match decoded
                        .as_ref()
                        .is_ok_and(|request| is_swift(&request.call))
                    {
                        true => self.writer.cork(),
                        false => self.writer.uncork(),
                    }
                    match decoded {
                        Err(error) => self.undecodable(frame, &error),
                        Ok(request) if self.is_brief(&request) => self.perform(request, frame),
                        Ok(mut request) => {
                            let body = request.payload.take().map(|place| frame[place].to_vec());
                            request.payload = body.as_ref().map(|body| 0..body.len());
                            self.start(request, body.unwrap_or_default(), None).await;
                        }
                    }
                }
                Some(Frame::Large { frame, permit }) => match wire::decode_request(&frame) {
                    Err(error) => self.undecodable(&frame, &error),
                    // The frame itself is handed on, so that what it carries is not copied.
                    Ok(request) => self.start(request, frame, Some(permit)).await,
                },
            }
        }
    }

    /// Maps what the client shares; the first is kept.
    fn take_memory(&self, tag: u16, given: Option<OwnedFd>) {
        let memory = given.and_then(|fd| SharedMemory::of(fd).ok());
        if memory.is_some_and(|memory| self.memory.set(memory).is_ok()) {
            let reply = Reply::Shared {
                kind: RMEMORY,
                count: 0,
            };
            self.writer.send(wire::encode_reply(tag, reply), None);
        } else {
            self.refuse(tag, Errno::INVAL);
        }
    }

    fn undecodable(&self, frame: &[u8], error: &DecodeError) {
        tracing::warn!(%error, "a frame could not be decoded");
        let errno = match error {
            DecodeError::Unknown(_) => Errno::OPNOTSUPP,
            DecodeError::Short(_) => Errno::PROTO,
            DecodeError::LongName(_) => Errno::NAMETOOLONG,
        };
        self.refuse(u16::from_le_bytes([frame[5], frame[6]]), errno);
    }

    fn refuse(&self, tag: u16, errno: Errno) {
        self.writer
            .send(wire::encode_reply(tag, error(errno)), None);
    }

    /// Does a brief request at once, on the reader's own task.
    fn perform(&self, request: Request, frame: &[u8]) {
        if self.pending.contains(request.tag) {
            return self.refuse(request.tag, Errno::INVAL);
        }
        let payload = request
            .payload
            .clone()
            .map_or(&[][..], |place| &frame[place]);
        let begun = is_large(&request).then(Instant::now);
        let reply = self.carry_out(&request, payload);
        if let Some(begun) = begun {
            self.haste.took(begun.elapsed());
        }
        self.writer.send(reply, None);
    }

    /// Starts a request that may take long; its payload lies in `body`.
    async fn start(
        self: &Arc<Self>,
        request: Request,
        body: Vec<u8>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        // What follows may wait, also for what held replies would give back when they leave.
        self.writer.uncork();
        match request.call {
            FCall::TVersion { msize, ref version } => {
                self.reset().await;
                let reply = self.version(msize, version);
                self.trace(&request, None, &reply, Instant::now());
                self.writer
                    .send(wire::encode_reply(request.tag, reply), None);
                return;
            }
            FCall::TFlush { oldtag } => return self.flush(request, oldtag),
            _ => {}
        }
        let Some(entry) = self.pending.enter(request.tag) else {
            return self.refuse(request.tag, Errno::INVAL);
        };
        if let FCall::TLock { fid, ref flock } = request.call {
            let flock = flock.clone();
            return self.lock(request, fid, flock, entry);
        }
        let turn = self.shared.budget.request().await;
        let room = match &request.call {
            FCall::TRead { .. } if request.shared.is_some() => None,
            FCall::TRead { count, .. } | FCall::TReadDir { count, .. } => {
                // What is sent is never more than the msize, whatever was asked for.
                let count = (*count).min(self.msize.load(Ordering::Relaxed));
                Some(self.shared.budget.reply(&self.share, count).await)
            }
            _ => None,
        };
        let session = self.clone();
        tokio::task::spawn_blocking(move || {
            if !entry.is_cancelled() {
                let payload = request
                    .payload
                    .clone()
                    .map_or(&[][..], |place| &body[place]);
                let reply = session.carry_out(&request, payload);
                entry.reply(|| session.writer.send(reply, room));
            }
            buffers::give(body);
            drop((permit, turn));
        });
    }

    /// Carries a request out; what comes back is the frame of its reply.
    fn carry_out(&self, request: &Request, payload: &[u8]) -> Vec<u8> {
        let begun = Instant::now();
        let fid = self
            .shared
            .trace
            .is_some()
            .then(|| self.traced_path(&request.call))
            .flatten();
        let reply = self.dispatch(request, payload).unwrap_or_else(error);
        self.trace(request, fid, &reply, begun);
        if let Some(counters) = &self.shared.counters {
            counters.busy(begun.elapsed());
            counters.shared(&reply);
        }
        let msize = self.msize.load(Ordering::Relaxed) as usize;
        let frame = wire::encode_reply(request.tag, reply);
        if frame.len() > msize.max(MSIZE_MIN as usize) {
            return wire::encode_reply(request.tag, error(Errno::MSGSIZE));
        }
        frame
    }

    /// Tversion: what was agreed on. The session is fresh by now.
    fn version(&self, msize: u32, version: &str) -> Reply {
        if version != rs9p::P92000L {
            let version = rs9p::VERSION_UNKNOWN.to_owned();
            return Reply::Call(FCall::RVersion {
                msize: msize.min(MSIZE_MAX),
                version,
            });
        }
        if msize < MSIZE_MIN {
            return error(Errno::MSGSIZE);
        }
        let msize = msize.min(MSIZE_MAX);
        self.msize.store(msize, Ordering::Relaxed);
        Reply::Call(FCall::RVersion {
            msize,
            version: version.to_owned(),
        })
    }

    /// Tflush: the reply follows the end of the request that it names.
    fn flush(self: &Arc<Self>, request: Request, old: u16) {
        let begun = Instant::now();
        let session = self.clone();
        let finish = move || {
            let reply = Reply::Call(FCall::RFlush);
            session.trace(&request, None, &reply, begun);
            session
                .writer
                .send(wire::encode_reply(request.tag, reply), None);
        };
        match self.pending.cancel(old) {
            None => finish(),
            Some(ended) => {
                let session = self.clone();
                tokio::spawn(async move {
                    let _turn = session.shared.budget.request().await;
                    ended.wait().await;
                    finish();
                });
            }
        }
    }

    /// Tlock: tried at once, and where the client wants to wait, again whenever a lock was released.
    fn lock(self: &Arc<Self>, request: Request, fid: u32, flock: Flock, entry: Entry) {
        let begun = Instant::now();
        let session = self.clone();
        tokio::spawn(async move {
            let path = session
                .shared
                .trace
                .is_some()
                .then(|| session.traced_path(&request.call))
                .flatten();
            let reply = loop {
                let released = session.shared.export.lock_released();
                tokio::pin!(released);
                released.as_mut().enable();
                let attempt = session.fids.get(fid).ok_or(Errno::NOENT);
                match attempt.and_then(|fid| session.shared.export.lock(session.id, &fid, &flock)) {
                    Ok(LockAnswer::Done(call)) => break Reply::Call(call),
                    Err(errno) => break error(errno),
                    Ok(LockAnswer::Wait) => {}
                }
                tokio::select! {
                    () = &mut released => {}
                    () = tokio::time::sleep(LOCK_RETRY) => {}
                    () = entry.cancelled() => return drop(entry),
                }
            };
            session.trace(&request, path, &reply, begun);
            let frame = wire::encode_reply(request.tag, reply);
            entry.reply(|| session.writer.send(frame, None));
        });
    }

    /// Ends every request and every fid, as Tversion and the end of the connection want it.
    async fn reset(&self) {
        self.pending.cancel_all().await;
        for fid in self.fids.take_all() {
            // Nobody is left to tell of an attribute that could not be set.
            let _ = self.shared.export.clunk(&fid);
        }
    }

    fn traced_path(&self, call: &FCall) -> Option<String> {
        let fid = call.fids().first().copied()?;
        Some(self.fids.get(fid)?.display_path())
    }

    fn trace(&self, request: &Request, path: Option<String>, reply: &Reply, begun: Instant) {
        if let Some(trace) = &self.shared.trace {
            trace.message(self.id, request, path, reply, begun);
        }
    }

    /// Whether a request is done in the time of a few system calls that wait for nothing but memory, as a rule.
    fn is_brief(&self, request: &Request) -> bool {
        const TRUNCATE: u32 = 0o1000;
        if is_large(request) {
            return self.haste.pays();
        }
        let small = |fid: u32, name: Option<&String>| {
            let name = name.map(|name| wire::to_wire(name));
            // Who names an unknown fid is told so at once.
            let fid = self.fids.get(fid);
            fid.is_none_or(|fid| self.shared.export.is_small(&fid, name.as_deref()))
        };
        match &request.call {
            FCall::TVersion { .. }
            | FCall::TFlush { .. }
            | FCall::TLock { .. }
            | FCall::TFSync { .. } => false,
            FCall::TUnlinkAt { dirfd, name, .. } => small(*dirfd, Some(name)),
            FCall::TRemove { fid } => small(*fid, None),
            // What had the new name is removed.
            FCall::TRename { dfid, name, .. } => small(*dfid, Some(name)),
            FCall::TRenameAt {
                newdirfid, newname, ..
            } => small(*newdirfid, Some(newname)),
            FCall::TSetAttr { fid, valid, .. } => {
                !valid.contains(rs9p::SetAttrMask::SIZE) || small(*fid, None)
            }
            FCall::TlOpen { fid, flags } => flags & TRUNCATE == 0 || small(*fid, None),
            FCall::TRead { count, .. } => *count as usize <= SMALL,
            FCall::TWrite { .. } => request
                .payload
                .as_ref()
                .is_none_or(|place| place.len() <= SMALL),
            _ => true,
        }
    }
}

/// The most bytes that are read or written, through the socket, on the reader's own thread.
const SMALL: usize = 64 << 10;

/// Whether a request is done at once where that takes about as long as to wake another thread for it: data that go through
/// shared memory, and more of a directory than a small read has.
fn is_large(request: &Request) -> bool {
    match request.call {
        FCall::TReadDir { count, .. } => count as usize > SMALL,
        _ => request.shared.is_some(),
    }
}

/// Whether a request changes nothing that the host's file system would have to think about.
fn is_swift(call: &FCall) -> bool {
    matches!(
        call,
        FCall::TWalk { .. }
            | FCall::TGetAttr { .. }
            | FCall::TClunk { .. }
            | FCall::TRead { .. }
            | FCall::TWrite { .. }
            | FCall::TReadLink { .. }
            | FCall::TStatFs { .. }
            | FCall::TGetLock { .. }
    )
}

fn error(errno: Errno) -> Reply {
    Reply::Call(FCall::RlError {
        ecode: errno.raw_os_error() as u32,
    })
}
