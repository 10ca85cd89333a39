//! The raw mode: any bytes out, whatever frame comes back.

use std::{
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ClientError,
    frames::{FrameReader, FrameWriter, Sent},
    wire,
};

/// A connection on which tests and benchmarks send any frame, right or wrong. It keeps no tags and no fids.
#[derive(Debug)]
pub struct RawClient {
    reader: FrameReader,
    writer: FrameWriter,
}

impl RawClient {
    /// Takes over a connected stream socket.
    pub fn new(stream: OwnedFd) -> RawClient {
        let stream = Arc::new(stream);
        RawClient {
            reader: FrameReader::new(Arc::clone(&stream)),
            writer: FrameWriter::new(stream),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.writer.start(bytes.len());
        while let Sent::WouldBlock = self.writer.advance(bytes, &[]).map_err(ClientError::Lost)? {
            self.writer.wait(false).map_err(ClientError::Lost)?;
        }
        Ok(())
    }

    /// Receives one frame, header and all, waiting at most `limit` for its start.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] when none starts in time, [`ClientError::Lost`] when the server closed the
    /// connection.
    pub fn receive(&mut self, limit: Duration) -> Result<Vec<u8>, ClientError> {
        if !self.reader.readable_by(Instant::now() + limit) {
            return Err(ClientError::TimedOut);
        }
        let (size, kind, tag) = self.reader.header(u32::MAX).map_err(ClientError::Lost)?;
        let mut frame = Vec::new();
        frame.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
        frame.push(kind);
        frame.extend_from_slice(&tag.to_le_bytes());
        // A size that lies must not take memory that the bytes do not back.
        while frame.len() < size {
            let start = frame.len();
            frame.resize(size.min(start + (1 << 20)), 0);
            self.reader
                .fill(&mut frame[start..])
                .map_err(ClientError::Lost)?;
        }
        Ok(frame)
    }

    /// Sends a frame and receives the next.
    pub fn call(&mut self, frame: &[u8], limit: Duration) -> Result<Vec<u8>, ClientError> {
        self.send(frame)?;
        self.receive(limit)
    }

    /// Negotiates 9P2000.L and returns the server's msize.
    pub fn version(&mut self, msize: u32, limit: Duration) -> Result<u32, ClientError> {
        let mut frame = wire::Encoder::new(wire::kind::TVERSION)
            .u32(msize)
            .bytes16(b"9P2000.L")?
            .finish(0);
        frame[5..7].copy_from_slice(&wire::NOTAG.to_le_bytes());
        let reply = self.call(&frame, limit)?;
        wire::Decoder::new(&reply[wire::HEADER..]).u32()
    }
}
