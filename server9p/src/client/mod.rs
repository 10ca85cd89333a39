//! A pipelined 9P2000.L client over any connected stream.
//!
//! The FUSE mount, the benchmarks and the wire tests talk to a server through it. Calls block, any number of
//! threads may have one in flight at once, and a call always ends: with its reply, with the server's errno,
//! or, once the connection is lost, with EIO. Names are bytes, since 9P carries bytes and Linux allows any.
//!
//! [`Connection`] moves frames: it gives out tags, writes requests, and hands each reply to the caller whose
//! tag it bears. [`Client`] speaks 9P2000.L on it, one method a message. [`Fid`] is a fid that clunks itself.
//!
//! The codec is the client's own, not rs9p's: rs9p's names must be UTF-8, its Tfsync lacks `datasync`, and
//! what Rread and Twrite carry would be copied once more.

mod conn;
mod error;
mod fid;
mod frames;
mod lanes;
mod ops;
mod raw;
mod types;
pub mod wire;

pub use conn::{Connection, Pending};
pub use error::ClientError;
pub use fid::Fid;
pub use lanes::Lane;
pub use ops::{Client, DEFAULT_MSIZE};
pub use raw::RawClient;
pub use types::{
    Attr, DirEntries, DirEntry, GetattrMask, LockRequest, LockStatus, LockType, Qid, SetAttr,
    SetattrMask, StatFs, Time,
};
