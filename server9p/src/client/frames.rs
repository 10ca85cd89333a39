//! Bytes in and out of the socket, a frame at a time.

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg},
};

use super::wire;
use crate::patience::Patience;

/// Small replies are read with whatever follows them; what is larger than this goes straight to its place.
const BUFFER: usize = 16 * 1024;
const CLOSED: &str = "the server closed it";

/// Reads frames. One thread uses it at a time.
#[derive(Debug)]
pub(super) struct FrameReader {
    fd: Arc<OwnedFd>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    patience: Patience,
}

impl FrameReader {
    pub(super) fn new(fd: Arc<OwnedFd>) -> FrameReader {
        FrameReader {
            fd,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            patience: Patience::for_replies(),
        }
    }

    /// Reads a header: the frame's size, its type and its tag.
    pub(super) fn header(&mut self, max_frame: u32) -> Result<(usize, u8, u16), String> {
        if self.start == self.end {
            self.look()?;
        }
        let mut header = [0; wire::HEADER];
        self.fill(&mut header)?;
        let size = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        if (size as usize) < wire::HEADER || size > max_frame {
            return Err(format!(
                "the server sent a frame of {size} bytes; {} to {max_frame} are allowed",
                wire::HEADER
            ));
        }
        Ok((
            size as usize,
            header[4],
            u16::from_le_bytes([header[5], header[6]]),
        ))
    }

    /// Waits for a frame's first bytes, without sleeping where that pays.
    fn look(&mut self) -> Result<(), String> {
        (self.start, self.end) = (0, 0);
        let begun = Instant::now();
        let (fd, buffer) = (self.fd.as_fd(), &mut self.buffer[..]);
        let found = self
            .patience
            .look(|| attempt(fd, &mut *buffer, RecvFlags::DONTWAIT));
        self.end = found.unwrap_or_else(|| receive(fd, buffer))?;
        self.patience.waited(begun.elapsed());
        Ok(())
    }

    /// Fills `place`.
    pub(super) fn fill(&mut self, mut place: &mut [u8]) -> Result<(), String> {
        loop {
            let ready = (self.end - self.start).min(place.len());
            let (now, later) = place.split_at_mut(ready);
            now.copy_from_slice(&self.buffer[self.start..self.start + ready]);
            self.start += ready;
            if later.is_empty() {
                return Ok(());
            }
            place = later;
            if place.len() >= BUFFER {
                let got = receive(self.fd.as_fd(), place)?;
                place = &mut place[got..];
                if place.is_empty() {
                    return Ok(());
                }
            } else {
                self.start = 0;
                self.end = 0;
                self.end = receive(self.fd.as_fd(), &mut self.buffer)?;
            }
        }
    }

    /// Waits until there is something to read, or until `deadline`.
    pub(super) fn readable_by(&self, deadline: Instant) -> bool {
        if self.start < self.end {
            return true;
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or_default();
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Err(Errno::INTR) => {}
                Ok(0) => return false,
                // Reading tells what is wrong.
                _ => return true,
            }
        }
    }
}

fn receive(fd: BorrowedFd<'_>, place: &mut [u8]) -> Result<usize, String> {
    loop {
        if let Some(received) = attempt(fd, place, RecvFlags::empty()) {
            return received;
        }
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let _ = poll(&mut fds, None);
    }
}

/// Receives once; nothing where that would have to wait and may not.
fn attempt(
    fd: BorrowedFd<'_>,
    place: &mut [u8],
    flags: RecvFlags,
) -> Option<Result<usize, String>> {
    loop {
        return Some(match recv(fd, &mut *place, flags) {
            Ok((0, _)) => Err(CLOSED.into()),
            Ok((count, _)) => Ok(count),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => return None,
            Err(error) => Err(format!("reading from it failed: {error}")),
        });
    }
}

/// How far a frame has gone.
pub(super) enum Sent {
    All,
    WouldBlock,
}

/// Writes frames. One thread uses it at a time.
#[derive(Debug)]
pub(super) struct FrameWriter {
    fd: Arc<OwnedFd>,
    written: usize,
    length: usize,
}

impl FrameWriter {
    pub(super) fn new(fd: Arc<OwnedFd>) -> FrameWriter {
        FrameWriter {
            fd,
            written: 0,
            length: 0,
        }
    }

    /// Begins a frame of `length` bytes.
    pub(super) fn start(&mut self, length: usize) {
        self.written = 0;
        self.length = length;
    }

    /// Writes a short frame that a descriptor goes with.
    pub(super) fn send_with(
        &mut self,
        frame: &[u8],
        descriptor: BorrowedFd<'_>,
    ) -> Result<(), String> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        match sendmsg(
            &self.fd,
            &[IoSlice::new(frame)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        ) {
            Ok(count) if count == frame.len() => Ok(()),
            Ok(_) => Err("it took less than a whole message".into()),
            Err(error) => Err(format!("writing to it failed: {error}")),
        }
    }

    /// Writes as much of the frame, `head` and `payload`, as the socket takes without waiting.
    pub(super) fn advance(&mut self, head: &[u8], payload: &[u8]) -> Result<Sent, String> {
        while self.written < self.length {
            let in_payload = self.written.saturating_sub(head.len());
            let parts = [
                IoSlice::new(&head[self.written.min(head.len())..]),
                IoSlice::new(&payload[in_payload..]),
            ];
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(&self.fd, &parts, &mut SendAncillaryBuffer::default(), flags) {
                Ok(count) => self.written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Sent::WouldBlock),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(CLOSED.into()),
                Err(error) => return Err(format!("writing to it failed: {error}")),
            }
        }
        Ok(Sent::All)
    }

    /// Waits until the socket takes more, or, with `reading`, until there is something to read; says whether
    /// there is. Without `reading` it looks up now and then, since whoever reads may stop.
    pub(super) fn wait(&self, reading: bool) -> Result<bool, String> {
        let events = if reading {
            PollFlags::OUT | PollFlags::IN
        } else {
            PollFlags::OUT
        };
        let brief = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        let mut fds = [PollFd::new(&self.fd, events)];
        match poll(&mut fds, Some(&brief)) {
            Ok(_) => Ok(fds[0].revents().contains(PollFlags::IN)),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(format!("waiting for it failed: {error}")),
        }
    }
}
