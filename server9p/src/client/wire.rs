//! Frames of 9P2000.L as bytes: little-endian integers, strings with a 16-bit length.
//!
//! Public so that wire tests can build any frame, right or wrong, and read what comes back.

use super::ClientError;

/// Message types, as diod's protocol.md and Linux's `include/net/9p/9p.h` number them. A reply is its
/// request's number and one.
#[allow(missing_docs)]
pub mod kind {
    pub const RLERROR: u8 = 7;
    pub const TSTATFS: u8 = 8;
    pub const TLOPEN: u8 = 12;
    pub const TLCREATE: u8 = 14;
    pub const TSYMLINK: u8 = 16;
    pub const TMKNOD: u8 = 18;
    pub const TRENAME: u8 = 20;
    pub const TREADLINK: u8 = 22;
    pub const TGETATTR: u8 = 24;
    pub const TSETATTR: u8 = 26;
    pub const TXATTRWALK: u8 = 30;
    pub const TXATTRCREATE: u8 = 32;
    pub const TREADDIR: u8 = 40;
    pub const TFSYNC: u8 = 50;
    pub const TLOCK: u8 = 52;
    pub const TGETLOCK: u8 = 54;
    pub const TLINK: u8 = 70;
    pub const TMKDIR: u8 = 72;
    pub const TRENAMEAT: u8 = 74;
    pub const TUNLINKAT: u8 = 76;
    pub const TVERSION: u8 = 100;
    pub const TAUTH: u8 = 102;
    pub const TATTACH: u8 = 104;
    pub const TFLUSH: u8 = 108;
    pub const TWALK: u8 = 110;
    pub const TREAD: u8 = 116;
    pub const TWRITE: u8 = 118;
    pub const TCLUNK: u8 = 120;
    pub const TREMOVE: u8 = 122;
}

/// Bytes before a message's body: size[4] type[1] tag[2].
pub const HEADER: usize = 7;
/// The tag of Tversion.
pub const NOTAG: u16 = u16::MAX;
/// The afid of Tattach when nothing was authenticated.
pub const NOFID: u32 = u32::MAX;
/// The n_uname of Tattach when no user is named.
pub const NONUNAME: u32 = u32::MAX;
/// What Linux's v9fs and QEMU set aside for the header of Rread and Twrite (`P9_IOHDRSZ`).
pub const IOHDRSZ: u32 = 24;
/// The same for Rreaddir (`P9_READDIRHDRSZ`).
pub const READDIRHDRSZ: u32 = 24;
/// Most names in one Twalk.
pub const MAXWELEM: usize = 16;

/// A request being put together; [`Encoder::finish`] fills in its size.
#[derive(Debug)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// Starts a message. The tag is filled in by whoever sends it.
    pub fn new(kind: u8) -> Encoder {
        let mut frame = Vec::with_capacity(64);
        frame.extend_from_slice(&[0, 0, 0, 0, kind, 0, 0]);
        Encoder(frame)
    }

    /// Appends one byte.
    pub fn u8(mut self, value: u8) -> Encoder {
        self.0.push(value);
        self
    }

    /// Appends a 16-bit integer.
    pub fn u16(mut self, value: u16) -> Encoder {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a 32-bit integer.
    pub fn u32(mut self, value: u32) -> Encoder {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a 64-bit integer.
    pub fn u64(mut self, value: u64) -> Encoder {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a string: its length in 16 bits and its bytes. At most 65535 of them.
    pub fn bytes16(self, value: &[u8]) -> Result<Encoder, ClientError> {
        let length = u16::try_from(value.len())
            .map_err(|_| ClientError::TooLarge("a name over 65535 bytes"))?;
        let mut this = self.u16(length);
        this.0.extend_from_slice(value);
        Ok(this)
    }

    /// The frame, its size field saying that `payload` more bytes follow it.
    pub fn finish(mut self, payload: usize) -> Vec<u8> {
        let size = u32::try_from(self.0.len() + payload).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&size.to_le_bytes());
        self.0
    }
}

/// Reads a message's body.
#[derive(Debug, Clone)]
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Reads `body` from its start.
    pub fn new(body: &'a [u8]) -> Decoder<'a> {
        Decoder(body)
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.0.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ClientError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| ClientError::Protocol("a message ends before its fields do".into()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ClientError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, ClientError> {
        Ok(self.array::<1>()?[0])
    }

    /// The next 16-bit integer.
    pub fn u16(&mut self) -> Result<u16, ClientError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// The next 32-bit integer.
    pub fn u32(&mut self) -> Result<u32, ClientError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next 64-bit integer.
    pub fn u64(&mut self) -> Result<u64, ClientError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The next string.
    pub fn bytes16(&mut self) -> Result<&'a [u8], ClientError> {
        let length = self.u16()?;
        self.take(length.into())
    }
}
