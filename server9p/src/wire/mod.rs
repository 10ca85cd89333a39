//! 9P2000.L on the wire: frames, the layout of each message, and names that are bytes.
//!
//! The message types and their encoding are rs9p's. What is ours is what it cannot do: reject a frame before
//! anything is allocated for it, carry names that are not UTF-8, and leave payloads where they are.

pub(crate) mod buffers;
mod codec;
mod layout;
mod name;

pub use codec::{
    DecodeError, Reply, Request, decode_reply, decode_request, encode_reply, encode_request,
    push_entry,
};
pub use name::{from_wire, to_wire};

/// Bytes before a message's body: size[4] type[1] tag[2].
pub const HEADER: usize = 7;

/// Bytes of an Rread or Rreaddir before its payload: the header and count[4].
pub const READ_HEADER: usize = HEADER + 4;

/// Bytes of a Twrite before its payload: the header, fid[4], offset[8], count[4].
pub const WRITE_HEADER: usize = HEADER + 16;

/// The smallest message size that a session agrees to, bytes. QEMU's server takes no less either.
pub const MSIZE_MIN: u32 = 4096;

/// The largest message size that a session agrees to, bytes.
pub const MSIZE_MAX: u32 = 1 << 20;

/// The most names in one Twalk (9P2000: MAXWELEM).
pub const WALK_MAX: usize = 16;
