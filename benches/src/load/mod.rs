//! A load generator that speaks raw 9P2000.L over a unix socket.
//!
//! It has lanes, as many as requests shall be in flight. Each lane carries out one operation after another, an
//! operation being one or more requests that follow each other (walk, getattr, clunk). Whatever replies came in
//! together are answered by the next requests of their lanes in one system call, so that the generator costs little
//! beside the server. Frames are made once and only patched later.

mod workload;

use std::{
    io::{self, IoSlice, Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use rs9p::{FCall, MsgType};
use rustix::time::{ClockId, clock_gettime};
use server9p::wire::{self, HEADER};

pub use workload::{CROWD, ENTRIES, FILE, FILE_SIZE, Kind, Lane, MADE, Workload};

/// Why a measurement came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The connection broke.
    #[error("the connection to the server broke: {0}")]
    Io(#[from] io::Error),
    /// The server refused a request.
    #[error("the server answered message type {asked} with errno {errno}")]
    Refused {
        /// Type of the request.
        asked: u8,
        /// What it answered.
        errno: u32,
    },
    /// The server answers what was not asked.
    #[error("the server sent a reply of type {0} that belongs to no request")]
    Stray(u8),
}

/// A connection over which one request at a time is made, to set up what is measured.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// The negotiated message size, bytes.
    pub msize: u32,
}

/// What a time of load has shown.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// How long it took.
    pub elapsed: Duration,
    /// Operations that were completed.
    pub operations: u64,
    /// What they moved or listed, in the workload's unit.
    pub amount: u64,
    /// The processor time that the server took meanwhile.
    pub processor_time: Duration,
    /// The processor time that the load generator took.
    pub own_time: Duration,
    /// How long each operation took, microseconds, sorted.
    pub latencies: Vec<u32>,
}

impl Load {
    /// The amount per second.
    pub fn rate(&self) -> f64 {
        self.amount as f64 / self.elapsed.as_secs_f64()
    }

    /// The server's processor time for one operation, microseconds.
    pub fn cost(&self) -> f64 {
        self.processor_time.as_secs_f64() * 1e6 / self.operations as f64
    }

    /// The load generator's processor time for one operation, microseconds. Where it is near to the time that one takes,
    /// the generator is what is measured.
    pub fn own_cost(&self) -> f64 {
        self.own_time.as_secs_f64() * 1e6 / self.operations as f64
    }

    /// The latency, in microseconds, that the given share of operations (0 to 1) kept to.
    pub fn percentile(&self, share: f64) -> u32 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies
            .get((last as f64 * share).round() as usize)
            .copied()
            .unwrap_or(0)
    }
}

impl Connection {
    /// Negotiates 9P2000.L and attaches fid 0 to the tree `aname`.
    ///
    /// # Errors
    /// Where the server refuses either.
    pub fn attach(stream: UnixStream, aname: &str, msize: u32) -> Result<Connection, LoadError> {
        let mut connection = Connection { stream, msize };
        let version = connection.call(FCall::TVersion {
            msize,
            version: rs9p::P92000L.to_owned(),
        })?;
        connection.msize =
            u32::from_le_bytes(version[HEADER..HEADER + 4].try_into().expect("4 bytes"));
        connection.call(FCall::TAttach {
            fid: 0,
            afid: rs9p::NOFID,
            uname: String::new(),
            aname: aname.to_owned(),
            n_uname: 0,
        })?;
        Ok(connection)
    }

    /// Makes one request and returns the frame of its reply.
    ///
    /// # Errors
    /// Where the server refuses it or is gone.
    pub fn call(&mut self, call: FCall) -> Result<Vec<u8>, LoadError> {
        let frame = wire::encode_request(0, call);
        self.stream.write_all(&frame)?;
        let mut reply = vec![0; 4];
        self.stream.read_exact(&mut reply)?;
        let size = u32::from_le_bytes([reply[0], reply[1], reply[2], reply[3]]);
        reply.resize(size as usize, 0);
        self.stream.read_exact(&mut reply[4..])?;
        check(frame[4], &reply)?;
        Ok(reply)
    }

    /// Puts the load on for at least `time`, and returns when the last request was answered.
    ///
    /// # Errors
    /// Where the server refuses a request or is gone.
    pub fn run(&mut self, lanes: &mut [Lane], time: Duration) -> Result<Load, LoadError> {
        let mut input = Input::new(self.msize as usize);
        let mut load = Load::default();
        let own_before = thread_time();
        let begun = Instant::now();
        let mut ready: Vec<usize> = (0..lanes.len()).collect();
        let mut started = vec![begun; lanes.len()];
        let mut running = lanes.len();
        while running > 0 {
            self.send(lanes, &ready)?;
            ready.clear();
            input.fill(&self.stream)?;
            let now = Instant::now();
            while let Some(reply) = input.frame() {
                let tag = usize::from(u16::from_le_bytes([reply[5], reply[6]]));
                let lane = lanes.get_mut(tag).ok_or(LoadError::Stray(reply[4]))?;
                check(lane.frame()[4], reply)?;
                match lane.advance(reply) {
                    None => {}
                    Some(amount) => {
                        load.operations += 1;
                        load.amount += amount;
                        let took = now - std::mem::replace(&mut started[tag], now);
                        load.latencies
                            .push(took.as_micros().try_into().unwrap_or(u32::MAX));
                        if now - begun >= time {
                            running -= 1;
                            continue;
                        }
                    }
                }
                ready.push(tag);
            }
        }
        load.elapsed = begun.elapsed();
        load.own_time = thread_time().saturating_sub(own_before);
        load.latencies.sort_unstable();
        Ok(load)
    }

    fn send(&mut self, lanes: &[Lane], ready: &[usize]) -> io::Result<()> {
        let mut slices: Vec<_> = ready
            .iter()
            .map(|lane| IoSlice::new(lanes[*lane].frame()))
            .collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let written = self.stream.write_vectored(left)?;
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    }
}

/// The processor time of the calling thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn check(asked: u8, reply: &[u8]) -> Result<(), LoadError> {
    if reply[4] == MsgType::RlError as u8 {
        let errno = u32::from_le_bytes(
            reply[HEADER..HEADER + 4]
                .try_into()
                .expect("Rlerror has an errno"),
        );
        return Err(LoadError::Refused { asked, errno });
    }
    if reply[4] == asked + 1 {
        Ok(())
    } else {
        Err(LoadError::Stray(reply[4]))
    }
}

/// What came over the connection and was not looked at.
struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn new(msize: usize) -> Input {
        Input {
            buffer: vec![0; 2 * msize.max(1 << 18)],
            start: 0,
            end: 0,
        }
    }

    /// Reads until there is at least one whole frame.
    fn fill(&mut self, mut stream: &UnixStream) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        while self.size().is_none_or(|size| size > self.end) {
            match stream.read(&mut self.buffer[self.end..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.end += count,
            }
        }
        Ok(())
    }

    fn size(&self) -> Option<usize> {
        let size = self.buffer[self.start..self.end].first_chunk()?;
        Some(u32::from_le_bytes(*size) as usize)
    }

    fn frame(&mut self) -> Option<&[u8]> {
        let size = self.size().filter(|size| *size <= self.end - self.start)?;
        let frame = &self.buffer[self.start..self.start + size];
        self.start += size;
        Some(frame)
    }
}
