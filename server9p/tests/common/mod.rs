//! A served directory and a connection to it, for tests that speak 9P themselves.

#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rs9p::FCall;
use server9p::{
    export::Export,
    profile::Profile,
    session::{self, Limits, Shared},
    wire,
};

/// How long a reply may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server in this process, of one export.
pub struct Server {
    runtime: tokio::runtime::Runtime,
    shared: Arc<Shared>,
}

impl Server {
    pub fn new(dir: &Path, profile: Profile) -> Server {
        Server::with(dir, profile, false, Limits::default())
    }

    pub fn with(dir: &Path, profile: Profile, read_only: bool, limits: Limits) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let export = Export::open(dir, profile, read_only).unwrap();
        Server {
            runtime,
            shared: Shared::new(export, limits, None),
        }
    }

    /// A stream to the server, on which nothing was said yet.
    pub fn stream(&self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let shared = self.shared.clone();
        self.runtime
            .spawn(async move { session::serve(theirs.into(), shared).await });
        ours
    }

    /// A connection that is attached to the export's root by fid 0.
    pub fn attached(&self) -> Wire {
        let mut wire = Wire::new(self.stream());
        wire.version(512_000);
        wire.attach(0, "");
        wire
    }
}

/// A client that sends one message at a time, or as many as it likes.
pub struct Wire {
    pub stream: UnixStream,
}

impl Wire {
    pub fn new(stream: UnixStream) -> Wire {
        Wire { stream }
    }

    pub fn send(&mut self, tag: u16, call: FCall) {
        self.stream
            .write_all(&wire::encode_request(tag, call))
            .unwrap();
    }

    pub fn receive_frame(&mut self) -> Vec<u8> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).unwrap();
        let mut frame = size.to_vec();
        frame.resize(u32::from_le_bytes(size) as usize, 0);
        self.stream.read_exact(&mut frame[4..]).unwrap();
        frame
    }

    pub fn receive(&mut self) -> (u16, FCall) {
        let frame = self.receive_frame();
        wire::decode_reply(&frame).expect("the server's replies can be decoded")
    }

    /// Sends one message and waits for its reply.
    pub fn call(&mut self, call: FCall) -> FCall {
        self.send(1, call);
        let (tag, reply) = self.receive();
        assert_eq!(tag, 1);
        reply
    }

    /// The errno of a call that must fail.
    pub fn errno(&mut self, call: FCall) -> i32 {
        match self.call(call) {
            FCall::RlError { ecode } => ecode as i32,
            reply => panic!("expected an error, got {reply:?}"),
        }
    }

    pub fn version(&mut self, msize: u32) -> u32 {
        match self.call(FCall::TVersion {
            msize,
            version: "9P2000.L".into(),
        }) {
            FCall::RVersion { msize, .. } => msize,
            reply => panic!("{reply:?}"),
        }
    }

    pub fn attach(&mut self, fid: u32, aname: &str) -> FCall {
        let reply = self.call(FCall::TAttach {
            fid,
            afid: rs9p::NOFID,
            uname: "user".into(),
            aname: aname.into(),
            n_uname: u32::MAX,
        });
        assert!(matches!(reply, FCall::RAttach { .. }), "{reply:?}");
        reply
    }

    pub fn walk(&mut self, fid: u32, newfid: u32, names: &[&str]) -> FCall {
        let wnames = names.iter().map(|name| (*name).to_owned()).collect();
        self.call(FCall::TWalk {
            fid,
            newfid,
            wnames,
        })
    }

    /// Makes and opens a file in the directory of fid 0 as `fid`.
    pub fn create(&mut self, fid: u32, name: &str) {
        self.walk(0, fid, &[]);
        let create = FCall::TlCreate {
            fid,
            name: name.into(),
            flags: 2,
            mode: 0o644,
            gid: u32::MAX,
        };
        let reply = self.call(create);
        assert!(matches!(reply, FCall::RlCreate { .. }), "{reply:?}");
    }

    pub fn open(&mut self, fid: u32, names: &[&str], flags: u32) {
        self.walk(0, fid, names);
        let reply = self.call(FCall::TlOpen { fid, flags });
        assert!(matches!(reply, FCall::RlOpen { .. }), "{reply:?}");
    }
}
