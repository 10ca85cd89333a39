//! Between frames and rs9p's messages.

use std::ops::Range;

use num_traits::FromPrimitive;
use rs9p::{DirEntry, DirEntryData, FCall, Msg, MsgType, QId, QIdType, serialize};

use super::{HEADER, READ_HEADER, WRITE_HEADER, from_wire, layout, to_wire};
use crate::shared_memory::{TFETCH, TSTORE};

/// A request, decoded.
#[derive(Debug)]
pub struct Request {
    /// The tag that its reply must bear.
    pub tag: u16,
    /// The message. A Twrite has no data here: see [`Request::payload`].
    pub call: FCall,
    /// Where in the frame a Twrite's data lie.
    pub payload: Option<Range<usize>>,
    /// Tfsync's second field, which rs9p's type lacks: sync the data only.
    pub datasync: bool,
    /// Where in the memory that the client shares the data of a Tread go, or those of a Twrite are, if they do not come
    /// with the messages.
    pub shared: Option<Range<usize>>,
}

/// Why a frame could not be decoded. Its framing was sound, so that the session can answer and go on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// No such message, or not one that a client may send.
    #[error("message type {0} is not a 9P2000.L request")]
    Unknown(u8),
    /// The body ends before the message's fields do.
    #[error("the frame ends within the fields of its message (type {0})")]
    Short(u8),
    /// A name cannot be held.
    #[error("a name in the frame is longer than any file system takes (type {0})")]
    LongName(u8),
}

/// Decodes a request's frame, size field included.
///
/// # Errors
/// See [`DecodeError`]. The caller must have checked that the frame holds a header and as much as its size says.
pub fn decode_request(frame: &[u8]) -> Result<Request, DecodeError> {
    let code = frame[4];
    let tag = u16::from_le_bytes([frame[5], frame[6]]);
    if matches!(code, TFETCH | TSTORE) {
        return decode_shared(frame, tag);
    }
    let kind = kind_of(code)
        .filter(MsgType::is_t)
        .ok_or(DecodeError::Unknown(code))?;
    let fields = layout::fields(kind);
    let body = &frame[HEADER..];
    if kind == MsgType::TlError {
        return Err(DecodeError::Unknown(code));
    }
    if !layout::is_whole(body, fields) {
        return Err(DecodeError::Short(code));
    }
    if kind == MsgType::TWrite {
        let call = FCall::TWrite {
            fid: u32_at(body, 0),
            offset: u64_at(body, 4),
            data: rs9p::Data(Vec::new()),
        };
        let length = u32_at(body, 12) as usize;
        return Ok(Request {
            tag,
            call,
            payload: Some(WRITE_HEADER..WRITE_HEADER + length),
            datasync: false,
            shared: None,
        });
    }
    let msg = match layout::carry(body, fields).map_err(|_| DecodeError::LongName(code))? {
        None => decode(&frame[4..]),
        Some(carried) => decode(&[&frame[4..HEADER], &carried].concat()),
    };
    let msg = msg.ok_or(DecodeError::Short(code))?;
    let datasync = kind == MsgType::TFSync && body.len() >= 8 && u32_at(body, 4) != 0;
    Ok(Request {
        tag,
        call: msg.body,
        payload: None,
        datasync,
        shared: None,
    })
}

/// A read or write whose data are in shared memory: fid[4] offset[8] count[4] place[8].
fn decode_shared(frame: &[u8], tag: u16) -> Result<Request, DecodeError> {
    let (code, body) = (frame[4], &frame[HEADER..]);
    if body.len() < 24 {
        return Err(DecodeError::Short(code));
    }
    let (fid, offset, count) = (u32_at(body, 0), u64_at(body, 4), u32_at(body, 12));
    let place = usize::try_from(u64_at(body, 16)).unwrap_or(usize::MAX);
    let call = match code {
        TFETCH => FCall::TRead { fid, offset, count },
        _ => FCall::TWrite {
            fid,
            offset,
            data: rs9p::Data(Vec::new()),
        },
    };
    Ok(Request {
        tag,
        call,
        payload: None,
        datasync: false,
        shared: Some(place..place.saturating_add(count as usize)),
    })
}

fn decode(mut message: &[u8]) -> Option<Msg> {
    serialize::read_msg(&mut message).ok()
}

fn kind_of(code: u8) -> Option<MsgType> {
    MsgType::from_u8(code)
}

fn u32_at(body: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(body[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(body: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(body[at..at + 8].try_into().expect("eight bytes"))
}

/// What answers a request.
#[derive(Debug)]
pub enum Reply {
    /// A message as rs9p has it.
    Call(FCall),
    /// An Rgetattr with the fields that rs9p's type lacks.
    Attributes {
        /// The message, without them.
        call: FCall,
        /// The inode's generation number.
        generation: u64,
    },
    /// A frame with its payload in place: [`READ_HEADER`] bytes to fill, then the bytes read. For Rread and
    /// Rreaddir.
    Payload {
        /// Which of the two.
        kind: MsgType,
        /// The frame's room.
        frame: Vec<u8>,
    },
    /// How many bytes went through shared memory.
    Shared {
        /// The message type.
        kind: u8,
        /// Bytes.
        count: u32,
    },
}

/// The frame of a reply.
pub fn encode_reply(tag: u16, reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Call(call) => encode(tag, call),
        Reply::Attributes { call, generation } => {
            let mut frame = encode(tag, call);
            // gen[8] is followed by data_version[8] alone.
            let at = frame.len() - 16;
            frame[at..at + 8].copy_from_slice(&generation.to_le_bytes());
            frame
        }
        Reply::Payload { kind, mut frame } => {
            let (size, count) = (frame.len() as u32, (frame.len() - READ_HEADER) as u32);
            frame[0..4].copy_from_slice(&size.to_le_bytes());
            frame[4] = kind as u8;
            frame[5..7].copy_from_slice(&tag.to_le_bytes());
            frame[7..11].copy_from_slice(&count.to_le_bytes());
            frame
        }
        Reply::Shared { kind, count } => {
            let mut frame = (READ_HEADER as u32).to_le_bytes().to_vec();
            frame.push(kind);
            frame.extend_from_slice(&tag.to_le_bytes());
            frame.extend_from_slice(&count.to_le_bytes());
            frame
        }
    }
}

/// The frame of a request, as a client sends it.
pub fn encode_request(tag: u16, call: FCall) -> Vec<u8> {
    encode(tag, call)
}

/// Adds one entry to the payload of an Rreaddir: qid[13] offset[8] type[1] name[s].
pub fn push_entry(frame: &mut Vec<u8>, qid: QId, offset: u64, typ: u8, name: &[u8]) {
    frame.push(qid.typ.bits());
    frame.extend_from_slice(&qid.version.to_le_bytes());
    frame.extend_from_slice(&qid.path.to_le_bytes());
    frame.extend_from_slice(&offset.to_le_bytes());
    frame.push(typ);
    frame.extend_from_slice(&(name.len() as u16).to_le_bytes());
    frame.extend_from_slice(name);
}

fn encode(tag: u16, call: FCall) -> Vec<u8> {
    if let FCall::RReadDir { data } = &call {
        // rs9p would write the names as it carries them.
        let mut frame = vec![0; READ_HEADER];
        for entry in data.data() {
            push_entry(
                &mut frame,
                entry.qid,
                entry.offset,
                entry.typ,
                &to_wire(&entry.name),
            );
        }
        return encode_reply(
            tag,
            Reply::Payload {
                kind: MsgType::RReadDir,
                frame,
            },
        );
    }
    let kind = MsgType::from(&call);
    // The largest of the frequent ones is an Rgetattr, 160 bytes.
    let mut frame = Vec::with_capacity(192);
    frame.extend_from_slice(&[0; 4]);
    serialize::write_msg(&mut frame, &Msg { tag, body: call })
        .expect("writing to memory does not fail");
    if let Some(body) = layout::uncarry(&frame[HEADER..], layout::fields(kind)) {
        frame.truncate(HEADER);
        frame.extend_from_slice(&body);
    }
    let size = frame.len() as u32;
    frame[0..4].copy_from_slice(&size.to_le_bytes());
    frame
}

/// Decodes a reply's frame: its tag and its message, what it carries included; `None` where it is no whole reply.
pub fn decode_reply(frame: &[u8]) -> Option<(u16, FCall)> {
    let kind = kind_of(*frame.get(4)?)?;
    let body = frame.get(HEADER..)?;
    if !kind.is_r() || !layout::is_whole(body, layout::fields(kind)) {
        return None;
    }
    if kind == MsgType::RReadDir {
        let tag = u16::from_le_bytes([frame[5], frame[6]]);
        let data = entries(&body[4..4 + u32_at(body, 0) as usize])?;
        return Some((
            tag,
            FCall::RReadDir {
                data: DirEntryData::with(data),
            },
        ));
    }
    let msg = match layout::carry(body, layout::fields(kind)).ok()? {
        None => decode(&frame[4..])?,
        Some(carried) => decode(&[&frame[4..HEADER], &carried].concat())?,
    };
    Some((msg.tag, msg.body))
}

/// The entries of an Rreaddir, as [`push_entry`] makes them.
fn entries(mut data: &[u8]) -> Option<Vec<DirEntry>> {
    let mut entries = Vec::new();
    while !data.is_empty() {
        let head = data.get(..24)?;
        let length = usize::from(u16::from_le_bytes([head[22], head[23]]));
        let name = data.get(24..24 + length)?;
        let typ = QIdType::from_bits_truncate(head[0]);
        entries.push(DirEntry {
            qid: QId {
                typ,
                version: u32_at(head, 1),
                path: u64_at(head, 5),
            },
            offset: u64_at(head, 13),
            typ: head[21],
            name: from_wire(name),
        });
        data = &data[24 + length..];
    }
    Some(entries)
}
