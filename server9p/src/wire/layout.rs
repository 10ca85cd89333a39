//! Where the fields of each message lie.
//!
//! A frame is checked against its layout before rs9p decodes it, since rs9p allocates what a frame claims
//! before it looks whether the frame holds as much, and knows no names that are not UTF-8.

use rs9p::MsgType;

use super::name;

/// One field of a message's body.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// A number of so many bytes.
    Fixed(usize),
    /// length[2] and so many bytes of text.
    Text,
    /// count[2] and so many texts.
    Texts,
    /// count[2] and so many numbers of 13 bytes each (qids).
    Qids,
    /// count[4] and so many bytes.
    Data,
}

use Field::{Data, Fixed, Qids, Text, Texts};

/// The fields of a message after its header, in order.
///
/// Source: the 9P2000.L description that diod publishes, and Linux's `net/9p/protocol.c`.
pub(super) fn fields(kind: MsgType) -> &'static [Field] {
    use MsgType::*;
    match kind {
        TlError | RlError => &[Fixed(4)],
        TStatFs | TReadLink | TClunk | TRemove => &[Fixed(4)],
        RStatFs => &[Fixed(4 + 4 + 6 * 8 + 4)],
        TlOpen => &[Fixed(8)],
        RlOpen | RlCreate => &[Fixed(13 + 4)],
        TlCreate => &[Fixed(4), Text, Fixed(12)],
        TSymlink => &[Fixed(4), Text, Text, Fixed(4)],
        RSymlink | RMkNod | RMkDir | RAuth | RAttach => &[Fixed(13)],
        TMkNod => &[Fixed(4), Text, Fixed(16)],
        TRename => &[Fixed(8), Text],
        RReadLink => &[Text],
        TGetAttr => &[Fixed(12)],
        RGetAttr => &[Fixed(8 + 13 + 12 + 5 * 8 + 10 * 8)],
        TSetAttr => &[Fixed(4 + 4 + 12 + 8 + 32)],
        TxAttrWalk => &[Fixed(8), Text],
        RxAttrWalk => &[Fixed(8)],
        TxAttrCreate => &[Fixed(4), Text, Fixed(12)],
        TReadDir => &[Fixed(16)],
        RReadDir | RRead => &[Data],
        TFSync => &[Fixed(4)],
        TLock => &[Fixed(4 + 1 + 4 + 8 + 8 + 4), Text],
        RLock => &[Fixed(1)],
        TGetLock => &[Fixed(4 + 1 + 8 + 8 + 4), Text],
        RGetLock => &[Fixed(1 + 8 + 8 + 4), Text],
        TLink => &[Fixed(8), Text],
        TMkDir => &[Fixed(4), Text, Fixed(8)],
        TRenameAt => &[Fixed(4), Text, Fixed(4), Text],
        TUnlinkAt => &[Fixed(4), Text, Fixed(4)],
        TVersion | RVersion => &[Fixed(4), Text],
        TAuth => &[Fixed(4), Text, Text, Fixed(4)],
        TAttach => &[Fixed(8), Text, Text, Fixed(4)],
        TFlush => &[Fixed(2)],
        TWalk => &[Fixed(8), Texts],
        RWalk => &[Qids],
        TRead => &[Fixed(16)],
        TWrite => &[Fixed(12), Data],
        RWrite => &[Fixed(4)],
        RRename | RSetAttr | RxAttrCreate | RFSync | RLink | RRenameAt | RUnlinkAt | RFlush
        | RClunk | RRemove => &[],
    }
}

/// Walks over a body by its layout; `text` is called with the place of every text.
///
/// Returns the bytes used, or `None` where the body is too short. Bytes after the last field are allowed, as
/// v9fs and QEMU allow them: later revisions of the protocol append fields.
fn scan(
    body: &[u8],
    fields: &[Field],
    mut text: impl FnMut(std::ops::Range<usize>),
) -> Option<usize> {
    let mut at = 0usize;
    let number = |at: usize, width: usize| -> Option<usize> {
        let bytes = body.get(at..at + width)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | usize::from(*byte)),
        )
    };
    for field in fields {
        match field {
            Fixed(width) => at += width,
            Text | Texts => {
                let count = match field {
                    Texts => {
                        at += 2;
                        number(at - 2, 2)?
                    }
                    _ => 1,
                };
                for _ in 0..count {
                    let length = number(at, 2)?;
                    at += 2 + length;
                    if at > body.len() {
                        return None;
                    }
                    text(at - length..at);
                }
            }
            Qids => at += 2 + 13 * number(at, 2)?,
            Data => at += 4 + number(at, 4)?,
        }
        if at > body.len() {
            return None;
        }
    }
    Some(at)
}

/// Whether a body holds every field that its layout has.
pub(super) fn is_whole(body: &[u8], fields: &[Field]) -> bool {
    scan(body, fields, |_| ()).is_some()
}

/// A name that has no place in rs9p's types: carried, it is longer than 65,535 bytes.
#[derive(Debug)]
pub(super) struct NameTooLong;

/// Rewrites every text of a body with `change`; `None` where nothing needs rewriting.
fn rewrite(
    body: &[u8],
    fields: &[Field],
    change: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, NameTooLong> {
    let mut changes = Vec::new();
    scan(body, fields, |place| {
        if let Some(new) = change(&body[place.clone()]) {
            changes.push((place, new));
        }
    });
    if changes.is_empty() {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut copied = 0;
    for (place, new) in changes {
        out.extend_from_slice(&body[copied..place.start - 2]);
        let length = u16::try_from(new.len()).map_err(|_| NameTooLong)?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&new);
        copied = place.end;
    }
    out.extend_from_slice(&body[copied..]);
    Ok(Some(out))
}

/// A body in which every name is UTF-8, for rs9p to decode; `None` where it is already so.
pub(super) fn carry(body: &[u8], fields: &[Field]) -> Result<Option<Vec<u8>>, NameTooLong> {
    rewrite(body, fields, |bytes| {
        let plain = std::str::from_utf8(bytes).is_ok_and(name::is_plain);
        (!plain).then(|| name::from_wire(bytes).into_bytes())
    })
}

/// A body in which every name is the bytes it stands for, from one that rs9p encoded; `None` where it is so.
pub(super) fn uncarry(body: &[u8], fields: &[Field]) -> Option<Vec<u8>> {
    let change = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        (!name::is_plain(text)).then(|| name::to_wire(text))
    };
    rewrite(body, fields, change).expect("a name only shrinks when it is put back into its bytes")
}
