//! Replies into a stream, from any thread.
//!
//! A reply is written by the thread that made it, as far as the stream takes it at once. What it does not take
//! waits in order for a task that writes when there is room; only then does tokio watch the stream, since it would
//! wake a thread for everything that comes and goes. While the reader works off frames that came in
//! together, replies are held back, so that they leave in few system calls; not for long, so that the client takes up
//! the first while the last are made.

use std::{
    collections::VecDeque,
    io::IoSlice,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
};

use super::{counters::Counters, limits::Room};
use crate::wire::buffers;

/// Replies held back at most, and written in one system call.
const BATCH: usize = 64;

/// How long a reply is held back at most, once the next is there: some system calls. Client and server then work at
/// the same time, where they would wait for each other's whole batch.
const HELD: Duration = Duration::from_micros(10);

/// Bytes that may wait before no further requests are read.
const WAITING: usize = 1 << 20;

/// Room in a unix socket for several large replies, so that they leave at once and nobody is woken for what is left over.
/// TCP finds its own measure.
const SENT: usize = 1 << 20;

/// Gives a stream that room, as far as the system allows it.
pub(super) fn widen(stream: &OwnedFd) {
    use rustix::net::{AddressFamily, sockopt};
    if sockopt::socket_domain(stream) == Ok(AddressFamily::UNIX)
        && sockopt::set_socket_send_buffer_size_force(stream, SENT).is_err()
    {
        let _ = sockopt::set_socket_send_buffer_size(stream, SENT);
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    stream: Arc<OwnedFd>,
    counters: Option<Counters>,
    queue: Mutex<Queue>,
    /// There is something to write that the stream did not take.
    wake: Notify,
    /// Something was written.
    wrote: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    replies: VecDeque<(Vec<u8>, Option<Room>)>,
    /// Bytes of the first reply that were written.
    written: usize,
    bytes: usize,
    corked: bool,
    /// Since when the first of the replies that are held back is.
    since: Option<Instant>,
    closed: bool,
}

impl Queue {
    /// Writes as much as the stream takes.
    fn write(&mut self, stream: &OwnedFd) -> Result<(), Errno> {
        while !self.replies.is_empty() {
            let mut slices = Vec::with_capacity(self.replies.len().min(BATCH));
            for (index, (reply, _)) in self.replies.iter().take(BATCH).enumerate() {
                slices.push(IoSlice::new(if index == 0 {
                    &reply[self.written..]
                } else {
                    reply
                }));
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(stream, &slices, &mut SendAncillaryBuffer::default(), flags) {
                Ok(count) => self.advance(count),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn advance(&mut self, count: usize) {
        self.bytes -= count;
        let mut left = self.written + count;
        while let Some((reply, _)) = self.replies.front() {
            if left < reply.len() {
                break;
            }
            left -= reply.len();
            if let Some((reply, _)) = self.replies.pop_front() {
                buffers::give(reply);
            }
        }
        self.written = left;
    }

    /// Gives up: the other end is gone.
    fn fail(&mut self) {
        *self = Queue {
            closed: true,
            ..Queue::default()
        };
    }
}

impl Writer {
    pub fn new(stream: Arc<OwnedFd>, counters: Option<Counters>) -> Writer {
        Writer {
            stream,
            counters,
            queue: Mutex::default(),
            wake: Notify::new(),
            wrote: Notify::new(),
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }

    /// Sends a reply; its room is given back when it has left.
    pub fn send(&self, frame: Vec<u8>, room: Option<Room>) {
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        let first = queue.replies.is_empty();
        queue.bytes += frame.len();
        if let Some(counters) = &self.counters {
            counters.reply(frame.len());
        }
        queue.replies.push_back((frame, room));
        let hold = queue.corked
            && queue.replies.len() < BATCH
            && queue.since.get_or_insert_with(Instant::now).elapsed() < HELD;
        if (first || queue.corked) && !hold {
            self.write(&mut queue);
        }
    }

    /// Holds replies back from now on.
    pub fn cork(&self) {
        self.queue().corked = true;
    }

    /// Lets held replies go.
    pub fn uncork(&self) {
        let mut queue = self.queue();
        if std::mem::take(&mut queue.corked) {
            self.write(&mut queue);
        }
    }

    fn write(&self, queue: &mut Queue) {
        queue.since = None;
        match queue.write(&self.stream) {
            Ok(()) => {}
            Err(Errno::AGAIN) => self.wake.notify_one(),
            Err(_) => queue.fail(),
        }
        self.wrote.notify_waiters();
    }

    /// Whether the replies that wait are few enough to go on reading.
    pub fn has_room(&self) -> bool {
        self.queue().bytes < WAITING
    }

    /// Waits until [`Writer::has_room`].
    pub async fn room(&self) {
        self.until(|queue| queue.bytes < WAITING).await;
    }

    /// Waits until every reply has left.
    pub async fn flushed(&self) {
        self.uncork();
        self.until(|queue| queue.bytes == 0).await;
    }

    async fn until(&self, holds: impl Fn(&Queue) -> bool) {
        loop {
            let wrote = self.wrote.notified();
            if holds(&self.queue()) {
                return;
            }
            wrote.await;
        }
    }

    /// Drops what has not left, and ends [`Writer::drain`].
    pub fn close(&self) {
        self.queue().fail();
        self.wake.notify_one();
    }

    /// Writes, whenever the stream has room, what was left over. Ends when the writer is closed.
    pub async fn drain(&self) {
        loop {
            self.wake.notified().await;
            if !self.is_waiting() {
                if self.queue().closed {
                    return;
                }
                continue;
            }
            // SAFETY: an `OwnedFd` stays open, and the same descriptor, for as long as it is registered.
            let registered =
                unsafe { AsyncFd::register_with_interest(self.stream.clone(), Interest::WRITABLE) };
            let Ok(stream) = registered else {
                return self.give_up();
            };
            while self.is_waiting() {
                let ready = tokio::select! {
                    ready = stream.writable() => ready,
                    // There is more to write, or the end has come.
                    () = self.wake.notified() => continue,
                };
                let Ok(mut ready) = ready else {
                    return self.give_up();
                };
                let result = ready.try_io(|stream| {
                    let result = self.queue().write(stream.get_ref());
                    self.wrote.notify_waiters();
                    Ok(result?)
                });
                if matches!(result, Ok(Err(_))) {
                    return self.give_up();
                }
            }
            if self.queue().closed {
                return;
            }
        }
    }

    /// Whether there is something left to write, and somebody to read it.
    fn is_waiting(&self) -> bool {
        let queue = self.queue();
        !queue.closed && !queue.replies.is_empty()
    }

    fn give_up(&self) {
        self.queue().fail();
        self.wrote.notify_waiters();
    }
}
