//! One JSON line for every message, for people and for what explains failures.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::Mutex,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rs9p::{
    FCall, MsgType,
    fcall::{SetAttr, SetAttrMask, Time},
};
use rustix::io::Errno;
use serde::Serialize;

use crate::wire::{READ_HEADER, Reply, Request};

/// Where messages are written to.
#[derive(Debug)]
pub struct Trace {
    file: Mutex<BufWriter<File>>,
}

/// Why a trace cannot be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write the trace to {path}: {source}; name a file in a directory that you may write to"
)]
pub struct TraceError {
    path: String,
    source: io::Error,
}

/// One message and its reply.
#[derive(Serialize)]
struct Line<'a> {
    /// Seconds since 1970 at which the request was begun with.
    time: f64,
    /// Number of the connection, from 1.
    session: u64,
    tag: u16,
    /// The request's name, `Twalk`.
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fid: Option<u32>,
    /// Path of the fid before the request, from the export's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    /// The names and numbers of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// `ok`, or the name of the errno.
    result: String,
    /// Bytes read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// How long it took, microseconds.
    duration_us: f64,
}

impl Trace {
    /// Begins a trace in a new file; one that is there is overwritten.
    ///
    /// # Errors
    /// Where the file cannot be created.
    pub fn create(path: &Path) -> Result<Trace, TraceError> {
        let file = File::create(path).map_err(|source| TraceError {
            path: path.display().to_string(),
            source,
        })?;
        Ok(Trace {
            file: Mutex::new(BufWriter::new(file)),
        })
    }

    pub(super) fn message(
        &self,
        session: u64,
        request: &Request,
        path: Option<String>,
        reply: &Reply,
        begun: Instant,
    ) {
        let took = begun.elapsed();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let line = Line {
            time: (now.saturating_sub(took)).as_secs_f64(),
            session,
            tag: request.tag,
            kind: kind(&request.call),
            fid: request
                .call
                .fids()
                .first()
                .copied()
                .or(request.call.newfid()),
            path: path.as_deref(),
            detail: detail(request),
            result: result(reply),
            bytes: bytes(reply),
            duration_us: took.as_secs_f64() * 1e6,
        };
        let mut file = self.file.lock().expect("no holder of this lock panics");
        // A full disk must not end the session; the trace is then short of lines.
        let written = serde_json::to_writer(&mut *file, &line).map_err(io::Error::from);
        if let Err(error) = written
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.flush())
        {
            tracing::warn!(%error, "the trace could not be written");
        }
    }
}

/// The message's name as the protocol writes it: `Tgetattr`.
fn kind(call: &FCall) -> String {
    let name = format!("{:?}", MsgType::from(call));
    format!("T{}", name[1..].to_lowercase())
}

fn result(reply: &Reply) -> String {
    match reply {
        Reply::Call(FCall::RlError { ecode }) => {
            errno_name(Errno::from_raw_os_error(*ecode as i32))
        }
        _ => "ok".to_owned(),
    }
}

/// The name of an errno, `EINVAL`.
fn errno_name(errno: Errno) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno.raw_os_error()))
}

fn bytes(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Payload { frame, .. } => Some((frame.len() - READ_HEADER) as u64),
        Reply::Call(FCall::RWrite { count }) | Reply::Shared { count, .. } => {
            Some(u64::from(*count))
        }
        _ => None,
    }
}

/// What a Tsetattr asks for: the fields that are not, clients leave as they are.
fn changes(valid: SetAttrMask, stat: &SetAttr) -> String {
    let time = |time: &Time| format!("{}.{:09}", time.sec, time.nsec);
    let fields = [
        (SetAttrMask::MODE, format!("mode={:#o}", stat.mode)),
        (SetAttrMask::UID, format!("uid={}", stat.uid)),
        (SetAttrMask::GID, format!("gid={}", stat.gid)),
        (SetAttrMask::SIZE, format!("size={}", stat.size)),
        (
            SetAttrMask::ATIME_SET,
            format!("atime={}", time(&stat.atime)),
        ),
        (
            SetAttrMask::MTIME_SET,
            format!("mtime={}", time(&stat.mtime)),
        ),
        (SetAttrMask::ATIME, "atime=now".to_owned()),
        (SetAttrMask::MTIME, "mtime=now".to_owned()),
        (SetAttrMask::CTIME, "ctime=now".to_owned()),
    ];
    let told = |flag| match flag {
        SetAttrMask::ATIME => !valid.contains(SetAttrMask::ATIME_SET),
        SetAttrMask::MTIME => !valid.contains(SetAttrMask::MTIME_SET),
        _ => true,
    };
    let fields = fields
        .into_iter()
        .filter(|(flag, _)| valid.contains(*flag) && told(*flag));
    fields.map(|(_, text)| text).collect::<Vec<_>>().join(" ")
}

fn detail(request: &Request) -> Option<String> {
    Some(match &request.call {
        FCall::TVersion { msize, version } => format!("msize={msize} version={version}"),
        FCall::TAttach {
            uname,
            aname,
            n_uname,
            ..
        } => format!("uname={uname} aname={aname} n_uname={n_uname}"),
        FCall::TWalk { newfid, wnames, .. } => {
            format!("newfid={newfid} names={}", wnames.join("/"))
        }
        FCall::TlOpen { flags, .. } => format!("flags={flags:#o}"),
        FCall::TlCreate {
            name, flags, mode, ..
        } => format!("name={name} flags={flags:#o} mode={mode:#o}"),
        FCall::TMkDir { name, mode, .. } => format!("name={name} mode={mode:#o}"),
        FCall::TMkNod { name, mode, .. } => format!("name={name} mode={mode:#o}"),
        FCall::TSymlink { name, symtgt, .. } => format!("name={name} target={symtgt}"),
        FCall::TLink { fid, name, .. } => format!("old={fid} name={name}"),
        FCall::TRename { dfid, name, .. } => format!("dir={dfid} name={name}"),
        FCall::TRenameAt {
            oldname,
            newdirfid,
            newname,
            ..
        } => {
            format!("old={oldname} newdir={newdirfid} new={newname}")
        }
        FCall::TUnlinkAt { name, flags, .. } => format!("name={name} flags={flags:#x}"),
        FCall::TRead { offset, count, .. } | FCall::TReadDir { offset, count, .. } => {
            format!("offset={offset} count={count}")
        }
        FCall::TWrite { offset, .. } => {
            format!(
                "offset={offset} count={}",
                request
                    .payload
                    .as_ref()
                    .or(request.shared.as_ref())
                    .map_or(0, |place| place.len())
            )
        }
        FCall::TSetAttr { valid, stat, .. } => changes(*valid, stat),
        FCall::TGetAttr { req_mask, .. } => format!("mask={:#x}", req_mask.bits()),
        FCall::TxAttrWalk { newfid, name, .. } => format!("newfid={newfid} name={name}"),
        FCall::TxAttrCreate {
            name,
            attr_size,
            flags,
            ..
        } => format!("name={name} size={attr_size} flags={flags}"),
        FCall::TLock { flock, .. } => {
            format!(
                "type={} flags={} start={} length={}",
                flock.typ.bits(),
                flock.flags.bits(),
                flock.start,
                flock.length
            )
        }
        FCall::TFlush { oldtag } => format!("oldtag={oldtag}"),
        _ => return None,
    })
}
