//! From the guest's TCP connections to our stream sockets and back.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use nix::poll::PollFlags;
use smoltcp::{
    socket::tcp::{Socket, SocketBuffer, State},
    time::Duration,
};

/// Bytes that a connection may hold in each direction: more than a 9P message of the largest msize.
const BUFFER: usize = 1 << 20;

/// How long the guest may wait to hear that its bytes came, in milliseconds. The answer that the server gives
/// says so too, and mostly comes first: then the guest has one interrupt for both.
const ACK_DELAY: u64 = 10;

/// One TCP port of ours, and the stream that whoever connects to it gets.
#[derive(Debug)]
pub struct Relay {
    stream: UnixStream,
    /// Whether the stream may hold bytes for the guest.
    readable: bool,
    /// Whether the stream has ended towards the guest.
    ended: bool,
    /// Whether the stream's other end is closed; what it wrote before may still be there.
    hung_up: bool,
    /// Whether the guest's end was passed on to the stream.
    shut: bool,
    /// Whether the stream takes no more for now.
    full: bool,
}

impl Relay {
    /// A relay for a stream, and the listening socket of its port.
    ///
    /// # Errors
    /// The system's.
    pub fn new(stream: UnixStream, port: u16) -> io::Result<(Relay, Socket<'static>)> {
        stream.set_nonblocking(true)?;
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        // Requests are small and waited for.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(Some(Duration::from_millis(ACK_DELAY)));
        socket
            .listen(port)
            .map_err(|err| io::Error::other(err.to_string()))?;
        let relay = Relay {
            stream,
            readable: false,
            ended: false,
            hung_up: false,
            shut: false,
            full: false,
        };
        Ok((relay, socket))
    }

    /// Tells what `poll` said of the stream.
    pub fn ready(&mut self, seen: PollFlags) {
        self.readable |= seen.intersects(PollFlags::POLLIN | PollFlags::POLLHUP);
        self.hung_up |= seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
        self.full &= !seen.intersects(PollFlags::POLLOUT | PollFlags::POLLERR);
    }

    /// Moves what can be moved; says whether anything was.
    pub fn pump(&mut self, socket: &mut Socket) -> bool {
        let mut moved = self.pass_in(socket);
        // Only once somebody is connected: what comes before is kept for them.
        moved |= self.pass_out(socket);
        if self.ended && socket.may_send() {
            socket.close();
            moved = true;
        }
        let guest_ended = matches!(
            socket.state(),
            State::CloseWait | State::LastAck | State::TimeWait | State::Closed
        );
        if guest_ended && !socket.can_recv() && !self.shut {
            self.shut = true;
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        moved
    }

    /// From the guest to the stream.
    fn pass_in(&mut self, socket: &mut Socket) -> bool {
        let mut moved = false;
        while socket.can_recv() && !self.full {
            let (stream, full) = (&mut self.stream, &mut self.full);
            let passed = socket.recv(|bytes| match stream.write(bytes) {
                Ok(written) => {
                    *full = written < bytes.len();
                    (written, written)
                }
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    *full = true;
                    (0, 0)
                }
                // Nobody reads any more: the guest's bytes are for nobody.
                Err(_) => (bytes.len(), bytes.len()),
            });
            moved |= passed.is_ok_and(|bytes| bytes > 0);
        }
        moved
    }

    /// From the stream to the guest.
    fn pass_out(&mut self, socket: &mut Socket) -> bool {
        let mut moved = false;
        while self.readable && socket.can_send() && !self.ended {
            let (stream, readable, ended) = (&mut self.stream, &mut self.readable, &mut self.ended);
            let passed = socket.send(|room| match stream.read(room) {
                Ok(0) if !room.is_empty() => {
                    *ended = true;
                    (0, 0)
                }
                Ok(came) => {
                    *readable = came == room.len();
                    (came, came)
                }
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    *readable = false;
                    (0, 0)
                }
                Err(_) => {
                    *ended = true;
                    (0, 0)
                }
            });
            match passed {
                Ok(bytes) => moved |= bytes > 0,
                Err(_) => break,
            }
        }
        moved
    }

    /// Its stream, and what to wait for there.
    pub fn interest(&self, socket: &Socket) -> (BorrowedFd<'_>, PollFlags) {
        let mut flags = PollFlags::empty();
        if socket.can_send() && !self.ended {
            flags |= PollFlags::POLLIN;
        }
        if self.full {
            flags |= PollFlags::POLLOUT;
        }
        (self.stream.as_fd(), flags)
    }

    /// Whether `poll` can tell anything new of the stream: of one whose other end is closed it would say so without
    /// end.
    pub fn is_watched(&self) -> bool {
        !self.ended && !self.hung_up
    }
}
