//! What an agent and its orchestrator say to each other.
//!
//! A frame is two 32-bit little-endian lengths, a JSON header of the first length, and raw bytes of the
//! second: a command's output would double in size, or worse, as JSON text. The same frames travel over a
//! socket pair and over a guest's character device, so nothing here relies on passing file descriptors.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use crate::stack::{CommandSpec, Ended, Finished, Mounted};

/// The longest header or body, in bytes, that a side accepts: what exceeds it is not a frame of ours.
const MOST: usize = 48 << 20;

/// From the orchestrator to the agent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToAgent {
    /// Run a command.
    Run(Box<Run>),
    /// Kill the command of this id; it is reported like any other end.
    Kill(u64),
    /// What follows is for the standard input of the command of this id.
    Say(u64),
    /// Kill everything, unmount, exit.
    Stop,
}

/// From the agent to the orchestrator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromAgent {
    /// The world is up.
    Ready(Mounted),
    /// The world could not be brought up: a sentence.
    Failed(String),
    /// A command ended; its output follows the header.
    Ended(EndOf),
    /// What follows came from the standard input of the command of this id, which is a line.
    Said(u64),
    /// The volume died: a sentence. Every command is lost but the one that it died for, whose end follows.
    Lost {
        /// What happened.
        why: String,
        /// The command at whose limit the volume had to be aborted.
        except: Option<u64>,
    },
}

/// A command as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    /// Names it in later frames.
    pub id: u64,
    argv: Vec<Text>,
    env: Vec<(Text, Text)>,
    clear_env: bool,
    cwd: Text,
    fresh: bool,
    user: Option<(u32, u32)>,
    umask: Option<u32>,
    limit: Duration,
    /// Whether its standard input is a line to the orchestrator.
    pub line: bool,
    tracer: Option<Vec<Text>>,
}

impl Run {
    /// Names a command.
    pub fn new(id: u64, spec: &CommandSpec) -> Run {
        Run {
            id,
            argv: spec.argv.iter().map(|a| Text::of(a)).collect(),
            env: spec
                .env
                .iter()
                .map(|(name, value)| (Text::of(name), Text::of(value)))
                .collect(),
            clear_env: spec.clear_env,
            cwd: Text::of(spec.cwd.as_os_str()),
            fresh: spec.fresh,
            user: spec.user,
            umask: spec.umask,
            limit: spec.limit,
            line: spec.line.is_some(),
            tracer: spec
                .tracer
                .as_ref()
                .map(|words| words.iter().map(|word| Text::of(word)).collect()),
        }
    }

    /// The command, as it was before it travelled, without its line.
    pub fn into_spec(self) -> CommandSpec {
        CommandSpec {
            argv: self.argv.into_iter().map(Text::into_os).collect(),
            env: self
                .env
                .into_iter()
                .map(|(name, value)| (name.into_os(), value.into_os()))
                .collect(),
            clear_env: self.clear_env,
            cwd: PathBuf::from(self.cwd.into_os()),
            fresh: self.fresh,
            user: self.user,
            umask: self.umask,
            limit: self.limit,
            line: None,
            tracer: (self.tracer).map(|words| words.into_iter().map(Text::into_os).collect()),
        }
    }
}

/// The end of a command as it travels; its output is the frame's body.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndOf {
    /// Whose end.
    pub id: u64,
    ended: Ended,
    duration: Duration,
    stdout_bytes: usize,
    stderr_bytes: usize,
    /// How long the trace is, or why there is none.
    trace: Option<Result<usize, String>>,
}

impl EndOf {
    /// Header and body of the frame that reports an end.
    pub fn pack(id: u64, finished: &Finished) -> (EndOf, Vec<u8>) {
        let end = EndOf {
            id,
            ended: finished.ended,
            duration: finished.duration,
            stdout_bytes: finished.stdout.len(),
            stderr_bytes: finished.stderr.len(),
            trace: (finished.trace.as_ref())
                .map(|trace| trace.as_ref().map(Vec::len).map_err(Clone::clone)),
        };
        let trace = finished
            .trace
            .as_ref()
            .and_then(|trace| trace.as_deref().ok());
        let body = [
            finished.stdout.as_slice(),
            &finished.stderr,
            trace.unwrap_or_default(),
        ]
        .concat();
        (end, body)
    }

    /// The end, as it was before it travelled.
    pub fn unpack(self, mut body: Vec<u8>) -> Finished {
        let mut stderr = body.split_off(self.stdout_bytes.min(body.len()));
        let trace = stderr.split_off(self.stderr_bytes.min(stderr.len()));
        Finished {
            ended: self.ended,
            stdout: body,
            stderr,
            duration: self.duration,
            trace: self.trace.map(|told| told.map(|_| trace)),
        }
    }
}

/// Bytes that are mostly text, as JSON: every byte is the character of its number, so none is lost.
#[derive(Debug)]
struct Text(Vec<u8>);

impl Text {
    fn of(text: &OsStr) -> Text {
        Text(text.as_bytes().to_vec())
    }

    fn into_os(self) -> OsString {
        OsString::from_vec(self.0)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(|&byte| char::from(byte)).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).map_err(serde::de::Error::custom))
            .collect::<Result<_, _>>()
            .map(Text)
    }
}

/// The bytes of one frame.
pub fn encode<H: Serialize>(header: &H, body: &[u8]) -> Vec<u8> {
    let header = serde_json::to_vec(header).expect("a frame's header is plain data");
    let mut frame = Vec::with_capacity(8 + header.len() + body.len());
    for length in [header.len(), body.len()] {
        let length = u32::try_from(length).expect("output is capped far below 4 GiB");
        frame.extend_from_slice(&length.to_le_bytes());
    }
    frame.extend_from_slice(&header);
    frame.extend_from_slice(body);
    frame
}

/// Writes one frame.
///
/// # Errors
/// The link's own.
pub fn write<H: Serialize>(link: &mut impl Write, header: &H, body: &[u8]) -> io::Result<()> {
    link.write_all(&encode(header, body))?;
    link.flush()
}

/// Reads one frame, waiting for it.
///
/// # Errors
/// The link's own; [`io::ErrorKind::UnexpectedEof`] when it closed; [`io::ErrorKind::InvalidData`] for what
/// is no frame.
pub fn read<H: DeserializeOwned>(link: &mut impl Read) -> io::Result<(H, Vec<u8>)> {
    let mut lengths = [0; 8];
    link.read_exact(&mut lengths)?;
    let (header, body) = lengths_of(lengths)?;
    let mut bytes = vec![0; header + body];
    link.read_exact(&mut bytes)?;
    let body = bytes.split_off(header);
    Ok((serde_json::from_slice(&bytes)?, body))
}

fn lengths_of(lengths: [u8; 8]) -> io::Result<(usize, usize)> {
    let length = |at: usize| {
        let bytes = lengths[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    };
    let (header, body) = (length(0), length(4));
    if header > MOST || body > MOST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what came over the agent's link is not a frame",
        ));
    }
    Ok((header, body))
}

/// Frames put together from pieces, for a side that must not wait for the rest of one.
#[derive(Debug, Default)]
pub struct Pieces {
    held: Vec<u8>,
}

impl Pieces {
    /// Adds what was read.
    pub fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// Takes the next whole frame.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what is no frame.
    pub fn take<H: DeserializeOwned>(&mut self) -> io::Result<Option<(H, Vec<u8>)>> {
        let Some(lengths) = self.held.first_chunk::<8>() else {
            return Ok(None);
        };
        let (header, body) = lengths_of(*lengths)?;
        if self.held.len() < 8 + header + body {
            return Ok(None);
        }
        let rest = self.held.split_off(8 + header + body);
        let frame = std::mem::replace(&mut self.held, rest);
        let (bytes, body) = frame[8..].split_at(header);
        Ok(Some((serde_json::from_slice(bytes)?, body.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments and directories are bytes, not text.
    #[test]
    fn a_command_that_is_not_utf8_survives_the_link_in_pieces() {
        let name = OsString::from_vec((0..=255).collect());
        let spec = CommandSpec::new([name.clone()], PathBuf::from(name.clone()));
        let sent = encode(&ToAgent::Run(Box::new(Run::new(7, &spec))), b"");
        let mut pieces = Pieces::default();
        let mut came = None;
        for piece in sent.chunks(3) {
            pieces.push(piece);
            if let Some((frame, _)) = pieces.take::<ToAgent>().unwrap() {
                came = Some(frame);
            }
        }
        let Some(ToAgent::Run(run)) = came else {
            panic!("{came:?}")
        };
        assert_eq!(run.id, 7);
        let back = run.into_spec();
        assert_eq!(back.argv, vec![name.clone()]);
        assert_eq!(back.cwd.as_os_str(), name);
    }

    #[test]
    fn an_end_keeps_outputs_and_trace_apart() {
        let finished = Finished {
            ended: Ended::Code(3),
            stdout: b"out".to_vec(),
            stderr: vec![0, 255],
            duration: Duration::from_millis(5),
            trace: Some(Ok(b"trace".to_vec())),
        };
        let (end, body) = EndOf::pack(1, &finished);
        let bytes = encode(&FromAgent::Ended(end), &body);
        let (FromAgent::Ended(end), body) = read(&mut bytes.as_slice()).unwrap() else {
            panic!("another frame came");
        };
        let back = end.unpack(body);
        assert_eq!(
            (back.stdout, back.stderr),
            (finished.stdout, finished.stderr)
        );
        assert_eq!(back.ended, Ended::Code(3));
        assert_eq!(back.trace, finished.trace);
    }

    #[test]
    fn what_is_no_frame_is_refused_before_it_is_read() {
        let err = read::<ToAgent>(&mut [255u8; 64].as_slice()).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::InvalidData);
    }
}
