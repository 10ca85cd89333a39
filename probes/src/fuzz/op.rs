//! One operation of a sequence, and its text: a name and words, `open 0 a/x rdwr,creat 644`.

use std::{fmt, str::FromStr};

/// How many handles a sequence may have open at once.
pub const HANDLES: usize = 3;

/// The paths that operations are about: two directories, and files in both. `a`, `b`, and `a/x` with five bytes are
/// there at the beginning.
pub const PATHS: [&str; 8] = ["a", "b", "a/x", "a/y", "a/z", "b/x", "b/y", "b/z"];

/// Names of user xattrs.
pub const XATTRS: [&str; 2] = ["user.k", "user.l"];

/// An operation. Paths are from the sequence's own directory, handles are numbers below [`HANDLES`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// `mkdir PATH MODE`
    Mkdir(Path, Mode),
    /// `rmdir PATH`
    Rmdir(Path),
    /// `unlink PATH`
    Unlink(Path),
    /// `rename OLD NEW`
    Rename(Path, Path),
    /// `link OLD NEW`
    Link(Path, Path),
    /// `symlink TARGET PATH`: the target is a path from the link's directory
    Symlink(Path, Path),
    /// `readlink PATH`
    Readlink(Path),
    /// `open HANDLE PATH FLAGS MODE`; what the handle had open is closed first
    Open(Handle, Path, Flags, Mode),
    /// `close HANDLE`
    Close(Handle),
    /// `read HANDLE COUNT`
    Read(Handle, u32),
    /// `pread HANDLE COUNT OFFSET`
    Pread(Handle, u32, u32),
    /// `write HANDLE COUNT`
    Write(Handle, u32),
    /// `pwrite HANDLE COUNT OFFSET`
    Pwrite(Handle, u32, u32),
    /// `seek HANDLE OFFSET WHENCE`
    Seek(Handle, i32, Whence),
    /// `list HANDLE`: the names in an open directory, from its beginning
    List(Handle),
    /// `ftruncate HANDLE SIZE`
    Ftruncate(Handle, u32),
    /// `truncate PATH SIZE`
    Truncate(Path, u32),
    /// `fchmod HANDLE MODE`
    Fchmod(Handle, Mode),
    /// `chmod PATH MODE`
    Chmod(Path, Mode),
    /// `stat PATH`: following links
    Stat(Path),
    /// `lstat PATH`
    Lstat(Path),
    /// `fstat HANDLE`
    Fstat(Handle),
    /// `access PATH MODE`: 4 for reading, 2 for writing, 1 for executing, 0 for being there
    Access(Path, Mode),
    /// `utimens PATH SECONDS`
    Utimens(Path, u32),
    /// `futimens HANDLE SECONDS`
    Futimens(Handle, u32),
    /// `fsync HANDLE`
    Fsync(Handle),
    /// `setxattr PATH NAME SIZE`
    Setxattr(Path, Xattr, u32),
    /// `getxattr PATH NAME`
    Getxattr(Path, Xattr),
    /// `removexattr PATH NAME`
    Removexattr(Path, Xattr),
    /// `fsetxattr HANDLE NAME SIZE`
    Fsetxattr(Handle, Xattr, u32),
    /// `copy FROM TO COUNT`: copy_file_range at both positions
    Copy(Handle, Handle, u32),
    /// `openat HANDLE DIRECTORY NAME FLAGS MODE`: below an open directory
    Openat(Handle, Handle, Name, Flags, Mode),
    /// `unlinkat DIRECTORY NAME`
    Unlinkat(Handle, Name),
    /// `linkfd HANDLE PATH`: linkat through /proc/self/fd
    Linkfd(Handle, Path),
}

/// An index into [`PATHS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path(pub u8);

/// A handle's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub u8);

/// An index into [`XATTRS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Xattr(pub u8);

/// A name below a directory: `x`, `y` or `z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(pub u8);

/// Permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode(pub u16);

/// Flags of open, as the kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flags(pub i32);

/// From where a position is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whence {
    /// From the beginning.
    Set,
    /// From where it is.
    Cur,
    /// From the end.
    End,
}

impl Path {
    /// The path.
    pub fn text(self) -> &'static str {
        PATHS[usize::from(self.0)]
    }
}

impl Name {
    /// The name.
    pub fn text(self) -> &'static str {
        ["x", "y", "z"][usize::from(self.0)]
    }
}

impl Xattr {
    /// The name.
    pub fn text(self) -> &'static str {
        XATTRS[usize::from(self.0)]
    }
}

/// Flags of open by their names, besides the access mode.
const FLAGS: [(&str, i32); 7] = [
    ("creat", libc::O_CREAT),
    ("excl", libc::O_EXCL),
    ("trunc", libc::O_TRUNC),
    ("append", libc::O_APPEND),
    ("directory", libc::O_DIRECTORY),
    ("nofollow", libc::O_NOFOLLOW),
    ("path", libc::O_PATH),
];

const ACCESS: [(&str, i32); 3] = [
    ("rdonly", libc::O_RDONLY),
    ("wronly", libc::O_WRONLY),
    ("rdwr", libc::O_RDWR),
];

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = ACCESS
            .iter()
            .find(|(_, bits)| self.0 & libc::O_ACCMODE == *bits);
        f.write_str(access.map_or("rdonly", |(name, _)| name))?;
        for (name, bit) in FLAGS {
            if self.0 & bit == bit {
                write!(f, ",{name}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Flags {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut flags = 0;
        for word in text.split(',') {
            let known = ACCESS.iter().chain(&FLAGS).find(|(name, _)| *name == word);
            flags |= known.ok_or_else(|| format!("there is no flag {word:?}"))?.1;
        }
        Ok(Flags(flags))
    }
}

macro_rules! words {
    ($($ty:ty: |$value:ident| $show:expr, |$text:ident| $read:expr;)*) => {$(
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $value = *self;
                write!(f, "{}", $show)
            }
        }

        impl FromStr for $ty {
            type Err = String;

            fn from_str($text: &str) -> Result<Self, String> {
                $read
            }
        }
    )*};
}

fn index<T: Copy>(of: &[&str], text: &str, made: fn(u8) -> T) -> Result<T, String> {
    let at = of.iter().position(|known| *known == text);
    at.map(|at| made(at as u8))
        .ok_or_else(|| format!("{text:?} is none of {}", of.join(", ")))
}

words! {
    Path: |path| path.text(), |text| index(&PATHS, text, Path);
    Name: |name| name.text(), |text| index(&["x", "y", "z"], text, Name);
    Xattr: |xattr| xattr.text(), |text| index(&XATTRS, text, Xattr);
    Handle: |handle| handle.0, |text| index(&["0", "1", "2"], text, Handle);
    Mode: |mode| format_args!("{:o}", mode.0), |text| {
        u16::from_str_radix(text, 8).map(Mode).map_err(|_| format!("{text:?} is no octal mode"))
    };
    Whence: |whence| match whence { Whence::Set => "set", Whence::Cur => "cur", Whence::End => "end" },
        |text| match text {
            "set" => Ok(Whence::Set),
            "cur" => Ok(Whence::Cur),
            "end" => Ok(Whence::End),
            _ => Err(format!("{text:?} is none of set, cur, end")),
        };
}

/// Writes and reads operations by one table: the name, and the words in order.
macro_rules! texts {
    ($($name:literal $variant:ident($($field:ident),*);)*) => {
        impl fmt::Display for Op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Op::$variant($($field),*) => {
                        f.write_str($name)?;
                        $(write!(f, " {}", $field)?;)*
                        Ok(())
                    })*
                }
            }
        }

        impl FromStr for Op {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let mut words = text.split_whitespace();
                let name = words.next().ok_or("an operation is missing")?;
                let op = match name {
                    $($name => {
                        $(let $field = {
                            let word = words.next().ok_or_else(|| format!("{text:?} lacks a word"))?;
                            word.parse().map_err(|why| format!("{text:?}: {why}"))?
                        };)*
                        Op::$variant($($field),*)
                    })*
                    _ => return Err(format!("there is no operation {name:?}")),
                };
                match words.next() {
                    None => Ok(op),
                    Some(word) => Err(format!("{text:?} has a word too many, {word:?}")),
                }
            }
        }
    };
}

texts! {
    "mkdir" Mkdir(path, mode);
    "rmdir" Rmdir(path);
    "unlink" Unlink(path);
    "rename" Rename(old, new);
    "link" Link(old, new);
    "symlink" Symlink(target, path);
    "readlink" Readlink(path);
    "open" Open(handle, path, flags, mode);
    "close" Close(handle);
    "read" Read(handle, count);
    "pread" Pread(handle, count, offset);
    "write" Write(handle, count);
    "pwrite" Pwrite(handle, count, offset);
    "seek" Seek(handle, offset, whence);
    "list" List(handle);
    "ftruncate" Ftruncate(handle, size);
    "truncate" Truncate(path, size);
    "fchmod" Fchmod(handle, mode);
    "chmod" Chmod(path, mode);
    "stat" Stat(path);
    "lstat" Lstat(path);
    "fstat" Fstat(handle);
    "access" Access(path, mode);
    "utimens" Utimens(path, seconds);
    "futimens" Futimens(handle, seconds);
    "fsync" Fsync(handle);
    "setxattr" Setxattr(path, name, size);
    "getxattr" Getxattr(path, name);
    "removexattr" Removexattr(path, name);
    "fsetxattr" Fsetxattr(handle, name, size);
    "copy" Copy(from, to, count);
    "openat" Openat(handle, directory, name, flags, mode);
    "unlinkat" Unlinkat(directory, name);
    "linkfd" Linkfd(handle, path);
}

/// A sequence as one text, its operations separated by semicolons.
pub fn to_text(ops: &[Op]) -> String {
    let texts: Vec<String> = ops.iter().map(Op::to_string).collect();
    texts.join("; ")
}

/// Reads a sequence: operations separated by semicolons or line ends; `#` begins a comment.
///
/// # Errors
/// What is wrong, in words that follow "the sequence".
pub fn from_text(text: &str) -> Result<Vec<Op>, String> {
    let plain = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let ops = plain.flat_map(|line| line.split(';')).map(str::trim);
    ops.filter(|op| !op.is_empty()).map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_read_as_they_are_written() {
        let text = "open 0 a/x rdwr,creat,excl 644; pwrite 0 100 4090; seek 0 -3 end; rename a/x b/y; \
                    openat 1 0 z rdonly 0; setxattr b user.k 3; chmod a 1700; access b/z 4";
        assert_eq!(to_text(&from_text(text).unwrap()), text);
        assert_eq!(
            from_text("# nothing\nunlink a/x # it\n").unwrap(),
            [Op::Unlink(Path(2))]
        );
    }

    #[test]
    fn what_is_no_sequence_is_refused_with_the_reason() {
        for (text, said) in [
            ("fly a", "no operation \"fly\""),
            ("unlink", "lacks a word"),
            ("unlink /etc/passwd", "is none of a, b"),
            ("open 7 a rdonly 0", "is none of 0, 1, 2"),
            ("unlink a b", "a word too many"),
        ] {
            assert!(from_text(text).unwrap_err().contains(said), "{text}");
        }
    }
}
