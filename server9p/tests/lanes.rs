//! Large data by way of memory that client and server share.

mod common;

use std::{fs, os::unix::net::UnixStream, path::Path, thread};

use common::Server;
use server9p::{
    client::{Client, ClientError, Fid, wire::NONUNAME},
    profile::Profile,
};

/// Bytes of a lane.
const SIZE: usize = 1 << 20;

/// Most bytes of one message's data.
const PART: u32 = 100_000;

fn client(server: &Server) -> (Client, Fid) {
    let mut client = Client::connect(server.stream().into(), 512_000).unwrap();
    client.share_memory(SIZE).unwrap();
    let (root, _) = client.attach(b"nobody", b"", NONUNAME).unwrap();
    (client, root)
}

fn open(client: &Client, root: &Fid, name: &[u8], flags: i32) -> Fid {
    let (fid, _) = client.walk(root, &[name]).unwrap();
    client.lopen(&fid, flags as u32).unwrap();
    fid
}

/// A served directory with a file of some bytes, no two messages' parts of which are alike.
fn served(dir: &Path, length: usize) -> (Server, Vec<u8>) {
    let data: Vec<u8> = (0..length).map(|at| (at / 977) as u8).collect();
    fs::write(dir.join("file"), &data).unwrap();
    (Server::new(dir, Profile::Posix), data)
}

#[test]
fn what_is_stored_is_in_the_file_and_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let (server, data) = served(dir.path(), SIZE);
    let (client, root) = client(&server);
    let file = open(&client, &root, b"file", libc::O_RDWR);
    let mut lane = client.lane(SIZE).expect("the server shares memory");
    let fetched = client.fetch(&file, 0, SIZE as u32, PART, &mut lane, 0);
    assert_eq!(fetched.unwrap(), SIZE);
    assert!(lane.data(SIZE) == data);

    let new: Vec<u8> = data.iter().map(|byte| !byte).collect();
    let stored = client.store(&file, 5, &new, PART, &mut lane);
    assert_eq!(stored.unwrap(), SIZE);
    assert!(fs::read(dir.path().join("file")).unwrap()[5..] == new);
}

#[test]
fn a_read_across_the_end_is_short_and_one_into_the_midst_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (server, data) = served(dir.path(), 250_000);
    let (client, root) = client(&server);
    let file = open(&client, &root, b"file", libc::O_RDONLY);
    let mut lane = client.lane(SIZE).unwrap();
    let fetched = client.fetch(&file, 0, SIZE as u32, PART, &mut lane, 0);
    assert_eq!(fetched.unwrap(), data.len());
    let again = client.fetch(&file, 200_000, 100_000, PART, &mut lane, 10);
    assert_eq!(again.unwrap(), 50_000);
    assert!(lane.data(10) == &data[..10]);
    assert!(lane.data(50_010)[10..] == data[200_000..]);
    assert!(lane.data(data.len())[50_010..] == data[50_010..]);
}

#[test]
fn an_error_is_the_servers() {
    let dir = tempfile::tempdir().unwrap();
    let (server, data) = served(dir.path(), SIZE);
    let (client, root) = client(&server);
    let file = open(&client, &root, b"file", libc::O_RDONLY);
    let mut lane = client.lane(SIZE).unwrap();
    let refused = client.store(&file, 0, &data, PART, &mut lane);
    assert!(matches!(refused, Err(ClientError::Server(libc::EBADF))));
    let fetched = client.fetch(&root, 0, PART, PART, &mut lane, 0);
    assert!(matches!(fetched, Err(ClientError::Server(libc::EINVAL))));
}

#[test]
fn there_are_as_many_lanes_as_requests_may_use_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _) = served(dir.path(), 1);
    let (client, _) = client(&server);
    assert!(client.lane(4096).is_none(), "little goes with its message");
    assert!(client.lane(SIZE + 1).is_none());
    let lanes: Vec<_> = std::iter::from_fn(|| client.lane(SIZE)).collect();
    assert!(lanes.len() > 1);
    drop(lanes);
    assert!(client.lane(SIZE).is_some());
}

/// A server that knows nothing of shared memory answers that it does not.
#[test]
fn where_the_server_takes_no_memory_there_are_no_lanes() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let answers = thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = theirs;
        let mut version = [0; 21];
        stream.read_exact(&mut version).unwrap();
        version[4] += 1;
        stream.write_all(&version).unwrap();
        let mut offer = [0; 7];
        stream.read_exact(&mut offer).unwrap();
        let [.., low, high] = offer;
        let errno = libc::EOPNOTSUPP as u8;
        stream
            .write_all(&[11, 0, 0, 0, 7, low, high, errno, 0, 0, 0])
            .unwrap();
    });
    let mut client = Client::connect(ours.into(), 512_000).unwrap();
    client.share_memory(SIZE).unwrap();
    answers.join().unwrap();
    assert!(client.lane(SIZE).is_none());
}
