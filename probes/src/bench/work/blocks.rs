//! Operations on blocks of one large file.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    ptr, slice,
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{Job, Step, WorkError, call};
use crate::bench::workload::{Operation, Order, PAGE, WHOLE};

/// Name of the file that the reading and writing workloads share, in the directory that they are given.
pub const FILE: &str = "bench.dat";

/// Where appending ends and begins anew, bytes: a disk must not fill up.
const APPENDED: u64 = 256 << 20;

pub(super) fn prepare(job: &Job) -> Result<(), WorkError> {
    let path = job.dir.join(FILE);
    if fs::metadata(&path).is_ok_and(|found| found.len() == job.file_bytes) {
        return Ok(());
    }
    let file = call("create", &path, File::create(&path))?;
    let mut block = vec![0; WHOLE];
    for offset in (0..job.file_bytes).step_by(WHOLE) {
        stamp(&mut block, offset);
        call("write", &path, file.write_all_at(&block, offset))?;
    }
    call("fsync", &path, file.sync_all())
}

/// One thread's operation.
pub(super) fn step(job: &Job, thread: u32) -> Result<Step<'static>, WorkError> {
    let size = job.workload.block();
    if job.workload.operation == Operation::Append {
        return append(appended(job, thread), size);
    }
    let path = job.dir.join(FILE);
    let writes = !job.workload.reads();
    let open = move |path: &Path| {
        let file = OpenOptions::new().read(true).write(writes).open(path);
        call("open", path, file)
    };
    let mut file = open(&path)?;
    let mut places = Places::new(job, thread);
    let mut block = vec![0; size];
    // So many operations read as much as the file has.
    let pass = (job.file_bytes / size as u64).max(1);
    Ok(match job.workload.operation {
        Operation::Read => Box::new(move |number| {
            // Some clients keep what they have read for as long as the file is open; that is not what is measured.
            if number > 0 && number % pass == 0 {
                file = open(&path)?;
            }
            let offset = places.next() * size as u64;
            call("read", &path, file.read_exact_at(&mut block, offset))?;
            check(&path, &block, offset)
        }),
        Operation::MmapRead => {
            let length = job.file_bytes as usize;
            let mut mapping = Mapping::new(&file, length, &path)?;
            Box::new(move |number| {
                let offset = places.next() * size as u64;
                if offset == 0 && number > 0 {
                    mapping = Mapping::new(&file, length, &path)?;
                }
                block.copy_from_slice(&mapping.bytes()[offset as usize..][..size]);
                check(&path, &block, offset)
            })
        }
        operation => Box::new(move |_| {
            let offset = places.next() * size as u64;
            stamp(&mut block, offset);
            call("write", &path, file.write_all_at(&block, offset))?;
            if operation == Operation::Fsync {
                call("fsync", &path, file.sync_all())?;
            }
            Ok(size as u64)
        }),
    })
}

fn append(path: PathBuf, size: usize) -> Result<Step<'static>, WorkError> {
    let file = OpenOptions::new().append(true).create(true).open(&path);
    let file = call("open", &path, file)?;
    call("ftruncate", &path, file.set_len(0))?;
    let block = vec![0x41; size];
    let mut length = 0;
    Ok(Box::new(move |_| {
        if length >= APPENDED {
            call("ftruncate", &path, file.set_len(0))?;
            length = 0;
        }
        call(
            "write",
            &path,
            std::io::Write::write_all(&mut &file, &block),
        )?;
        length += size as u64;
        Ok(size as u64)
    }))
}

fn appended(job: &Job, thread: u32) -> PathBuf {
    job.dir.join(format!("append-{thread}"))
}

/// Removes what appending has made; it is nothing that a later turn needs.
pub(super) fn clean(job: &Job) {
    if job.workload.operation == Operation::Append {
        for thread in 0..job.workload.threads {
            let _ = fs::remove_file(appended(job, thread));
        }
    }
}

fn check(path: &Path, block: &[u8], offset: u64) -> Result<u64, WorkError> {
    let right = |(i, page): (usize, &[u8])| page[..8] == (offset + (i * PAGE) as u64).to_le_bytes();
    if block.chunks(PAGE).enumerate().all(right) {
        Ok(block.len() as u64)
    } else {
        Err(WorkError::WrongData {
            path: path.to_owned(),
            offset,
        })
    }
}

/// Every page of a block begins with its own place in the file.
fn stamp(block: &mut [u8], offset: u64) {
    for (i, page) in block.chunks_mut(PAGE).enumerate() {
        page[..8].copy_from_slice(&(offset + (i * PAGE) as u64).to_le_bytes());
    }
}

/// The file in memory, private and read-only.
struct Mapping {
    start: *mut std::ffi::c_void,
    length: usize,
}

// SAFETY: the mapping is only read, and unmapped by whoever owns it.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(file: &File, length: usize, path: &Path) -> Result<Mapping, WorkError> {
        // SAFETY: a new mapping at a place of the kernel's choice touches no memory of ours.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                file,
                0,
            )
        };
        let start = call("mmap", path, start.map_err(Into::into))?;
        Ok(Mapping { start, length })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: so much is mapped until this is dropped. The file is of this run alone, which does not shorten it.
        unsafe { slice::from_raw_parts(self.start.cast(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from it any more.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}

/// The blocks' numbers, one after the other or at random (SplitMix64, Steele, Lea and Flood 2014).
pub(super) struct Places {
    pub next: u64,
    pub state: u64,
    pub count: u64,
    pub random: bool,
}

impl Places {
    fn new(job: &Job, thread: u32) -> Places {
        let count = job.file_bytes / job.workload.block() as u64;
        Places {
            // Threads begin at places of their own, as far as the file has them.
            next: count * u64::from(thread) / u64::from(job.workload.threads),
            state: job.seed ^ (u64::from(thread) << 32),
            count,
            random: job.workload.order == Order::Random,
        }
    }

    pub fn next(&mut self) -> u64 {
        if !self.random {
            self.next = (self.next + 1) % self.count;
            return (self.next + self.count - 1) % self.count;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % self.count
    }
}
