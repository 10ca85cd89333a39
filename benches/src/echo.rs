//! A server without files: it answers every request with a message of the size that a real server's would have.
//!
//! What it reaches is what two processes get out of the socket between them; nothing that reads files as well can
//! be expected to be faster.

use std::{
    io::{self, IoSlice, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
};

use rs9p::MsgType;
use server9p::wire::HEADER;

/// Bytes taken from the socket at once; a large write's data are taken in pieces.
const BUFFER: usize = 1 << 20;

/// Sizes of replies that do not depend on the request: Rversion, Rattach, Rwalk with one name, Rlopen, Rwrite.
const SIZES: &[(u8, usize)] = &[
    (MsgType::TVersion as u8, 21),
    (MsgType::TAttach as u8, 20),
    (MsgType::TWalk as u8, 22),
    (MsgType::TlOpen as u8, 24),
    (MsgType::TWrite as u8, 11),
];

/// Serves every connection to the socket, each by a thread, until the process is killed. Replies to what came in
/// together leave together where `batching`, else each by itself.
///
/// # Errors
/// Where it cannot listen.
pub fn serve(socket: &Path, batching: bool) -> io::Result<()> {
    for stream in UnixListener::bind(socket)?.incoming() {
        let stream = stream?;
        // A connection that ends within a frame ends its thread, nothing else.
        thread::spawn(move || echo(stream, batching));
    }
    Ok(())
}

fn echo(mut stream: UnixStream, batching: bool) -> io::Result<()> {
    let mut input = vec![0; BUFFER];
    let (mut start, mut end) = (0, 0);
    let data = vec![0; BUFFER];
    loop {
        let mut heads = Vec::new();
        while let Some(size) = input[start..end].first_chunk() {
            let size = u32::from_le_bytes(*size) as usize;
            if size > end - start {
                break;
            }
            heads.push(reply(&input[start..start + size]));
            start += size;
        }
        let at_once = if batching { heads.len() } else { 1 };
        for heads in heads.chunks(at_once.max(1)) {
            let mut slices: Vec<_> = heads
                .iter()
                .flat_map(|(head, body)| [IoSlice::new(head), IoSlice::new(&data[..*body])])
                .collect();
            let mut left = &mut slices[..];
            while !left.is_empty() {
                let written = stream.write_vectored(left)?;
                IoSlice::advance_slices(&mut left, written);
            }
        }
        input.copy_within(start..end, 0);
        (start, end) = (0, end - start);
        match stream.read(&mut input[end..])? {
            0 => return Ok(()),
            count => end += count,
        }
    }
}

/// The first bytes of the reply to a request, and how many follow.
fn reply(request: &[u8]) -> ([u8; 11], usize) {
    let kind = request[4];
    let count = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().expect("4 bytes"));
    let (value, size) = match SIZES.iter().find(|(known, _)| *known == kind) {
        // Rversion's msize and Rwrite's count are what was asked for.
        Some((_, size)) if kind == MsgType::TVersion as u8 => (count(HEADER), *size),
        Some((_, size)) if kind == MsgType::TWrite as u8 => (count(HEADER + 12), *size),
        Some((_, size)) => (0, *size),
        // Rread.
        None => (count(HEADER + 12), 11 + count(HEADER + 12) as usize),
    };
    let mut head = [0; 11];
    head[..4].copy_from_slice(&u32::try_from(size).expect("a frame").to_le_bytes());
    head[4] = kind + 1;
    head[5..7].copy_from_slice(&request[5..7]);
    head[7..].copy_from_slice(&value.to_le_bytes());
    (head, size - 11)
}
