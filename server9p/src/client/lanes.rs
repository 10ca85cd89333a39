//! Large reads and writes through memory that the server shares (`shared_memory`).

use std::{
    ops::Range,
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Client, ClientError, Fid, wire::Encoder};
use crate::shared_memory::{SharedMemory, TFETCH, TMEMORY, TSTORE};

/// Lanes that there are: requests that may use the memory at the same time.
const LANES: usize = 16;

/// The memory, and which parts of it are in use.
#[derive(Debug)]
pub(super) struct Lanes {
    memory: SharedMemory,
    size: usize,
    /// Lanes that nobody uses. Who gave one back last is followed first: its memory is still in the processor's cache.
    free: Mutex<Vec<usize>>,
}

impl Lanes {
    fn free(&self) -> MutexGuard<'_, Vec<usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of the memory, for one request at a time.
#[derive(Debug)]
pub struct Lane {
    lanes: Arc<Lanes>,
    start: usize,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.lanes.free().push(self.start);
    }
}

impl Lane {
    /// What was fetched, from the lane's start.
    ///
    /// # Panics
    /// Where the lane is shorter.
    pub fn data(&self, length: usize) -> &[u8] {
        assert!(
            length <= self.lanes.size,
            "a lane has {} bytes",
            self.lanes.size
        );
        // SAFETY: the lane is ours, and every fetch into it was waited for: the server writes there only on request.
        let bytes = unsafe { self.lanes.memory.bytes(self.start..self.start + length) };
        bytes.expect("a lane is in the memory")
    }
}

impl Client {
    /// Offers the server, which must be ours, memory for requests of up to `size` bytes each. Where it takes none, all data go
    /// through the socket. Nothing may be in flight.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn share_memory(&mut self, size: usize) -> Result<(), ClientError> {
        let Ok(memory) = SharedMemory::new(LANES * size) else {
            return Ok(());
        };
        let offer = Encoder::new(TMEMORY).finish(0);
        let answer = self.conn.submit_with(offer, memory.fd().as_fd())?.wait()?;
        match Client::check(answer, TMEMORY) {
            Ok(_) => {
                self.lanes = Some(Arc::new(Lanes {
                    memory,
                    size,
                    free: Mutex::new((0..LANES).rev().map(|lane| lane * size).collect()),
                }));
                Ok(())
            }
            Err(ClientError::Server(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A lane for a request of so many bytes, if there is one and the memory saves more than it costs.
    pub fn lane(&self, size: usize) -> Option<Lane> {
        /// What is less goes with its message.
        const LEAST: usize = 32 << 10;
        let lanes = self.lanes.as_ref()?;
        if size < LEAST || size > lanes.size {
            return None;
        }
        let start = lanes.free().pop()?;
        Some(Lane {
            lanes: Arc::clone(lanes),
            start,
        })
    }

    /// As [`Client::read_ahead`], into a lane at `at`.
    pub fn fetch(
        &self,
        fid: &Fid,
        offset: u64,
        count: u32,
        part: u32,
        lane: &mut Lane,
        at: usize,
    ) -> Result<usize, ClientError> {
        let parts: Vec<Range<usize>> = parts(count as usize, self.io_size(part)).collect();
        let frames = parts.iter().map(|range| {
            let place = lane.start + at + range.start;
            request(TFETCH, fid, offset + range.start as u64, range.len(), place)
        });
        let started = self.conn.submit_all(frames.collect())?;
        let lengths = parts.iter().map(Range::len);
        Client::moved(started.into_iter().map(Ok).zip(lengths), TFETCH)
    }

    /// As [`Client::write_ahead`], by way of a lane.
    pub fn store(
        &self,
        fid: &Fid,
        offset: u64,
        data: &[u8],
        part: u32,
        lane: &mut Lane,
    ) -> Result<usize, ClientError> {
        let mut started = Vec::new();
        for range in parts(data.len().min(lane.lanes.size), self.io_size(part)) {
            let place = lane.start + range.start;
            lane.lanes.memory.put(place, &data[range.clone()]);
            let frame = request(TSTORE, fid, offset + range.start as u64, range.len(), place);
            let pending = self.conn.submit(frame, &[], None);
            let stop = pending.is_err();
            started.push((pending, range.len()));
            if stop {
                break;
            }
        }
        Client::moved(started.into_iter(), TSTORE)
    }
}

/// The parts of so many bytes, each of at most `size`.
fn parts(count: usize, size: u32) -> impl Iterator<Item = Range<usize>> {
    let size = (size as usize).max(1);
    (0..count)
        .step_by(size)
        .map(move |start| start..count.min(start + size))
}

fn request(kind: u8, fid: &Fid, offset: u64, count: usize, place: usize) -> Vec<u8> {
    let request = Encoder::new(kind).u32(fid.number()).u64(offset);
    request.u32(count as u32).u64(place as u64).finish(0)
}
