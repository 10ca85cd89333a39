//! Which of a server's messages belong to one run of a case: those between two marks.
//!
//! The marks are directories that a child in the volume's world makes there, one before the run and one after: the server's
//! trace has them too. The first is synchronised a few times, which sets a guest's clock against the host's.

use std::{
    ffi::OsString,
    fs, io,
    path::Path,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use server9p::stack::{CommandSpec, SELF, StackError};

use super::messages::Message;
use crate::runner::side::Side;

/// The first argument of the child that makes a mark.
pub const ARGUMENT: &str = "@explain-mark";

/// What the marks are called.
const MARKS: [&str; 2] = ["probe9p-mark-begin", "probe9p-mark-end"];

/// How often the first mark is synchronised: the quickest time tells most of the clocks.
const BEATS: usize = 6;

/// Both marks are made, and a run was between them.
pub struct Marks {
    /// By the child's clock, before and after it synchronised the first mark, again and again: in seconds since 1970.
    beats: Vec<(f64, f64)>,
}

impl Marks {
    /// Makes a mark on a volume, then does `between`, then makes the other.
    ///
    /// # Errors
    /// What [`server9p::stack::World::run`] and `between` return, and [`StackError::Unavailable`] when a mark cannot be made.
    pub fn around<T>(
        side: &Side,
        between: impl FnOnce() -> Result<T, StackError>,
    ) -> Result<(Marks, T), StackError> {
        let (here, there) = side.fresh("explain-marks")?;
        let mark = |name: &str| {
            let words = [
                SELF.into(),
                ARGUMENT.into(),
                there.join(name).into_os_string(),
            ];
            let finished = side.world.run(&CommandSpec::new::<OsString>(words, "/"))?;
            serde_json::from_slice(finished.stdout.trim_ascii()).map_err(|_| {
                let said = String::from_utf8_lossy(&finished.stderr);
                StackError::Unavailable(format!(
                    "the volume could not be marked for its server's trace ({:?}); it said: {}",
                    finished.ended,
                    said.trim()
                ))
            })
        };
        let beats: Vec<(f64, f64)> = mark(MARKS[0])?;
        let came = between()?;
        let _: Vec<(f64, f64)> = mark(MARKS[1])?;
        if !side.keep {
            let _ = fs::remove_dir_all(&here);
        }
        Ok((Marks { beats }, came))
    }

    /// The messages between the marks, with the child's clock's times, and paths from the directory `place` below the
    /// export's root; nothing where the server's trace has no marks.
    pub fn messages(&self, all: &[Message], place: &str) -> Option<Vec<Message>> {
        let mark = |name: &str| {
            let named = format!("name={name} ");
            let spaced = format!("name {name} ");
            let is = |message: &&Message| {
                let detail = message.detail.as_deref().unwrap_or_default();
                message.kind == "Tmkdir" && (detail.contains(&named) || detail.contains(&spaced))
            };
            all.iter().rposition(|message| is(&message))
        };
        let (begin, end) = (mark(MARKS[0])?, mark(MARKS[1])?);
        let between = all.get(begin + 1..end)?;
        // The mark at the end is looked for before it is made.
        let is_mark = |message: &&Message| {
            let parts = [&message.detail, &message.path];
            let mut parts = parts.into_iter().flatten();
            parts.any(|part| MARKS.iter().any(|mark| part.contains(mark)))
        };
        let is_beat = |message: &&Message| message.kind == "Tfsync";
        let got = between.iter().filter(is_beat).map(|message| message.begun);
        let offset = offset(&self.beats, got.clone());
        let ready = got
            .take(self.beats.len())
            .last()
            .unwrap_or(all[begin].begun);
        let own = between.iter().filter(|m| m.begun > ready && !is_mark(m));
        let own = own.map(|message| Message {
            begun: message.begun + offset,
            path: message.path.as_deref().map(|path| shortened(path, place)),
            ..message.clone()
        });
        Some(own.collect())
    }
}

fn shortened(path: &str, place: &str) -> String {
    let below = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(place));
    match below {
        Some("") => ".".to_owned(),
        Some(rest) if rest.starts_with('/') => rest[1..].to_owned(),
        _ => path.to_owned(),
    }
}

/// By how much the child's clock is ahead of the host's, from what both say of the same messages: each must have been
/// got while the child waited for it. A shared clock is ahead by nothing.
fn offset(beats: &[(f64, f64)], got: impl Iterator<Item = f64>) -> f64 {
    let bounds = beats.iter().zip(got);
    let bounds = bounds.map(|(&(before, after), host)| (before - host, after - host));
    let (low, high) = bounds.fold((f64::NEG_INFINITY, f64::INFINITY), |(low, high), bound| {
        (low.max(bound.0), high.min(bound.1))
    });
    if !low.is_finite() || (low <= 0.0 && 0.0 <= high) {
        return 0.0;
    }
    (low + high) / 2.0
}

/// The child: `@explain-mark DIR` makes the directory and prints when it synchronised it.
pub fn main(args: &[OsString]) -> ExitCode {
    let made = match args {
        [dir] => make(Path::new(dir)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    match made.map(|beats| serde_json::to_string(&beats)) {
        Ok(Ok(text)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("The mark could not be made: {error}.");
    ExitCode::from(70)
}

fn make(dir: &Path) -> io::Result<Vec<(f64, f64)>> {
    fs::create_dir(dir)?;
    beats(&fs::File::open(dir)?)
}

/// Synchronises the mark, which is one message and no other call's, and says when.
fn beats(mark: &fs::File) -> io::Result<Vec<(f64, f64)>> {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |time| time.as_secs_f64())
    };
    let beat = |_| {
        let before = now();
        mark.sync_all()?;
        Ok((before, now()))
    };
    (0..BEATS).map(beat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_the_case_s_directory() {
        assert_eq!(shortened("/2-a.b", "2-a.b"), ".");
        assert_eq!(shortened("/2-a.b/c/d", "2-a.b"), "c/d");
        assert_eq!(shortened("/2-a.bc", "2-a.b"), "/2-a.bc");
    }

    #[test]
    fn clocks_are_set_against_each_other_by_what_both_saw() {
        // The guest is an hour ahead; its second beat was the quickest.
        let beats = [(3600.0, 3600.9), (3601.30, 3601.34), (3602.0, 3602.8)];
        let got = [0.2, 1.32, 2.5];
        assert!((offset(&beats, got.into_iter()) - 3600.0).abs() < 0.03);
        assert_eq!(
            offset(&[(1.0, 2.0), (3.0, 4.0)], [1.5, 3.1].into_iter()),
            0.0
        );
        assert_eq!(offset(&[], std::iter::empty()), 0.0);
    }
}
