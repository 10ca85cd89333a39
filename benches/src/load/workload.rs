//! The operations that are measured: what each is made of, and where its state is.

use rs9p::{FCall, GetAttrMask};
use server9p::wire::{self, HEADER, READ_HEADER, WRITE_HEADER};

use super::{Connection, LoadError};

/// Name of the large file that reads and writes go to.
pub const FILE: &str = "file";

/// Bytes of that file.
pub const FILE_SIZE: u64 = 256 << 20;

/// Name of the directory with many entries.
pub const CROWD: &str = "crowd";

/// Entries of that directory.
pub const ENTRIES: u64 = 2000;

/// How the names of files begin that operations make and remove.
pub const MADE: &str = "made-";

/// Bytes of a large message's data.
pub const LARGE: u32 = 512 << 10;

/// Bytes of a small message's data.
pub const SMALL: u32 = 4096;

/// Where a file's first fid is; each lane has its own.
const FIDS: u32 = 100;

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads one part after another, in messages of 512 KiB.
    SequentialRead,
    /// Writes one part after another, in messages of 512 KiB.
    SequentialWrite,
    /// Writes one part after another, in messages as large as the connection allows.
    HugeWrite,
    /// Reads 4 KiB somewhere.
    RandomRead,
    /// Looks a file up, asks for its attributes and forgets it.
    Stat,
    /// Makes a file of 4 KiB and removes it.
    Create,
    /// The same with Twalk and Tremove, as v9fs does it where a server has no Tunlinkat.
    CreateRemove,
    /// Lists a directory of 2,000 entries.
    List,
}

impl Kind {
    /// Whether the rate is one of bytes.
    pub fn moves_data(self) -> bool {
        matches!(
            self,
            Kind::SequentialRead | Kind::SequentialWrite | Kind::HugeWrite
        )
    }

    /// A rate as people read it.
    pub fn rate(self, rate: f64) -> String {
        match self {
            _ if self.moves_data() => format!("{:.0} MiB/s", rate / f64::from(1 << 20)),
            Kind::List => format!("{rate:.0} entries/s"),
            _ => format!("{rate:.0}/s"),
        }
    }
}

/// An operation, so and so many times at once.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// What it does, as the table of results names it.
    pub name: &'static str,
    /// The operation.
    pub kind: Kind,
    /// How many are in flight.
    pub depth: u16,
}

/// The requests of one operation at a time.
#[derive(Debug)]
pub struct Lane {
    kind: Kind,
    stages: Vec<Vec<u8>>,
    stage: usize,
    random: u64,
    /// What is read or written by one request, bytes.
    chunk: u64,
    /// How far one lane's requests are from each other, bytes.
    stride: u64,
    /// Where this lane began.
    first: u64,
    offset: u64,
    /// What the operation under way has listed.
    listed: u64,
}

impl Workload {
    /// Sets up what the operations need (open files, fids) and the lanes.
    ///
    /// # Errors
    /// Where the server refuses what is needed.
    pub fn lanes(&self, connection: &mut Connection) -> Result<Vec<Lane>, LoadError> {
        (0..self.depth)
            .map(|lane| self.lane(connection, lane))
            .collect()
    }

    fn lane(&self, connection: &mut Connection, tag: u16) -> Result<Lane, LoadError> {
        let fid = FIDS + u32::from(tag);
        let room = connection.msize - WRITE_HEADER as u32 - 1;
        let chunk = match self.kind {
            Kind::SequentialRead | Kind::SequentialWrite => LARGE.min(room),
            Kind::HugeWrite => room,
            _ => SMALL,
        };
        let mut open = |name: &str, flags| -> Result<(), LoadError> {
            connection.call(walk(0, fid, &[name]))?;
            connection.call(FCall::TlOpen { fid, flags }).map(drop)
        };
        let calls = match self.kind {
            Kind::SequentialRead | Kind::RandomRead => {
                open(FILE, 0)?;
                vec![FCall::TRead {
                    fid,
                    offset: 0,
                    count: chunk,
                }]
            }
            Kind::SequentialWrite | Kind::HugeWrite => {
                open(FILE, 1)?;
                vec![write(fid, chunk)]
            }
            Kind::Stat => vec![
                walk(0, fid, &[FILE]),
                FCall::TGetAttr {
                    fid,
                    req_mask: GetAttrMask::BASIC,
                },
                FCall::TClunk { fid },
            ],
            Kind::Create | Kind::CreateRemove => {
                let name = format!("{MADE}{tag}");
                let mut calls = vec![
                    walk(0, fid, &[]),
                    FCall::TlCreate {
                        fid,
                        name: name.clone(),
                        flags: 0o102,
                        mode: 0o644,
                        gid: 0,
                    },
                    write(fid, chunk),
                    FCall::TClunk { fid },
                ];
                if self.kind == Kind::Create {
                    calls.push(FCall::TUnlinkAt {
                        dirfd: 0,
                        name,
                        flags: 0,
                    });
                } else {
                    calls.extend([walk(0, fid, &[&name]), FCall::TRemove { fid }]);
                }
                calls
            }
            Kind::List => {
                open(CROWD, 0o200_000)?;
                vec![FCall::TReadDir {
                    fid,
                    offset: 0,
                    count: room,
                }]
            }
        };
        let stages = calls
            .into_iter()
            .map(|call| wire::encode_request(tag, call))
            .collect();
        Ok(Lane {
            kind: self.kind,
            stages,
            stage: 0,
            random: 0x9e37_79b9_7f4a_7c15 ^ u64::from(tag),
            chunk: u64::from(chunk),
            stride: u64::from(self.depth) * u64::from(chunk),
            first: u64::from(tag) * u64::from(chunk),
            offset: 0,
            listed: 0,
        }
        .seek())
    }
}

fn walk(fid: u32, newfid: u32, names: &[&str]) -> FCall {
    let wnames = names.iter().map(|name| (*name).to_owned()).collect();
    FCall::TWalk {
        fid,
        newfid,
        wnames,
    }
}

fn write(fid: u32, count: u32) -> FCall {
    FCall::TWrite {
        fid,
        offset: 0,
        data: rs9p::Data(vec![0x5a; count as usize]),
    }
}

impl Lane {
    /// The frame of the request that is to be made now.
    pub fn frame(&self) -> &[u8] {
        &self.stages[self.stage]
    }

    /// Takes the reply to that request. What the operation moved, when it is done.
    pub(super) fn advance(&mut self, reply: &[u8]) -> Option<u64> {
        if self.kind == Kind::List {
            return self.listed(reply);
        }
        self.stage += 1;
        if self.stage < self.stages.len() {
            return None;
        }
        self.stage = 0;
        let amount = match self.kind {
            Kind::SequentialRead => (reply.len() - READ_HEADER) as u64,
            Kind::SequentialWrite | Kind::HugeWrite => {
                u64::from(u32::from_le_bytes(field(reply, HEADER)))
            }
            _ => 1,
        };
        self.advance_offset();
        Some(amount)
    }

    fn advance_offset(&mut self) {
        match self.kind {
            Kind::SequentialRead | Kind::SequentialWrite | Kind::HugeWrite => {
                let next = self.offset + self.stride;
                self.offset = if next + self.chunk > FILE_SIZE {
                    self.first
                } else {
                    next
                };
            }
            Kind::RandomRead => {
                // Marsaglia's xorshift: the same blocks for every server.
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                self.offset = self.random % (FILE_SIZE / self.chunk) * self.chunk;
            }
            Kind::Stat | Kind::Create | Kind::CreateRemove | Kind::List => return,
        }
        put(&mut self.stages[0], HEADER + 4, self.offset);
    }

    /// Begins at the lane's own place.
    fn seek(mut self) -> Lane {
        if self.kind.moves_data() {
            self.offset = self.first;
            put(&mut self.stages[0], HEADER + 4, self.offset);
        }
        self
    }

    /// Goes on after the last entry of the reply; done when there was none.
    fn listed(&mut self, reply: &[u8]) -> Option<u64> {
        let mut at = READ_HEADER;
        let mut last = 0;
        while at < reply.len() {
            // qid[13] offset[8] type[1] name[s]
            last = u64::from_le_bytes(field(reply, at + 13));
            at += 24 + usize::from(u16::from_le_bytes(field(reply, at + 22)));
            self.listed += 1;
        }
        put(&mut self.stages[0], HEADER + 4, last);
        (reply.len() == READ_HEADER).then(|| std::mem::take(&mut self.listed))
    }
}

fn field<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    frame[at..at + N]
        .try_into()
        .expect("the slice has that length")
}

fn put(frame: &mut [u8], at: usize, value: u64) {
    frame[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
