//! Frames out of a stream. Reading blocks the thread, which is the session's own.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::Arc,
    time::Instant,
};

use rustix::{
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use tokio::sync::OwnedSemaphorePermit;

use super::limits::Budget;
use crate::{
    patience::Patience,
    wire::{HEADER, buffers},
};

/// Bytes read from the stream at once; larger frames get room of their own.
const BUFFER: usize = 128 << 10;

/// A frame longer than this is garbage, not a message of a client that misjudged the msize.
const ABSURD: u32 = 16 << 20;

pub(super) struct Reader {
    stream: Arc<OwnedFd>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    patience: Patience,
    /// What came with the bytes that were read last.
    descriptor: Option<OwnedFd>,
    /// Whether the stream is a socket; what is none is read from as a file.
    socket: bool,
}

/// What came over the stream.
pub(super) enum Frame<'a> {
    /// A whole frame, in the reader's own buffer.
    Small(&'a [u8]),
    /// A whole frame, with the room that it takes of the shared limit.
    Large {
        frame: Vec<u8>,
        permit: OwnedSemaphorePermit,
    },
    /// A frame beyond the msize; its bytes were passed over.
    TooLong { tag: u16, size: u32 },
}

impl Frame<'_> {
    /// Its bytes.
    pub fn size(&self) -> usize {
        match self {
            Frame::Small(frame) => frame.len(),
            Frame::Large { frame, .. } => frame.len(),
            Frame::TooLong { size, .. } => *size as usize,
        }
    }
}

impl Reader {
    pub fn new(stream: Arc<OwnedFd>) -> Reader {
        Reader {
            stream,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            patience: Patience::for_requests(),
            descriptor: None,
            socket: true,
        }
    }

    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn size(&self) -> Option<u32> {
        let bytes = self.buffered().get(..4)?;
        Some(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    /// Whether the next frame is here already, so that asking for it does not wait.
    pub fn has_frame(&self) -> bool {
        self.size()
            .is_some_and(|size| self.buffered().len() >= size as usize)
    }

    /// The next frame; `None` where the other end has closed the stream between two frames. `alone`: the session
    /// does nothing meanwhile.
    ///
    /// # Errors
    /// Where the stream fails, ends within a frame, or holds what cannot be a frame.
    pub async fn next(
        &mut self,
        limit: u32,
        alone: bool,
        budget: &Budget,
    ) -> io::Result<Option<Frame<'_>>> {
        if alone && self.start == self.end {
            self.look()?;
        }
        while self.buffered().len() < HEADER {
            if !self.fill()? {
                return match self.buffered().len() {
                    0 => Ok(None),
                    _ => Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the stream ended within a frame's header",
                    )),
                };
            }
        }
        let size = self.size().expect("a header is buffered");
        if (size as usize) < HEADER || size > ABSURD {
            let text = format!("a frame claims {size} bytes, which no 9P message has");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if size > limit {
            let tag = u16::from_le_bytes([self.buffered()[5], self.buffered()[6]]);
            self.skip(size as usize)?;
            return Ok(Some(Frame::TooLong { tag, size }));
        }
        let size = size as usize;
        if size <= BUFFER / 2 {
            while self.buffered().len() < size {
                self.fill_on()?;
            }
            self.start += size;
            return Ok(Some(Frame::Small(
                &self.buffer[self.start - size..self.start],
            )));
        }
        let permit = budget.bytes(size as u32).await;
        let mut frame = buffers::take(size);
        let here = self.buffered().len().min(size);
        frame.extend_from_slice(&self.buffered()[..here]);
        self.start += here;
        while frame.len() < size {
            let missing = size - frame.len();
            match rustix::io::read(&*self.stream, &mut frame.spare_capacity_mut()[..missing]) {
                Ok(([], _)) => return Err(within()),
                Ok((read, _)) => {
                    let count = read.len();
                    // SAFETY: read has written so many bytes to the vector's spare room, from its start.
                    unsafe { frame.set_len(frame.len() + count) }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Some(Frame::Large { frame, permit }))
    }

    /// The descriptor that came with what was read last, if one did.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptor.take()
    }

    fn skip(&mut self, mut bytes: usize) -> io::Result<()> {
        loop {
            let here = self.buffered().len().min(bytes);
            self.start += here;
            bytes -= here;
            if bytes == 0 {
                return Ok(());
            }
            self.fill_on()?;
        }
    }

    fn fill_on(&mut self) -> io::Result<()> {
        if self.fill()? { Ok(()) } else { Err(within()) }
    }

    /// Waits for the next frame's first bytes, without sleeping where that pays. May come back with none.
    fn look(&mut self) -> io::Result<()> {
        (self.start, self.end) = (0, 0);
        let begun = Instant::now();
        let stream = &*self.stream;
        let (buffer, descriptor) = (&mut self.buffer[..], &mut self.descriptor);
        let found = self.patience.look(|| {
            match receive(stream, &mut *buffer, RecvFlags::DONTWAIT, &mut *descriptor) {
                Err(Errno::AGAIN | Errno::INTR) => None,
                result => Some(result),
            }
        });
        // What is wrong reading on tells.
        if let Some(Ok(count)) = found {
            self.end = count;
        }
        if self.end == 0 {
            self.fill()?;
        }
        self.patience.waited(begun.elapsed());
        Ok(())
    }

    /// Reads what there is; `false` at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > BUFFER / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        loop {
            let room = &mut self.buffer[self.end..];
            let read = match self.socket {
                true => receive(&self.stream, room, RecvFlags::empty(), &mut self.descriptor),
                false => rustix::io::read(&*self.stream, room),
            };
            match read {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(Errno::NOTSOCK) if self.socket => {
                    self.socket = false;
                    self.patience = Patience::none();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Receives what there is, and keeps a descriptor that comes along.
fn receive(
    stream: &OwnedFd,
    buffer: &mut [u8],
    flags: RecvFlags,
    descriptor: &mut Option<OwnedFd>,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(buffer)],
        &mut ancillary,
        flags,
    )?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            *descriptor = descriptors.last();
        }
    }
    Ok(received.bytes)
}

fn within() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the stream ended within a frame",
    )
}
