//! A random sequence of operations gives the same results on the mount as in a plain directory, and leaves the
//! same tree.
//!
//! proptest shrinks a sequence that does not, and prints it with its seed.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

use crate::mounted::Volume;

/// Names that collide often; one is no UTF-8.
const NAMES: [&[u8]; 5] = [b"a", b"b", b"dir", b"d\xe9", b"link"];
/// Open files at one time.
const FILES: usize = 3;

/// A path of one or two names.
type Name = (usize, Option<usize>);

#[derive(Debug, Clone)]
enum Op {
    Open {
        at: usize,
        path: Name,
        flags: i32,
        mode: u32,
    },
    Close {
        at: usize,
    },
    Read {
        at: usize,
        offset: u64,
        size: usize,
    },
    Write {
        at: usize,
        offset: u64,
        size: usize,
        byte: u8,
    },
    SetLen {
        at: usize,
        size: u64,
    },
    Fstat {
        at: usize,
    },
    Fchmod {
        at: usize,
        mode: u32,
    },
    Sync {
        at: usize,
    },
    Stat {
        path: Name,
    },
    Truncate {
        path: Name,
        size: u64,
    },
    Chmod {
        path: Name,
        mode: u32,
    },
    Mkdir {
        path: Name,
    },
    Rmdir {
        path: Name,
    },
    Unlink {
        path: Name,
    },
    Rename {
        from: Name,
        to: Name,
    },
    Link {
        from: Name,
        to: Name,
    },
    Symlink {
        target: Name,
        path: Name,
    },
    Readlink {
        path: Name,
    },
    List {
        path: Name,
    },
    SetXattr {
        path: Name,
        value: Vec<u8>,
    },
    GetXattr {
        path: Name,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let name = || (0..NAMES.len(), proptest::option::of(0..NAMES.len()));
    let at = || 0..FILES;
    let flags = select(vec![
        libc::O_RDONLY,
        libc::O_RDWR,
        libc::O_RDWR | libc::O_CREAT,
        libc::O_WRONLY | libc::O_CREAT,
        libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
        libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC,
        libc::O_RDWR | libc::O_CREAT | libc::O_APPEND,
        libc::O_RDWR | libc::O_DIRECT,
    ]);
    let mode = || select(vec![0o600, 0o644, 0o666, 0o755, 0o400]);
    let offset = || prop_oneof![0..10u64, 4000..9000u64, Just(600_000)];
    let size = || prop_oneof![0..10usize, 4000..9000usize, Just(520_000)];
    prop_oneof![
        8 => (at(), name(), flags, mode())
            .prop_map(|(at, path, flags, mode)| Op::Open { at, path, flags, mode }),
        2 => at().prop_map(|at| Op::Close { at }),
        6 => (at(), offset(), size()).prop_map(|(at, offset, size)| Op::Read { at, offset, size }),
        6 => (at(), offset(), size(), any::<u8>())
            .prop_map(|(at, offset, size, byte)| Op::Write { at, offset, size, byte }),
        2 => (at(), offset()).prop_map(|(at, size)| Op::SetLen { at, size }),
        3 => at().prop_map(|at| Op::Fstat { at }),
        1 => (at(), mode()).prop_map(|(at, mode)| Op::Fchmod { at, mode }),
        1 => at().prop_map(|at| Op::Sync { at }),
        3 => name().prop_map(|path| Op::Stat { path }),
        2 => (name(), offset()).prop_map(|(path, size)| Op::Truncate { path, size }),
        1 => (name(), mode()).prop_map(|(path, mode)| Op::Chmod { path, mode }),
        3 => name().prop_map(|path| Op::Mkdir { path }),
        1 => name().prop_map(|path| Op::Rmdir { path }),
        2 => name().prop_map(|path| Op::Unlink { path }),
        4 => (name(), name()).prop_map(|(from, to)| Op::Rename { from, to }),
        2 => (name(), name()).prop_map(|(from, to)| Op::Link { from, to }),
        2 => (name(), name()).prop_map(|(target, path)| Op::Symlink { target, path }),
        1 => name().prop_map(|path| Op::Readlink { path }),
        2 => name().prop_map(|path| Op::List { path }),
        1 => (name(), vec(any::<u8>(), 1..40)).prop_map(|(path, value)| Op::SetXattr { path, value }),
        1 => name().prop_map(|path| Op::GetXattr { path }),
    ]
}

/// What an operation gave: its errno, or what it saw.
type Seen = Result<String, i32>;

/// One side: a directory and the files open in it.
struct Side {
    root: PathBuf,
    /// Open flags that this side does without.
    without: i32,
    files: [Option<Opened>; FILES],
}

struct Opened {
    file: File,
    /// Its name was given to another file, or went away. v9fs goes by name in all but reads and writes then,
    /// and so does this model's expectation.
    nameless: bool,
}

fn seen<T>(result: io::Result<T>, show: impl FnOnce(T) -> String) -> Seen {
    match result {
        Ok(value) => Ok(show(value)),
        Err(error) => Err(error.raw_os_error().unwrap_or(-1)),
    }
}

fn show_meta(meta: fs::Metadata) -> String {
    // A directory's size and links are its filesystem's own affair.
    let size = if meta.is_dir() { 0 } else { meta.len() };
    let links = if meta.is_dir() { 0 } else { meta.nlink() };
    format!(
        "{:o} size={size} nlink={links} uid={} gid={}",
        meta.mode(),
        meta.uid(),
        meta.gid()
    )
}

fn digest(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0u64, |sum, byte| {
        sum.wrapping_mul(1_099_511_628_211)
            .wrapping_add(u64::from(*byte) + 1)
    });
    format!("{} bytes {sum:x}", bytes.len())
}

impl Side {
    fn new(root: PathBuf, without: i32) -> Side {
        Side {
            root,
            without,
            files: [const { None }; FILES],
        }
    }

    fn path(&self, name: &Name) -> PathBuf {
        let mut path = self.root.join(OsStr::from_bytes(NAMES[name.0]));
        if let Some(second) = name.1 {
            path.push(OsStr::from_bytes(NAMES[second]));
        }
        path
    }

    /// Marks open files whose name is about to go, on both sides alike.
    fn lose(&mut self, path: &Path) {
        let Ok(meta) = path.symlink_metadata() else {
            return;
        };
        for opened in self.files.iter_mut().flatten() {
            let same = opened
                .file
                .metadata()
                .is_ok_and(|own| own.ino() == meta.ino());
            opened.nameless |= same;
        }
    }

    fn with(&mut self, at: usize, act: impl FnOnce(&Opened) -> Seen) -> Seen {
        self.files[at].as_ref().map_or(Ok("closed".into()), act)
    }

    fn apply(&mut self, op: &Op) -> Seen {
        match op {
            Op::Open {
                at,
                path,
                flags,
                mode,
            } => {
                let opened = File::options()
                    .read(flags & libc::O_ACCMODE != libc::O_WRONLY)
                    .write(flags & libc::O_ACCMODE != libc::O_RDONLY)
                    .custom_flags(flags & !libc::O_ACCMODE & !self.without)
                    .mode(*mode)
                    .open(self.path(path));
                seen(opened, |file| {
                    self.files[*at] = Some(Opened {
                        file,
                        nameless: false,
                    });
                    "opened".into()
                })
            }
            Op::Close { at } => {
                self.files[*at] = None;
                Ok(String::new())
            }
            Op::Read { at, offset, size } => self.with(*at, |opened| {
                let mut buffer = vec![0; *size];
                seen(opened.file.read_at(&mut buffer, *offset), |got| {
                    digest(&buffer[..got])
                })
            }),
            Op::Write {
                at,
                offset,
                size,
                byte,
            } => self.with(*at, |opened| {
                let data: Vec<u8> = (0..*size).map(|i| byte.wrapping_add(i as u8)).collect();
                seen(opened.file.write_at(&data, *offset), |n| n.to_string())
            }),
            Op::SetLen { at, size } => self.with(*at, |opened| {
                if opened.nameless {
                    return Ok("nameless".into());
                }
                seen(opened.file.set_len(*size), |()| String::new())
            }),
            Op::Fstat { at } => self.with(*at, |opened| {
                if opened.nameless {
                    return Ok("nameless".into());
                }
                seen(opened.file.metadata(), show_meta)
            }),
            Op::Fchmod { at, mode } => self.with(*at, |opened| {
                if opened.nameless {
                    return Ok("nameless".into());
                }
                let mode = Permissions::from_mode(*mode);
                seen(opened.file.set_permissions(mode), |()| String::new())
            }),
            Op::Sync { at } => self.with(*at, |opened| {
                seen(opened.file.sync_all(), |()| String::new())
            }),
            Op::Stat { path } => seen(self.path(path).symlink_metadata(), show_meta),
            Op::Truncate { path, size } => {
                seen(truncate(&self.path(path), *size), |()| String::new())
            }
            Op::Chmod { path, mode } => {
                let path = self.path(path);
                // A directory stays searchable: an ordinary server could not look into it.
                let mode = if path.is_dir() { 0o755 } else { *mode };
                seen(
                    fs::set_permissions(path, Permissions::from_mode(mode)),
                    |()| String::new(),
                )
            }
            Op::Mkdir { path } => seen(fs::create_dir(self.path(path)), |()| String::new()),
            Op::Rmdir { path } => seen(fs::remove_dir(self.path(path)), |()| String::new()),
            Op::Unlink { path } => {
                let path = self.path(path);
                self.lose(&path);
                seen(fs::remove_file(path), |()| String::new())
            }
            Op::Rename { from, to } => {
                let to = self.path(to);
                self.lose(&to);
                seen(fs::rename(self.path(from), to), |()| String::new())
            }
            Op::Link { from, to } => seen(fs::hard_link(self.path(from), self.path(to)), |()| {
                String::new()
            }),
            Op::Symlink { target, path } => seen(
                symlink(OsStr::from_bytes(NAMES[target.0]), self.path(path)),
                |()| String::new(),
            ),
            Op::Readlink { path } => seen(fs::read_link(self.path(path)), |target| {
                format!("{target:?}")
            }),
            Op::List { path } => seen(list(&self.path(path)), |names| format!("{names:?}")),
            Op::SetXattr { path, value } => {
                let set = rustix::fs::setxattr(
                    self.path(path),
                    "user.model",
                    value,
                    rustix::fs::XattrFlags::empty(),
                );
                seen(set.map_err(io::Error::from), |()| String::new())
            }
            Op::GetXattr { path } => {
                let mut value = vec![0; 100];
                let got = rustix::fs::getxattr(self.path(path), "user.model", &mut value);
                seen(got.map_err(io::Error::from), |got| {
                    format!("{:?}", &value[..got])
                })
            }
        }
    }

    /// The tree with everything in it.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut tree = BTreeMap::new();
        let mut todo = vec![self.root.clone()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let entry = entry.unwrap();
                let path = entry.path();
                let meta = path.symlink_metadata().unwrap();
                let content = if meta.is_dir() {
                    todo.push(path.clone());
                    String::new()
                } else if meta.is_symlink() {
                    format!("{:?}", fs::read_link(&path).unwrap())
                } else {
                    digest(&fs::read(&path).unwrap_or_default())
                };
                let kind = entry.file_type().unwrap();
                let inside = path.strip_prefix(&self.root).unwrap().to_owned();
                tree.insert(inside, format!("{kind:?} {} {content}", show_meta(meta)));
            }
        }
        tree
    }
}

fn truncate(path: &Path, size: u64) -> io::Result<()> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a C string that lives through the call.
    match unsafe { libc::truncate(path.as_ptr(), size as libc::off_t) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn list(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut names = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().into_vec()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The variable that names a seed to start from, as a failing run prints it.
const SEED: &str = "MODEL_SEED";

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    match std::env::var(SEED) {
        Ok(text) => {
            for (index, byte) in seed.iter_mut().enumerate() {
                let digits = text.get(2 * index..2 * index + 2);
                *byte = digits
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                    .expect("a seed is 64 hexadecimal digits");
            }
        }
        Err(_) => {
            rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).unwrap();
        }
    }
    seed
}

#[test]
fn any_sequence_of_operations_is_as_in_a_plain_directory() {
    let Some(volume) = Volume::new() else { return };
    let config = ProptestConfig {
        cases: 60,
        // The seed is printed instead.
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    };
    let seed = seed();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let round = std::cell::Cell::new(0);
    let outcome = runner.run(&vec(op(), 1..80), |ops| {
        round.set(round.get() + 1);
        let name = format!("round{}", round.get());
        let (plain, mount) = (volume.native().join(&name), volume.mnt().join(&name));
        fs::create_dir(&plain).unwrap();
        fs::create_dir(&mount).unwrap();
        // A local filesystem wants direct I/O aligned, 9P does not.
        let mut expected = Side::new(plain, libc::O_DIRECT);
        let mut actual = Side::new(mount, 0);
        for (index, op) in ops.iter().enumerate() {
            let (want, got) = (expected.apply(op), actual.apply(op));
            prop_assert_eq!(got, want, "operation {}: {:?}", index, op);
        }
        expected.files = [const { None }; FILES];
        actual.files = [const { None }; FILES];
        prop_assert_eq!(actual.tree(), expected.tree());
        fs::remove_dir_all(&expected.root).unwrap();
        fs::remove_dir_all(&actual.root).unwrap();
        Ok(())
    });
    if let Err(failure) = outcome {
        let seed: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{failure}\nrun it again with {SEED}={seed}");
    }
}
