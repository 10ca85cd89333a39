//! A fid that clunks itself.

use std::sync::Arc;

use super::{
    Connection,
    wire::{Encoder, kind},
};

/// A fid on the server. Dropping it clunks it, without waiting for the server's answer; the number is given
/// out again only when that has come.
#[derive(Debug)]
pub struct Fid {
    conn: Arc<Connection>,
    number: u32,
    live: bool,
}

impl Fid {
    /// A number for a fid that a request is about to create. Until [`Fid::created`] dropping it sends nothing.
    pub(super) fn reserve(conn: &Arc<Connection>) -> Fid {
        Fid {
            conn: Arc::clone(conn),
            number: conn.allocate_fid(),
            live: false,
        }
    }

    /// The server has created it.
    pub(super) fn created(mut self) -> Fid {
        self.live = true;
        self
    }

    /// The server has freed it: by Tclunk or Tremove.
    pub(super) fn freed(mut self) {
        self.live = false;
    }

    /// The number on the wire.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Fid {
    fn drop(&mut self) {
        if !self.live {
            self.conn.free_fid(self.number);
            return;
        }
        let clunk = Encoder::new(kind::TCLUNK).u32(self.number).finish(0);
        // When the connection is lost the server has freed all fids.
        let _ = self.conn.submit_detached(clunk, Some(self.number));
    }
}
