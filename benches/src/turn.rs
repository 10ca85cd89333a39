//! A turn of large reads or writes of a file on a mount, by this process or by one of a volume's world.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io,
    os::unix::fs::FileExt,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use server9p::stack::{CommandSpec, Ended, SELF, World};

use crate::load::FILE_SIZE;

/// Bytes of a large read or write, which is what the kernel hands to the client at once at most.
pub const LARGE: usize = 1 << 20;

/// The first argument under which a benchmark's program takes a turn in a world.
const TURN: &str = "@bench-turn";

/// Reads or writes of [`LARGE`] bytes, one after the other, of a file of [`FILE_SIZE`].
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Whether it writes.
    pub writes: bool,
    /// How many threads do it, each taking the next block.
    pub threads: usize,
}

impl Turn {
    /// Takes the turn, for so long. Returns bytes per second.
    ///
    /// # Errors
    /// Those of the file.
    pub fn here(self, file: &Path, time: Duration) -> io::Result<f64> {
        let (begun, moved) = (Instant::now(), AtomicU64::new(0));
        while begun.elapsed() < time {
            // Each pass opens it anew, since the kernel may keep pages of what is open.
            let open = OpenOptions::new()
                .read(!self.writes)
                .write(self.writes)
                .open(file)?;
            let next = AtomicU64::new(0);
            let pass = || -> io::Result<()> {
                let mut data = vec![8; LARGE];
                while begun.elapsed() < time {
                    let at = next.fetch_add(LARGE as u64, Ordering::Relaxed);
                    if at >= FILE_SIZE {
                        break;
                    }
                    match self.writes {
                        true => open.write_all_at(&data, at)?,
                        false => open.read_exact_at(&mut data, at)?,
                    }
                    moved.fetch_add(LARGE as u64, Ordering::Relaxed);
                }
                Ok(())
            };
            thread::scope(|scope| -> io::Result<()> {
                let others: Vec<_> = (1..self.threads).map(|_| scope.spawn(pass)).collect();
                pass()?;
                let mut ended = others.into_iter().map(thread::ScopedJoinHandle::join);
                ended.try_for_each(|end| end.expect("it does not panic"))
            })?;
        }
        Ok(moved.into_inner() as f64 / begun.elapsed().as_secs_f64())
    }

    /// The same by a process of a world, with a file on its volume.
    ///
    /// # Errors
    /// Those of the file, or where the volume is lost.
    pub fn within(self, world: &dyn World, file: &str, time: Duration) -> io::Result<f64> {
        let file = world.path().join(file);
        let words: [OsString; 6] = [
            SELF.into(),
            TURN.into(),
            self.writes.to_string().into(),
            self.threads.to_string().into(),
            time.as_millis().to_string().into(),
            file.into(),
        ];
        let done = world
            .run(&CommandSpec::new(words, "/"))
            .map_err(io::Error::other)?;
        let said = String::from_utf8_lossy(&done.stdout);
        match (done.ended, said.trim().parse()) {
            (Ended::Code(0), Ok(rate)) => Ok(rate),
            _ => Err(io::Error::other(
                String::from_utf8_lossy(&done.stderr).into_owned(),
            )),
        }
    }
}

/// Takes a turn where `args` name one, and prints what it returned.
pub fn command(args: &[OsString]) -> Option<ExitCode> {
    let [name, writes, threads, time, file] = args else {
        return None;
    };
    if name != TURN {
        return None;
    }
    let number = |word: &OsString| word.to_str()?.parse::<u64>().ok();
    let turn = Turn {
        writes: writes == "true",
        threads: number(threads)? as usize,
    };
    Some(
        match turn.here(file.as_ref(), Duration::from_millis(number(time)?)) {
            Ok(rate) => {
                println!("{rate}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{}: {error}", Path::new(file).display());
                ExitCode::FAILURE
            }
        },
    )
}
