//! Sequences: every short one over a small alphabet, and random ones, all by their numbers alone, so that a child in
//! any world makes the same ones as everybody else.

use super::op::{Flags, HANDLES, Handle, Mode, Name, Op, PATHS, Path, Whence, XATTRS, Xattr};

/// How long the enumerated sequences are at most.
pub const ENUMERATED: u32 = 3;

/// How long the random sequences are.
const RANDOM: std::ops::RangeInclusive<u64> = 4..=24;

/// The small alphabet: operations on one file, its names and one handle, where calls by path and by handle meet.
const ALPHABET: &str = "open 0 a/x rdwr 0; open 0 a/y rdwr,creat 600; write 0 3; ftruncate 0 1; fchmod 0 444; \
                        fstat 0; unlink a/x; rename a/x b/x; rename a b; link a/x a/y; truncate a/x 2; mkdir a/y 755; \
                        symlink b/x a/y; chmod a 555";

/// A sequence, and how it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// The operations.
    pub ops: Vec<Op>,
    /// Whether the whole state is looked at after each step, not only at the end: looking fills caches and asks for
    /// attributes, which hides what a program that does not look would see.
    pub every_step: bool,
}

/// How many enumerated sequences there are.
pub fn enumerated() -> u64 {
    let letters = alphabet().len() as u64;
    (1..=ENUMERATED).map(|length| letters.pow(length)).sum()
}

fn alphabet() -> Vec<Op> {
    super::op::from_text(ALPHABET).expect("it is a sequence, which is tested")
}

/// The sequence of that number: first the enumerated ones from the shortest on, then random ones of the seed.
pub fn sequence(seed: u64, number: u64) -> Sequence {
    let alphabet = alphabet();
    let letters = alphabet.len() as u64;
    let mut left = number;
    for length in 1..=ENUMERATED {
        let count = letters.pow(length);
        if left < count {
            let letter = |at: u32| alphabet[(left / letters.pow(at) % letters) as usize].clone();
            return Sequence {
                ops: (0..length).map(letter).collect(),
                // What is after each step is at the end of a shorter one.
                every_step: false,
            };
        }
        left -= count;
    }
    random(seed, number)
}

fn random(seed: u64, number: u64) -> Sequence {
    let mut dice = Dice(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let length = RANDOM.start() + dice.below(RANDOM.end() - RANDOM.start() + 1);
    let every_step = dice.below(4) == 0;
    Sequence {
        ops: (0..length).map(|_| op(&mut dice)).collect(),
        every_step,
    }
}

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn path(&mut self) -> Path {
        // Files more often than the two directories.
        let dirs = self.below(5) == 0;
        Path(if dirs {
            self.below(2)
        } else {
            2 + self.below(PATHS.len() as u64 - 2)
        } as u8)
    }

    fn handle(&mut self) -> Handle {
        Handle(self.below(HANDLES as u64) as u8)
    }

    fn name(&mut self) -> Name {
        Name(self.below(3) as u8)
    }

    fn xattr(&mut self) -> Xattr {
        Xattr(self.below(XATTRS.len() as u64) as u8)
    }

    fn mode(&mut self) -> Mode {
        Mode(self.pick(&[
            0o644, 0o600, 0o755, 0o700, 0o444, 0o400, 0o200, 0, 0o111, 0o555, 0o1777, 0o2755,
            0o4755,
        ]))
    }

    fn count(&mut self) -> u32 {
        self.pick(&[0, 1, 3, 5, 100, 4096, 5000])
    }

    fn offset(&mut self) -> u32 {
        self.pick(&[0, 1, 4, 5, 6, 4095, 4096, 10_000])
    }

    fn seconds(&mut self) -> u32 {
        self.pick(&[1, 1000, 1_000_000])
    }

    fn flags(&mut self) -> Flags {
        let mut flags = self.pick(&[libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_RDWR]);
        for (bit, one_in) in [
            (libc::O_CREAT, 2),
            (libc::O_EXCL, 6),
            (libc::O_TRUNC, 6),
            (libc::O_APPEND, 6),
            (libc::O_NOFOLLOW, 10),
            (libc::O_DIRECTORY, 8),
        ] {
            if self.below(one_in) == 0 {
                flags |= bit;
            }
        }
        // Both at once is refused by newer kernels and does something else on older ones, whatever the file system.
        if flags & libc::O_DIRECTORY != 0 {
            flags &= !libc::O_CREAT;
        }
        // Without O_CREAT it means nothing for files.
        if flags & libc::O_CREAT == 0 {
            flags &= !libc::O_EXCL;
        }
        Flags(flags)
    }
}

fn op(dice: &mut Dice) -> Op {
    match dice.below(46) {
        0 => Op::Mkdir(dice.path(), dice.mode()),
        1 => Op::Rmdir(dice.path()),
        2 | 3 => Op::Unlink(dice.path()),
        4..=6 => Op::Rename(dice.path(), dice.path()),
        7 | 8 => Op::Link(dice.path(), dice.path()),
        9 => Op::Symlink(dice.path(), dice.path()),
        10 => Op::Readlink(dice.path()),
        11..=16 => Op::Open(dice.handle(), dice.path(), dice.flags(), dice.mode()),
        17 => Op::Close(dice.handle()),
        18 => Op::Read(dice.handle(), dice.count()),
        19 => Op::Pread(dice.handle(), dice.count(), dice.offset()),
        20 | 21 => Op::Write(dice.handle(), dice.count()),
        22 | 23 => Op::Pwrite(dice.handle(), dice.count(), dice.offset()),
        24 => {
            let whence = dice.pick(&[Whence::Set, Whence::Cur, Whence::End]);
            let offset = dice.pick(&[0, 1, 5, 100, -1, -5]);
            Op::Seek(dice.handle(), offset, whence)
        }
        25 => Op::List(dice.handle()),
        26 | 27 => Op::Ftruncate(dice.handle(), dice.offset()),
        28 => Op::Truncate(dice.path(), dice.offset()),
        29 | 30 => Op::Fchmod(dice.handle(), dice.mode()),
        31 => Op::Chmod(dice.path(), dice.mode()),
        32 => Op::Stat(dice.path()),
        33 => Op::Lstat(dice.path()),
        34 => Op::Fstat(dice.handle()),
        35 => Op::Access(dice.path(), Mode(dice.below(8) as u16)),
        36 => Op::Utimens(dice.path(), dice.seconds()),
        37 => Op::Futimens(dice.handle(), dice.seconds()),
        38 => Op::Fsync(dice.handle()),
        39 => Op::Setxattr(dice.path(), dice.xattr(), dice.pick(&[1, 3, 1000])),
        40 => Op::Getxattr(dice.path(), dice.xattr()),
        41 => Op::Removexattr(dice.path(), dice.xattr()),
        42 => Op::Fsetxattr(dice.handle(), dice.xattr(), dice.pick(&[1, 3])),
        43 => Op::Copy(dice.handle(), dice.handle(), dice.count()),
        44 => Op::Openat(
            dice.handle(),
            dice.handle(),
            dice.name(),
            dice.flags(),
            dice.mode(),
        ),
        _ => match dice.below(2) {
            0 => Op::Unlinkat(dice.handle(), dice.name()),
            _ => Op::Linkfd(dice.handle(), dice.path()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_short_sequence_comes_once_and_first() {
        let all: HashSet<Vec<Op>> = (0..enumerated()).map(|n| sequence(1, n).ops).collect();
        assert_eq!(all.len() as u64, enumerated());
        assert!(all.iter().all(|ops| ops.len() <= ENUMERATED as usize));
        assert_eq!(sequence(1, 0).ops.len(), 1);
    }

    #[test]
    fn random_sequences_are_of_their_seed_and_number_alone() {
        let of = |seed, number| sequence(seed, enumerated() + number);
        assert_eq!(of(1, 7), of(1, 7));
        assert_ne!(of(1, 7), of(2, 7));
        assert_ne!(of(1, 7), of(1, 8));
        let texts: Vec<String> = (0..200)
            .map(|n| super::super::op::to_text(&of(1, n).ops))
            .collect();
        for (number, text) in texts.iter().enumerate() {
            assert_eq!(
                super::super::op::from_text(text).unwrap(),
                of(1, number as u64).ops
            );
        }
        let all = texts.join("; ");
        for name in [
            "mkdir",
            "rename",
            "linkfd",
            "copy",
            "unlinkat",
            "fsetxattr",
            "append",
        ] {
            assert!(all.contains(name), "{name} is never made");
        }
    }
}
