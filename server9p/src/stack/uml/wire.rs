//! The guest's Ethernet, which ends in this process.
//!
//! UML's vector driver sends and receives whole frames on a socket pair; smoltcp is the host at the other
//! end. Nothing of the real host's network takes part. Every system call here is one that a request of the
//! guest's waits for, so none is made to learn what is known: whether there are frames to take, or room for
//! one, is what `poll` said last.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr,
};

use smoltcp::{
    phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};

/// The largest IP packet on the link, in bytes. Large, because every one costs the guest an interrupt; and with
/// what Linux and the driver add to it, just below the size of one of Linux's blocks of memory.
pub const MTU: usize = (32 << 10) - 512;
const ETHERNET_HEADER: usize = 14;
const FRAME: usize = MTU + ETHERNET_HEADER;
/// How many frames are taken at once: a 9P message of the largest msize.
const BATCH: usize = 16;

/// Our end of the guest's Ethernet.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    received: Batch,
    /// Whether there may be frames that were not taken yet.
    readable: bool,
    outgoing: Outgoing,
}

/// Frames that came, as many as one system call takes.
#[derive(Debug)]
struct Batch {
    bytes: Vec<u8>,
    lengths: [usize; BATCH],
    count: usize,
    next: usize,
}

/// What is sent.
#[derive(Debug)]
struct Outgoing {
    frame: Vec<u8>,
    /// A frame that the socket had no room for.
    held: Vec<u8>,
}

impl Wire {
    /// The wire whose frames travel on this socket, which must not block.
    pub fn new(socket: OwnedFd) -> Wire {
        Wire {
            socket,
            received: Batch {
                bytes: vec![0; BATCH * FRAME],
                lengths: [0; BATCH],
                count: 0,
                next: 0,
            },
            readable: false,
            outgoing: Outgoing {
                frame: vec![0; FRAME],
                held: Vec::new(),
            },
        }
    }

    /// Its socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Tells that frames came.
    pub fn frames_came(&mut self) {
        self.readable = true;
    }

    /// Whether a frame waits for room.
    pub fn is_full(&self) -> bool {
        !self.outgoing.held.is_empty()
    }

    /// Tells that there is room for a frame again.
    pub fn room_came(&mut self) {
        if self.is_full() && send(self.socket.as_fd(), &self.outgoing.held) {
            self.outgoing.held.clear();
        }
    }
}

impl Batch {
    /// Takes the frames that are there; says whether there may be more.
    fn fill(&mut self, socket: BorrowedFd) -> bool {
        (self.next, self.count) = (0, 0);
        let mut pieces: [libc::iovec; BATCH] = [libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: FRAME,
        }; BATCH];
        // SAFETY: all zeroes is a message without an address, pieces or control data.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let frames = self.bytes.chunks_exact_mut(FRAME);
        for ((piece, message), frame) in pieces.iter_mut().zip(&mut messages).zip(frames) {
            piece.iov_base = frame.as_mut_ptr().cast();
            message.msg_hdr.msg_iov = piece;
            message.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: every message has one piece, which lies in a buffer of its own and lives through the call.
        let came = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let came = usize::try_from(came).unwrap_or(0);
        for (length, message) in self.lengths.iter_mut().zip(&messages[..came]) {
            // The guest is gone, which whoever waits for its process learns.
            if message.msg_len == 0 {
                return false;
            }
            *length = message.msg_len as usize;
            self.count += 1;
        }
        self.count == BATCH
    }
}

/// Sends a frame; says whether it is off, or lost, and not waiting for room.
fn send(socket: BorrowedFd, frame: &[u8]) -> bool {
    // SAFETY: sends from a buffer of the length given.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    sent >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock
}

impl Device for Wire {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        let batch = &mut self.received;
        if batch.next == batch.count {
            if !self.readable {
                return None;
            }
            self.readable = batch.fill(self.socket.as_fd());
            if batch.count == 0 {
                return None;
            }
        }
        let at = batch.next;
        batch.next += 1;
        let frame = &batch.bytes[at * FRAME..][..batch.lengths[at]];
        let sending = Sending {
            socket: self.socket.as_fd(),
            outgoing: &mut self.outgoing,
        };
        Some((Received(frame), sending))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        // A frame that the socket does not take now would be lost, and be sent again only much later.
        (!self.is_full()).then_some(Sending {
            socket: self.socket.as_fd(),
            outgoing: &mut self.outgoing,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        // What arrives was never on a real wire. The guest does look at what it gets: its driver knows of no
        // offload on a plain descriptor.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

/// A frame that came.
#[derive(Debug)]
pub struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Leave to send one frame.
#[derive(Debug)]
pub struct Sending<'a> {
    socket: BorrowedFd<'a>,
    outgoing: &'a mut Outgoing,
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let Outgoing { frame, held } = self.outgoing;
        let result = f(&mut frame[..length]);
        // Where one is held already this is an answer of ARP's or such, and is lost as on any Ethernet.
        if held.is_empty() && !send(self.socket, &frame[..length]) {
            held.extend_from_slice(&frame[..length]);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::FromRawFd;

    use super::*;

    fn pair() -> (Wire, OwnedFd) {
        let mut fds = [0; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: makes two descriptors in an array for two, which nothing else owns.
        let (ours, theirs) = unsafe {
            assert_eq!(
                libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()),
                0
            );
            (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
        };
        (Wire::new(ours), theirs)
    }

    fn take(wire: &mut Wire) -> Option<Vec<u8>> {
        let (frame, _) = wire.receive(Instant::ZERO)?;
        Some(frame.consume(<[u8]>::to_vec))
    }

    /// Whoever fills the socket's buffer must not make a frame of what another frame left in memory.
    #[test]
    fn frames_come_whole_in_order_and_more_than_one_batch_of_them() {
        let (mut wire, guest) = pair();
        let frames: Vec<Vec<u8>> = (0..BATCH + 3).map(|n| vec![n as u8; 20 + n]).collect();
        for frame in &frames {
            assert!(send(guest.as_fd(), frame));
        }
        assert_eq!(take(&mut wire), None, "nobody said that frames came");
        wire.frames_came();
        let came: Vec<Vec<u8>> = std::iter::from_fn(|| take(&mut wire)).collect();
        assert_eq!(came, frames);
    }

    #[test]
    fn the_end_of_the_guest_is_no_frame() {
        let (mut wire, guest) = pair();
        assert!(send(guest.as_fd(), b"the last frame"));
        drop(guest);
        wire.frames_came();
        assert_eq!(take(&mut wire).unwrap(), b"the last frame");
        assert_eq!(take(&mut wire), None);
    }

    #[test]
    fn a_frame_without_room_is_held_and_sent_when_there_is_room() {
        let (mut wire, guest) = pair();
        let mut sent = 0u32;
        while let Some(token) = wire.transmit(Instant::ZERO) {
            token.consume(MTU, |frame| frame[..4].copy_from_slice(&sent.to_le_bytes()));
            sent += 1;
        }
        assert!(wire.is_full());
        let mut guest = Wire::new(guest);
        guest.frames_came();
        let mut came: Vec<Vec<u8>> = std::iter::from_fn(|| take(&mut guest)).collect();
        wire.room_came();
        assert!(!wire.is_full());
        guest.frames_came();
        came.extend(std::iter::from_fn(|| take(&mut guest)));
        let numbers: Vec<u32> = came
            .iter()
            .map(|frame| u32::from_le_bytes(frame[..4].try_into().unwrap()))
            .collect();
        assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
    }
}
