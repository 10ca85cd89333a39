//! Serving a host directory over 9P2000.L and mounting it as a volume.
//!
//! [`session`] speaks the protocol on one connection, [`export`] is the directory behind it; [`client`] is the
//! other end; [`stack`] brings a whole volume up and down. Nothing here knows of probes.

pub mod client;
pub mod export;
pub mod helper;
mod patience;
pub mod profile;
pub mod serve;
pub mod session;
mod shared_memory;
pub mod stack;
pub mod wire;
