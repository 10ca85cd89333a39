//! Recording SQLite's failing system calls, through the unix VFS's `xSetSystemCall`.
//!
//! SQLite keeps its system calls in a table that its tests replace entries of (<https://www.sqlite.org/c3ref/vfs.html>).
//! Each entry that a volume can make fail is replaced by a function that makes the same call and, when it fails,
//! appends a line to the record. `fsync`, `close` and `lseek` are not replaced there; what is known of those is
//! SQLite's own result code and errno ([`gave_up`]).

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    fs::File,
    io::Write,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};

use libc::{gid_t, mode_t, off64_t, size_t, ssize_t, stat64, uid_t};
use rusqlite::ffi;

use super::{RECORD, codes};
use crate::tools::calls::{FailedCall, errno_name, relative};

/// Where failing calls are written to, when they are.
static RECORDER: OnceLock<Recorder> = OnceLock::new();

struct Recorder {
    file: File,
    /// The working directory, which names are made relative to.
    base: PathBuf,
    /// The last failing call of each errno, to find the one that an error of SQLite's speaks of.
    recent: Mutex<Vec<(i32, FailedCall)>>,
}

/// Replaces SQLite's system calls by recording ones, when the environment asks for a record.
pub fn install() {
    let Some(path) = std::env::var_os(RECORD) else {
        return;
    };
    let Ok(file) = File::options().append(true).create(true).open(path) else {
        return;
    };
    let base = std::env::current_dir().unwrap_or_default();
    if RECORDER
        .set(Recorder {
            file,
            base,
            recent: Mutex::default(),
        })
        .is_err()
    {
        return;
    }
    // SAFETY: the default VFS lives as long as the program. Every function given has the signature that
    // `os_unix.c` casts the table's entry to, and nothing has been opened yet.
    unsafe {
        let vfs = ffi::sqlite3_vfs_find(std::ptr::null());
        let Some(set) = vfs.as_ref().and_then(|vfs| vfs.xSetSystemCall) else {
            return;
        };
        let table: [(&CStr, *const ()); 16] = [
            (c"open", open as *const ()),
            (c"access", access as *const ()),
            (c"stat", stat as *const ()),
            (c"fstat", fstat as *const ()),
            (c"ftruncate", ftruncate as *const ()),
            (c"fcntl", fcntl as *const ()),
            (c"read", read as *const ()),
            (c"write", write as *const ()),
            (c"pread", pread as *const ()),
            (c"pwrite", pwrite as *const ()),
            (c"fchmod", fchmod as *const ()),
            (c"unlink", unlink as *const ()),
            (c"fchown", fchown as *const ()),
            (c"mmap", mmap as *const ()),
            (c"lstat", lstat as *const ()),
            (c"readlink", readlink as *const ()),
        ];
        for (name, function) in table {
            let function = std::mem::transmute::<*const (), unsafe extern "C" fn()>(function);
            set(vfs, name.as_ptr(), Some(function));
        }
    }
}

/// SQLite gave up with this extended result code; `errno` is what it remembered of the system's. Returns the
/// call that it failed by, when there was one.
pub fn gave_up(code: c_int, errno: c_int) -> Option<FailedCall> {
    let recorder = RECORDER.get()?;
    let recent = recorder.recent.lock().ok()?;
    let seen = recent
        .iter()
        .rev()
        .find(|(number, _)| *number == errno)
        .map(|(_, call)| call.clone());
    let unseen = || {
        let call = codes::call(code)?.to_owned();
        Some(FailedCall {
            call,
            args: String::new(),
            errno: errno_name(errno),
            gave_up: None,
        })
    };
    // A lock that is merely busy leaves an errno behind, but no call failed that should not.
    let primary = code & 0xff;
    if errno == 0
        || !matches!(
            primary,
            ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN | ffi::SQLITE_FULL | ffi::SQLITE_PERM
        )
    {
        return None;
    }
    let call = FailedCall {
        gave_up: Some(codes::name(code)),
        ..seen.or_else(unseen)?
    };
    recorder.write(&call);
    Some(call)
}

impl Recorder {
    fn write(&self, call: &FailedCall) {
        if let Ok(mut line) = serde_json::to_vec(call) {
            line.push(b'\n');
            // One write, so that lines of several processes do not mix. A record that cannot be written is
            // evidence lost, never a reason to disturb the program.
            let _ = (&self.file).write_all(&line);
        }
    }

    fn failed(&self, errno: c_int, call: &str, args: String) {
        let failed = FailedCall {
            call: call.to_owned(),
            args,
            errno: errno_name(errno),
            gave_up: None,
        };
        self.write(&failed);
        if let Ok(mut recent) = self.recent.lock() {
            recent.retain(|(number, _)| *number != errno);
            recent.push((errno, failed));
        }
    }

    fn name(&self, path: &Path) -> String {
        relative(path, &self.base).display().to_string()
    }
}

/// Records a call when it failed, and leaves errno as the call left it.
fn check(failed: bool, call: &str, args: impl FnOnce(&Recorder) -> String) {
    if !failed {
        return;
    }
    // SAFETY: errno's location is valid for the calling thread.
    let errno = unsafe { *libc::__errno_location() };
    if let Some(recorder) = RECORDER.get() {
        recorder.failed(errno, call, args(recorder));
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn file(recorder: &Recorder, fd: c_int) -> String {
    match std::fs::read_link(format!("/proc/self/fd/{fd}")) {
        Ok(path) => recorder.name(&path),
        Err(_) => format!("fd {fd}"),
    }
}

/// `path` is what SQLite passed to a call that takes a name.
fn path(recorder: &Recorder, path: *const c_char) -> String {
    // SAFETY: SQLite passes C strings, as the call itself needs; this is only reached from the calls below.
    let path = unsafe { CStr::from_ptr(path) };
    recorder.name(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())))
}

fn flags(value: c_int, zero: &str, known: &[(c_int, &str)]) -> String {
    let names: Vec<&str> = known
        .iter()
        .filter(|(bits, _)| *bits != 0 && value & bits == *bits)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        zero.to_owned()
    } else {
        names.join("|")
    }
}

fn open_flags(value: c_int) -> String {
    let access =
        ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][(value & libc::O_ACCMODE) as usize];
    let others = flags(
        value,
        "",
        &[
            (libc::O_CREAT, "O_CREAT"),
            (libc::O_EXCL, "O_EXCL"),
            (libc::O_NOFOLLOW, "O_NOFOLLOW"),
            (libc::O_CLOEXEC, "O_CLOEXEC"),
        ],
    );
    if others.is_empty() {
        access.to_owned()
    } else {
        format!("{access}|{others}")
    }
}

unsafe extern "C" fn open(name: *const c_char, how: c_int, mode: c_int) -> c_int {
    // SAFETY: SQLite's own arguments.
    let fd = unsafe { libc::open64(name, how, mode as c_uint) };
    check(fd < 0, "open", |r| {
        format!("{}, {}, {mode:#o}", path(r, name), open_flags(how))
    });
    fd
}

unsafe extern "C" fn access(name: *const c_char, mode: c_int) -> c_int {
    // SAFETY: SQLite's own arguments.
    let result = unsafe { libc::access(name, mode) };
    let names = [
        (libc::R_OK, "R_OK"),
        (libc::W_OK, "W_OK"),
        (libc::X_OK, "X_OK"),
    ];
    check(result != 0, "access", |r| {
        format!("{}, {}", path(r, name), flags(mode, "F_OK", &names))
    });
    result
}

unsafe extern "C" fn stat(name: *const c_char, to: *mut stat64) -> c_int {
    // SAFETY: SQLite's own arguments; it is compiled with 64-bit offsets, so its `struct stat` is `stat64`.
    let result = unsafe { libc::stat64(name, to) };
    check(result != 0, "stat", |r| path(r, name));
    result
}

unsafe extern "C" fn lstat(name: *const c_char, to: *mut stat64) -> c_int {
    // SAFETY: as for `stat`.
    let result = unsafe { libc::lstat64(name, to) };
    check(result != 0, "lstat", |r| path(r, name));
    result
}

unsafe extern "C" fn readlink(name: *const c_char, to: *mut c_char, size: size_t) -> ssize_t {
    // SAFETY: SQLite's own arguments.
    let result = unsafe { libc::readlink(name, to, size) };
    check(result < 0, "readlink", |r| path(r, name));
    result
}

unsafe extern "C" fn fstat(fd: c_int, to: *mut stat64) -> c_int {
    // SAFETY: as for `stat`.
    let result = unsafe { libc::fstat64(fd, to) };
    check(result != 0, "fstat", |r| file(r, fd));
    result
}

unsafe extern "C" fn ftruncate(fd: c_int, size: off64_t) -> c_int {
    // SAFETY: plain values.
    let result = unsafe { libc::ftruncate64(fd, size) };
    check(result != 0, "ftruncate", |r| {
        format!("{}, {size}", file(r, fd))
    });
    result
}

/// The table's entry is variadic. A third argument passed that way arrives in the same register as a named one
/// under the Linux calling conventions of the machines that Rust has (x86-64, AArch64, RISC-V), and all commands
/// that SQLite uses take a pointer, an int, or nothing.
unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: SQLite's own arguments.
    let result = unsafe { libc::fcntl(fd, command, argument) };
    check(result < 0, "fcntl", |r| {
        let names = [
            (libc::F_SETLK, "F_SETLK"),
            (libc::F_SETLKW, "F_SETLKW"),
            (libc::F_GETLK, "F_GETLK"),
            (libc::F_GETFD, "F_GETFD"),
            (libc::F_SETFD, "F_SETFD"),
        ];
        let name = names
            .iter()
            .find(|(value, _)| *value == command)
            .map_or("another command", |(_, name)| *name);
        let kind = if name.contains("LK") {
            // SAFETY: for these commands SQLite passes a `struct flock` with 64-bit offsets.
            let lock = unsafe { &*argument.cast::<libc::flock64>() };
            match i32::from(lock.l_type) {
                libc::F_RDLCK => ", F_RDLCK",
                libc::F_WRLCK => ", F_WRLCK",
                _ => ", F_UNLCK",
            }
        } else {
            ""
        };
        format!("{}, {name}{kind}", file(r, fd))
    });
    result
}

unsafe extern "C" fn read(fd: c_int, to: *mut c_void, size: size_t) -> ssize_t {
    // SAFETY: SQLite's own arguments.
    let result = unsafe { libc::read(fd, to, size) };
    check(result < 0, "read", |r| format!("{}, {size}", file(r, fd)));
    result
}

unsafe extern "C" fn write(fd: c_int, from: *const c_void, size: size_t) -> ssize_t {
    // SAFETY: SQLite's own arguments.
    let result = unsafe { libc::write(fd, from, size) };
    check(result < 0, "write", |r| format!("{}, {size}", file(r, fd)));
    result
}

unsafe extern "C" fn pread(fd: c_int, to: *mut c_void, size: size_t, at: off64_t) -> ssize_t {
    // SAFETY: SQLite's own arguments.
    let result = unsafe { libc::pread64(fd, to, size, at) };
    check(result < 0, "pread", |r| {
        format!("{}, {size}, {at}", file(r, fd))
    });
    result
}

unsafe extern "C" fn pwrite(fd: c_int, from: *const c_void, size: size_t, at: off64_t) -> ssize_t {
    // SAFETY: SQLite's own arguments.
    let result = unsafe { libc::pwrite64(fd, from, size, at) };
    check(result < 0, "pwrite", |r| {
        format!("{}, {size}, {at}", file(r, fd))
    });
    result
}

unsafe extern "C" fn fchmod(fd: c_int, mode: mode_t) -> c_int {
    // SAFETY: plain values.
    let result = unsafe { libc::fchmod(fd, mode) };
    check(result != 0, "fchmod", |r| {
        format!("{}, {mode:#o}", file(r, fd))
    });
    result
}

unsafe extern "C" fn fchown(fd: c_int, user: uid_t, group: gid_t) -> c_int {
    // SAFETY: plain values.
    let result = unsafe { libc::fchown(fd, user, group) };
    check(result != 0, "fchown", |r| {
        format!("{}, {user}, {group}", file(r, fd))
    });
    result
}

unsafe extern "C" fn unlink(name: *const c_char) -> c_int {
    // SAFETY: SQLite's own name.
    let result = unsafe { libc::unlink(name) };
    check(result != 0, "unlink", |r| path(r, name));
    result
}

unsafe extern "C" fn mmap(
    at: *mut c_void,
    size: size_t,
    protection: c_int,
    how: c_int,
    fd: c_int,
    offset: off64_t,
) -> *mut c_void {
    // SAFETY: SQLite's own arguments.
    let result = unsafe { libc::mmap64(at, size, protection, how, fd, offset) };
    check(result == libc::MAP_FAILED, "mmap", |r| {
        let protection = flags(
            protection,
            "PROT_NONE",
            &[
                (libc::PROT_READ, "PROT_READ"),
                (libc::PROT_WRITE, "PROT_WRITE"),
            ],
        );
        let how = flags(
            how,
            "0",
            &[
                (libc::MAP_SHARED, "MAP_SHARED"),
                (libc::MAP_PRIVATE, "MAP_PRIVATE"),
            ],
        );
        format!(
            "{}, {size}, {protection}, {how}, offset {offset}",
            file(r, fd)
        )
    });
    result
}
