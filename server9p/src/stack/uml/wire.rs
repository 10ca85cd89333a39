//! The guest's Ethernet, which ends in this process.
//!
//! UML's vector driver sends and receives whole frames on a socket pair; smoltcp is the host at the other
//! end. Nothing of the real host's network takes part.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smoltcp::{
    phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};

/// The largest IP packet on the link, in bytes. Large, because a unix socket holds few datagrams of whatever
/// size (`net.unix.max_dgram_qlen`), and because every one costs the guest an interrupt.
pub const MTU: usize = 32 << 10;
const ETHERNET_HEADER: usize = 14;

/// Our end of the guest's Ethernet.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    received: Vec<u8>,
    to_send: Vec<u8>,
}

impl Wire {
    /// The wire whose frames travel on this socket, which must not block.
    pub fn new(socket: OwnedFd) -> Wire {
        Wire {
            socket,
            received: vec![0; MTU + ETHERNET_HEADER],
            to_send: vec![0; MTU + ETHERNET_HEADER],
        }
    }

    /// Its socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether a frame can be sent now.
    pub fn writable(&self) -> bool {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

impl Device for Wire {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        // SAFETY: receives into a buffer of the length given.
        let length = unsafe {
            libc::recv(
                self.socket.as_raw_fd(),
                self.received.as_mut_ptr().cast(),
                self.received.len(),
                libc::MSG_DONTWAIT,
            )
        };
        // Nothing there, or the guest is gone, which whoever waits for its process learns.
        let length = usize::try_from(length).ok().filter(|&length| length > 0)?;
        let sending = Sending {
            socket: self.socket.as_fd(),
            buffer: &mut self.to_send,
        };
        Some((Received(&self.received[..length]), sending))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        // A frame that the socket does not take now would be lost, and be sent again only much later.
        self.writable().then(|| Sending {
            socket: self.socket.as_fd(),
            buffer: &mut self.to_send,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU + ETHERNET_HEADER;
        // What arrives was never on a real wire.
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
    buffer: &'a mut Vec<u8>,
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let frame = &mut self.buffer[..length];
        let result = f(frame);
        // SAFETY: sends from a buffer of the length given.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                length,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if sent < 0 {
            // As on any Ethernet, TCP sends again what was lost.
            tracing::debug!(
                "a frame to the guest was lost: {}",
                io::Error::last_os_error()
            );
        }
        result
    }
}
