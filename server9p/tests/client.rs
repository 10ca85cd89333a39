//! The 9P client against servers that answer late, out of order, wrongly, or not at all.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
};

use server9p::client::{
    Client, ClientError, Fid, GetattrMask, LockRequest, LockType,
    wire::{Decoder, kind},
};

/// A request as it came: type, tag, body.
type Request = (u8, u16, Vec<u8>);

/// The other end of a connection.
struct Peer(UnixStream);

impl Peer {
    /// The next request; none once the client is gone.
    fn next(&mut self) -> Option<Request> {
        let mut header = [0; 7];
        self.0.read_exact(&mut header).ok()?;
        let mut fields = Decoder::new(&header);
        let size = fields.u32().unwrap() as usize;
        let (kind, tag) = (fields.u8().unwrap(), fields.u16().unwrap());
        let mut body = vec![0; size - 7];
        self.0.read_exact(&mut body).ok()?;
        Some((kind, tag, body))
    }

    fn send(&mut self, kind: u8, tag: u16, body: &[u8]) {
        let mut frame = (7 + body.len() as u32).to_le_bytes().to_vec();
        frame.push(kind);
        frame.extend_from_slice(&tag.to_le_bytes());
        frame.extend_from_slice(body);
        let _ = self.0.write_all(&frame);
    }

    /// Answers Tversion and Tattach.
    fn greet(&mut self) {
        let (kind, tag, body) = self.next().unwrap();
        assert_eq!(kind, kind::TVERSION);
        self.send(kind + 1, tag, &body);
        let (kind, tag, _) = self.next().unwrap();
        assert_eq!(kind, kind::TATTACH);
        self.send(kind + 1, tag, &[0; 13]);
    }
}

/// A client whose server runs `behave` once a root is attached.
fn connect(behave: impl FnOnce(Peer) + Send + 'static) -> (Client, Fid) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::spawn(move || {
        let mut peer = Peer(theirs);
        peer.greet();
        behave(peer);
    });
    let client = Client::connect(ours.into(), 512_000).unwrap();
    let (root, _) = client.attach(b"", b"", 0).unwrap();
    (client, root)
}

/// Asks from many threads at once, each for as many bytes as its number; returns what each got.
fn read_from_threads(client: Client, root: Fid, count: usize) -> Vec<Result<Vec<u8>, i32>> {
    let root = Arc::new(root);
    let threads: Vec<_> = (0..count)
        .map(|index| {
            let (client, root) = (client.clone(), Arc::clone(&root));
            thread::spawn(move || {
                let mut buffer = Vec::new();
                let got = client.read(&root, index as u64, 100_000, &mut buffer, 0);
                got.map(|got| buffer[..got].to_vec())
                    .map_err(|error| error.errno())
            })
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

#[test]
fn replies_out_of_order_reach_their_own_callers() {
    const COUNT: usize = 12;
    let (client, root) = connect(|mut peer| {
        let mut waiting: Vec<_> = (0..COUNT).map(|_| peer.next().unwrap()).collect();
        while let Some((kind, tag, body)) = waiting.pop() {
            let offset = Decoder::new(&body[4..]).u64().unwrap() as usize;
            let data = vec![offset as u8; 50_000 + offset];
            let mut reply = (data.len() as u32).to_le_bytes().to_vec();
            reply.extend_from_slice(&data);
            peer.send(kind + 1, tag, &reply);
        }
        while peer.next().is_some() {}
    });
    for (index, got) in read_from_threads(client, root, COUNT)
        .into_iter()
        .enumerate()
    {
        assert_eq!(got.unwrap(), vec![index as u8; 50_000 + index]);
    }
}

#[test]
fn when_the_server_goes_everyone_gets_eio() {
    const COUNT: usize = 8;
    let (client, root) = connect(|mut peer| {
        for _ in 0..COUNT {
            peer.next().unwrap();
        }
    });
    let later = client.clone();
    for got in read_from_threads(client, root, COUNT) {
        assert_eq!(got, Err(libc::EIO));
    }
    let error = later.attach(b"", b"", 0).unwrap_err();
    assert!(matches!(error, ClientError::Lost(_)), "{error}");
}

#[test]
fn a_request_that_is_given_up_is_flushed_before_its_tag_is_used_again() {
    let (client, root) = connect(|mut peer| {
        let (kind, locked, _) = peer.next().unwrap();
        assert_eq!(kind, kind::TLOCK);
        let (kind, tag, body) = peer.next().unwrap();
        assert_eq!(kind, kind::TFLUSH);
        assert_eq!(Decoder::new(&body).u16().unwrap(), locked);
        peer.send(kind + 1, tag, &[]);
        while let Some((kind, tag, _)) = peer.next() {
            peer.send(kind + 1, tag, &[0; 153]);
        }
    });
    let request = LockRequest {
        kind: LockType::Write,
        start: 0,
        length: 0,
        proc_id: 1,
        client_id: b"here",
    };
    let error = client.lock(&root, &request, 1, Some(&|| true)).unwrap_err();
    assert_eq!(error, ClientError::Flushed);
    assert_eq!(client.connection().in_flight(), 0);
    assert!(client.getattr(&root, GetattrMask::BASIC).is_ok());
}

#[test]
fn a_reply_that_breaks_the_protocol_ends_the_connection_and_hangs_nobody() {
    // A tag that is not in flight; a frame larger than agreed; an Rread whose count lies.
    let wrongs: [fn(&mut Peer, u16); 3] = [
        |peer, tag| peer.send(kind::TREAD + 1, tag ^ 0x55, &[0; 4]),
        |peer, _| drop(peer.0.write_all(&[0xff; 11])),
        |peer, tag| peer.send(kind::TREAD + 1, tag, &[9, 0, 0, 0, 1]),
    ];
    for wrong in wrongs {
        let (client, root) = connect(move |mut peer| {
            let (_, tag, _) = peer.next().unwrap();
            wrong(&mut peer, tag);
            while peer.next().is_some() {}
        });
        let error = client.read(&root, 0, 10, &mut Vec::new(), 0).unwrap_err();
        assert_eq!(error.errno(), libc::EIO, "{error}");
    }
}

#[test]
fn a_fid_is_given_out_again_only_when_its_clunk_is_answered() {
    let (client, root) = connect(|mut peer| {
        let mut clunked = None;
        while let Some((kind, tag, body)) = peer.next() {
            match kind {
                kind::TCLUNK => clunked = Some(tag),
                kind::TWALK => {
                    let new = Decoder::new(&body[4..]).u32().unwrap();
                    assert!(
                        clunked.is_none() || new != 1,
                        "fid 1 is still being clunked"
                    );
                    peer.send(kind + 1, tag, &[0, 0]);
                }
                _ => peer.send(kind + 1, tag, &[0; 153]),
            }
        }
    });
    let (first, _) = client.walk(&root, &[]).unwrap();
    assert_eq!(first.number(), 1);
    drop(first);
    let (second, _) = client.walk(&root, &[]).unwrap();
    assert_ne!(second.number(), 1);
}
