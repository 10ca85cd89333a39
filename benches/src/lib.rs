//! What the benchmarks share: a served directory and a connection to it that sends frames as they are, and, for the
//! comparison with other servers, these servers and a load generator.

pub mod echo;
pub mod load;
pub mod place;
pub mod server;
pub mod turn;

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use rs9p::FCall;
use server9p::{
    export::Export,
    profile::Profile,
    session::{self, Limits, Shared},
    wire,
};
use tokio::runtime::Runtime;

/// A server in this process and one connection to it, over a socket pair; fid 0 is the export's root.
pub struct Peer {
    stream: UnixStream,
    reply: Vec<u8>,
    _runtime: Runtime,
}

impl Peer {
    /// Serves a directory and attaches to it.
    ///
    /// # Panics
    /// Where the directory cannot be served: there is nothing to measure then.
    pub fn new(dir: &Path, profile: Profile, msize: u32) -> Peer {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("threads can be had");
        let export = Export::open(dir, profile, false).expect("the directory was just made");
        let shared = Shared::new(export, Limits::default(), None);
        let (ours, theirs) = UnixStream::pair().expect("sockets can be had");
        runtime.spawn(async move { session::serve(theirs.into(), shared).await });
        let mut peer = Peer {
            stream: ours,
            reply: Vec::new(),
            _runtime: runtime,
        };
        peer.call(FCall::TVersion {
            msize,
            version: rs9p::P92000L.to_owned(),
        });
        let attach = FCall::TAttach {
            fid: 0,
            afid: rs9p::NOFID,
            uname: String::new(),
            aname: String::new(),
            n_uname: rs9p::NONUNAME,
        };
        peer.call(attach);
        peer
    }

    /// Sends one message and returns the frame that answers it.
    ///
    /// # Panics
    /// Where the server answers with an error: the figures would be of something else.
    pub fn call(&mut self, call: FCall) -> &[u8] {
        self.send(&wire::encode_request(1, call));
        self.receive()
    }

    /// Sends frames as they are.
    ///
    /// # Panics
    /// Where the connection is lost.
    pub fn send(&mut self, frames: &[u8]) {
        self.stream.write_all(frames).expect("the server is there");
    }

    /// The next frame that the server sends.
    ///
    /// # Panics
    /// Where the connection is lost, or the server answers with an error.
    pub fn receive(&mut self) -> &[u8] {
        let mut size = [0; 4];
        self.stream
            .read_exact(&mut size)
            .expect("the server answers");
        self.reply.resize(u32::from_le_bytes(size) as usize, 0);
        self.stream
            .read_exact(&mut self.reply[4..])
            .expect("the server answers");
        assert_ne!(
            self.reply[4],
            rs9p::MsgType::RlError as u8,
            "the server answered with an error"
        );
        &self.reply
    }
}
