//! Moving frames: tags, one writer at a time, and replies handed to whom they belong.
//!
//! There is no reader thread. Whoever waits first reads for all: it hands each reply to its owner, and when its
//! own has come it passes the reading on to another who waits. So a single request in flight costs no more
//! context switches than a plain write and read, and many in flight overlap.

use std::{
    collections::HashMap,
    os::fd::{BorrowedFd, OwnedFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use super::{
    ClientError,
    frames::{FrameReader, FrameWriter, Sent},
    wire::{self, Encoder, kind},
};

/// Replies that nobody waits for are allowed up to this many, so that they always fit the socket's buffers.
const MAX_DETACHED: usize = 64;

/// A connection to a 9P server, shared by any number of threads.
#[derive(Debug)]
pub struct Connection {
    stream: Arc<OwnedFd>,
    writer: Mutex<FrameWriter>,
    reader: Mutex<FrameReader>,
    state: Mutex<State>,
    /// Largest frame that the server may send.
    max_frame: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<u16, Slot>,
    next_tag: u16,
    /// Somebody reads from the connection.
    led: bool,
    /// Why the connection is no more.
    lost: Option<String>,
    detached: usize,
    next_fid: u32,
    free_fids: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    fate: Fate,
    wake: Arc<Condvar>,
    waiting: bool,
}

#[derive(Debug)]
enum Fate {
    /// No reply yet. Rread's data goes into the sink, if there is one.
    Pending(Option<Sink>),
    /// The reply is being read into its place.
    Arriving,
    /// The reply is there.
    Done(Reply),
    /// Nobody waits; when the reply comes, this fid is free again.
    Detached(Option<u32>),
}

/// Where Rread's data goes. Several requests in flight may fill parts of one buffer; whoever reads for all is the
/// only one to touch it.
#[derive(Debug)]
pub(super) struct Sink {
    /// Grows as needed, and never shrinks.
    pub buffer: Arc<Mutex<Vec<u8>>>,
    /// The data is put here.
    pub at: usize,
}

/// A reply, taken apart as far as its header.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Message type.
    pub kind: u8,
    /// What follows the header, unless it went into `data`.
    pub body: Vec<u8>,
    /// How many bytes of Rread's data went into the sink.
    pub data: Option<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves nothing half done that the next user would trip over.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// Takes over a connected stream socket. `max_frame` is the largest reply, in bytes, to accept until
    /// [`Connection::set_max_frame`] says otherwise.
    pub fn new(stream: OwnedFd, max_frame: u32) -> Arc<Connection> {
        let stream = Arc::new(stream);
        Arc::new(Connection {
            writer: Mutex::new(FrameWriter::new(Arc::clone(&stream))),
            reader: Mutex::new(FrameReader::new(Arc::clone(&stream))),
            stream,
            state: Mutex::new(State::default()),
            max_frame: AtomicU32::new(max_frame),
        })
    }

    /// Sets the largest frame to accept, in bytes: the negotiated msize.
    pub fn set_max_frame(&self, max_frame: u32) {
        self.max_frame.store(max_frame, Ordering::Relaxed);
    }

    /// How many requests have no reply yet.
    pub fn in_flight(&self) -> usize {
        lock(&self.state).slots.len()
    }

    /// Why the connection was lost, if it was.
    pub fn lost(&self) -> Option<String> {
        lock(&self.state).lost.clone()
    }

    /// Ends the connection: everyone who waits gets EIO.
    pub fn shut_down(&self, why: &str) {
        self.fail(why.to_owned());
    }

    /// Waits until the server has closed the connection, or [`Connection::shut_down`] has.
    pub fn wait_closed(&self) {
        // Not POLLIN: replies come all the time. An end is told whatever was asked for, half an end by RDHUP.
        let mut fds = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        while poll(&mut fds, None) == Err(Errno::INTR) {}
    }

    pub(super) fn allocate_fid(&self) -> u32 {
        let mut state = lock(&self.state);
        state.free_fids.pop().unwrap_or_else(|| {
            let fid = state.next_fid;
            state.next_fid += 1;
            fid
        })
    }

    pub(super) fn free_fid(&self, fid: u32) {
        lock(&self.state).free_fids.push(fid);
    }

    /// Fids that the client has in use.
    pub(super) fn fids_in_use(&self) -> u32 {
        let state = lock(&self.state);
        state.next_fid - u32::try_from(state.free_fids.len()).unwrap_or(0)
    }

    /// Sends a request and does not wait: `frame` with its `payload` behind it.
    pub(super) fn submit(
        self: &Arc<Self>,
        frame: Vec<u8>,
        payload: &[u8],
        data: Option<Sink>,
    ) -> Result<Pending, ClientError> {
        let tag = self.send(frame, payload, Fate::Pending(data))?;
        Ok(self.pending(tag))
    }

    /// Sends a request whose reply nobody waits for; `fid` is free when it has come.
    pub(super) fn submit_detached(
        self: &Arc<Self>,
        frame: Vec<u8>,
        fid: Option<u32>,
    ) -> Result<(), ClientError> {
        let crowded = {
            let mut state = lock(&self.state);
            let crowded = state.detached >= MAX_DETACHED;
            if !crowded {
                state.detached += 1;
            }
            crowded
        };
        if crowded {
            self.submit(frame, &[], None)?.wait()?;
            if let Some(fid) = fid {
                self.free_fid(fid);
            }
            return Ok(());
        }
        self.send(frame, &[], Fate::Detached(fid)).map(drop)
    }

    /// Sends several requests, none of which has a payload, in one go.
    pub(super) fn submit_all(
        self: &Arc<Self>,
        frames: Vec<Vec<u8>>,
    ) -> Result<Vec<Pending>, ClientError> {
        let mut pending = Vec::with_capacity(frames.len());
        let mut all = Vec::with_capacity(frames.iter().map(Vec::len).sum());
        for mut frame in frames {
            let tag = self.enter(&mut frame, Fate::Pending(None))?;
            pending.push(self.pending(tag));
            all.extend_from_slice(&frame);
        }
        if let Err(why) = self.write(&all, &[]) {
            self.fail(why.clone());
            return Err(ClientError::Lost(why));
        }
        Ok(pending)
    }

    /// Sends a request without payload that a descriptor goes with, over a connection that has nothing in flight.
    pub(super) fn submit_with(
        self: &Arc<Self>,
        mut frame: Vec<u8>,
        descriptor: BorrowedFd<'_>,
    ) -> Result<Pending, ClientError> {
        let tag = self.enter(&mut frame, Fate::Pending(None))?;
        let outcome = lock(&self.writer).send_with(&frame, descriptor);
        self.sent(tag, outcome)?;
        Ok(self.pending(tag))
    }

    fn pending(self: &Arc<Self>, tag: u16) -> Pending {
        Pending {
            conn: Arc::clone(self),
            tag: Some(tag),
        }
    }

    fn send(&self, mut frame: Vec<u8>, payload: &[u8], fate: Fate) -> Result<u16, ClientError> {
        let tag = self.enter(&mut frame, fate)?;
        let outcome = self.write(&frame, payload);
        self.sent(tag, outcome)?;
        Ok(tag)
    }

    /// A request that could not be sent has no reply, and the connection is of no use any more.
    fn sent(&self, tag: u16, outcome: Result<(), String>) -> Result<(), ClientError> {
        outcome.map_err(|why| {
            self.fail(why.clone());
            lock(&self.state).slots.remove(&tag);
            ClientError::Lost(why)
        })
    }

    /// Gives a request a tag, by which its reply will be known.
    fn enter(&self, frame: &mut [u8], fate: Fate) -> Result<u16, ClientError> {
        let is_version = frame[4] == kind::TVERSION;
        let tag = {
            let mut state = lock(&self.state);
            if let Some(why) = &state.lost {
                return Err(ClientError::Lost(why.clone()));
            }
            let tag = if is_version {
                wire::NOTAG
            } else {
                state.free_tag()?
            };
            state.slots.insert(
                tag,
                Slot {
                    fate,
                    wake: Arc::new(Condvar::new()),
                    waiting: false,
                },
            );
            tag
        };
        frame[5..7].copy_from_slice(&tag.to_le_bytes());
        Ok(tag)
    }

    fn write(&self, frame: &[u8], payload: &[u8]) -> Result<(), String> {
        let mut writer = lock(&self.writer);
        writer.start(frame.len() + payload.len());
        loop {
            match writer.advance(frame, payload)? {
                Sent::All => return Ok(()),
                // The server may be waiting for us to take replies before it reads on.
                Sent::WouldBlock => {
                    let mut state = lock(&self.state);
                    if let Some(why) = &state.lost {
                        return Err(why.clone());
                    }
                    let lead = !state.led;
                    state.led = true;
                    drop(state);
                    let readable = writer.wait(lead).inspect_err(|_| self.stop_leading(lead))?;
                    let read = if lead && readable {
                        self.read_one()
                    } else {
                        Ok(0)
                    };
                    self.stop_leading(lead);
                    read?;
                }
            }
        }
    }

    fn stop_leading(&self, led: bool) {
        if led {
            let mut state = lock(&self.state);
            state.led = false;
            state.wake_one();
        }
    }

    /// Waits for the reply to `tag`; `None` when `deadline` comes first.
    fn wait(&self, tag: u16, deadline: Option<Instant>) -> Result<Option<Reply>, ClientError> {
        let mut state = lock(&self.state);
        loop {
            let lost = state.lost.clone();
            let slot = state
                .slots
                .get_mut(&tag)
                .expect("a tag that is waited for has a slot");
            slot.waiting = false;
            match (&slot.fate, lost) {
                (Fate::Done(_), _) => {
                    let Some(Slot {
                        fate: Fate::Done(reply),
                        ..
                    }) = state.slots.remove(&tag)
                    else {
                        unreachable!("just seen to be done")
                    };
                    return Ok(Some(reply));
                }
                (Fate::Pending(_), Some(why)) => {
                    state.slots.remove(&tag);
                    return Err(ClientError::Lost(why));
                }
                _ => {}
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return Ok(None);
            }
            if !state.led {
                state.led = true;
                drop(state);
                let outcome = self.lead(tag, deadline);
                state = lock(&self.state);
                state.led = false;
                if let Err(why) = outcome {
                    state.fail(why);
                    self.close();
                } else {
                    state.wake_one();
                }
                continue;
            }
            let slot = state.slots.get_mut(&tag).expect("still there");
            slot.waiting = true;
            let wake = Arc::clone(&slot.wake);
            state = match deadline {
                None => wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    wake.wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    /// Reads replies for all until the one to `tag` has come or `deadline` has passed.
    fn lead(&self, tag: u16, deadline: Option<Instant>) -> Result<(), String> {
        loop {
            if deadline.is_some_and(|at| !lock(&self.reader).readable_by(at)) {
                return Ok(());
            }
            if self.read_one()? == tag {
                return Ok(());
            }
        }
    }

    /// Reads one frame and hands it to its owner; returns its tag.
    fn read_one(&self) -> Result<u16, String> {
        let mut reader = lock(&self.reader);
        let (size, kind, tag) = reader.header(self.max_frame.load(Ordering::Relaxed))?;
        let data = {
            let mut state = lock(&self.state);
            let slot = state.slots.get_mut(&tag).ok_or_else(|| {
                format!("the server replied to tag {tag}, which was not in flight")
            })?;
            match &mut slot.fate {
                Fate::Pending(data) => {
                    let data = data.take();
                    slot.fate = Fate::Arriving;
                    data
                }
                Fate::Detached(_) => None,
                Fate::Arriving | Fate::Done(_) => {
                    return Err(format!("the server replied twice to tag {tag}"));
                }
            }
        };
        let mut reply = Reply {
            kind,
            body: Vec::new(),
            data: None,
        };
        let mut left = size - wire::HEADER;
        match data {
            Some(sink) if kind == kind::TREAD + 1 && left >= 4 => {
                let mut count = [0; 4];
                reader.fill(&mut count)?;
                left -= 4;
                if u32::from_le_bytes(count) as usize != left {
                    return Err("the server sent an Rread whose count is not its length".into());
                }
                let end = sink.at + left;
                let mut buffer = lock(&sink.buffer);
                if buffer.len() < end {
                    buffer.resize(end, 0);
                }
                reader.fill(&mut buffer[sink.at..end])?;
                reply.data = Some(left);
            }
            _ => {
                reply.body = vec![0; left];
                reader.fill(&mut reply.body)?;
            }
        }
        drop(reader);
        let mut state = lock(&self.state);
        if let Some(slot) = state.slots.get_mut(&tag) {
            if let Fate::Detached(fid) = slot.fate {
                state.slots.remove(&tag);
                state.detached = state.detached.saturating_sub(1);
                state.free_fids.extend(fid);
            } else {
                slot.fate = Fate::Done(reply);
                slot.wake.notify_one();
            }
        }
        Ok(tag)
    }

    fn fail(&self, why: String) {
        lock(&self.state).fail(why);
        self.close();
    }

    /// Wakes whoever reads or writes, and tells the server. It may be closed already.
    fn close(&self) {
        let _ = rustix::net::shutdown(&*self.stream, rustix::net::Shutdown::Both);
    }
}

impl State {
    fn free_tag(&mut self) -> Result<u16, ClientError> {
        for _ in 0..wire::NOTAG {
            let tag = self.next_tag;
            self.next_tag = (self.next_tag + 1) % wire::NOTAG;
            if !self.slots.contains_key(&tag) {
                return Ok(tag);
            }
        }
        Err(ClientError::TooLarge(
            "65535 requests are in flight already",
        ))
    }

    fn fail(&mut self, why: String) {
        self.lost.get_or_insert(why);
        self.slots
            .retain(|_, slot| !matches!(slot.fate, Fate::Detached(_)));
        for slot in self.slots.values_mut() {
            if matches!(slot.fate, Fate::Arriving) {
                slot.fate = Fate::Pending(None);
            }
            slot.wake.notify_all();
        }
    }

    fn wake_one(&self) {
        if let Some(slot) = self
            .slots
            .values()
            .find(|slot| slot.waiting && matches!(slot.fate, Fate::Pending(_)))
        {
            slot.wake.notify_one();
        }
    }
}

/// A request in flight. Dropping it leaves the request to finish by itself.
#[derive(Debug)]
pub struct Pending {
    conn: Arc<Connection>,
    /// `None` once its end is known.
    tag: Option<u16>,
}

impl Pending {
    pub(super) fn wait(mut self) -> Result<Reply, ClientError> {
        let tag = self.tag.take().expect("taken only here, by value");
        let reply = self.conn.wait(tag, None)?;
        Ok(reply.expect("without a deadline there is a reply or an error"))
    }

    /// Waits until `stop` says that the reply is not wanted any more, which is asked every `interval`; then
    /// flushes the request, and waits for the server's word on that.
    pub(super) fn wait_unless(
        mut self,
        interval: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<Reply, ClientError> {
        let tag = self.tag.take().expect("taken only here, by value");
        loop {
            if let Some(reply) = self.conn.wait(tag, Some(Instant::now() + interval))? {
                return Ok(reply);
            }
            if stop() {
                break;
            }
        }
        let flush = Encoder::new(kind::TFLUSH).u16(tag).finish(0);
        self.conn.submit(flush, &[], None)?.wait()?;
        // Rflush ends the old request: its reply has come before, or never comes.
        let mut state = lock(&self.conn.state);
        match state.slots.remove(&tag) {
            Some(Slot {
                fate: Fate::Done(reply),
                ..
            }) => Ok(reply),
            _ => Err(ClientError::Flushed),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(tag) = self.tag else { return };
        let mut state = lock(&self.conn.state);
        match state.slots.get_mut(&tag).map(|slot| &mut slot.fate) {
            Some(Fate::Done(_)) => {
                state.slots.remove(&tag);
            }
            Some(fate) => {
                *fate = Fate::Detached(None);
                state.detached += 1;
            }
            None => {}
        }
    }
}
