//! What is to be known of a process that made a call: its descriptors, its memory, its paths.

use std::{
    ffi::OsStr,
    fs,
    io::{self, IoSliceMut},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};

/// A thread that waits for its call's result. It cannot change while it waits, unless it is killed; what is read
/// of it decides about its own call and nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller(pub u32);

/// What a descriptor refers to.
#[derive(Debug)]
pub(super) struct Descriptor {
    /// The device of its file.
    pub device: (u32, u32),
    /// The file type's bits of its mode.
    pub kind: u32,
    /// As open(2) takes them.
    pub flags: i32,
}

impl Caller {
    fn proc(self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.0))
    }

    /// Its descriptor `fd`, if it has one of that number.
    pub fn descriptor(self, fd: i32) -> Option<Descriptor> {
        let stat = statx_known(&self.proc(&format!("fd/{fd}"))).ok()?;
        let info = fs::read_to_string(self.proc(&format!("fdinfo/{fd}"))).ok()?;
        let flags = field(&info, "flags:")?;
        Some(Descriptor {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            kind: u32::from(stat.stx_mode) & libc::S_IFMT,
            flags: i32::from_str_radix(flags, 8).ok()?,
        })
    }

    /// The flags that fanotify_init(2) got for its descriptor `fd`.
    pub fn fanotify_flags(self, fd: i32) -> Option<u32> {
        let info = fs::read_to_string(self.proc(&format!("fdinfo/{fd}"))).ok()?;
        let line = info.lines().find_map(|l| l.strip_prefix("fanotify "))?;
        u32::from_str_radix(field(&line.replace(' ', "\n"), "flags:")?, 16).ok()
    }

    /// The string at `address` of its memory, at most as long as a path may be.
    fn string(self, address: u64) -> Option<Vec<u8>> {
        // Not beyond the page, where nothing need be; further pages one by one.
        const PAGE: usize = 4096;
        let pid = nix::unistd::Pid::from_raw(self.0 as i32);
        let mut text = Vec::new();
        let mut at = usize::try_from(address).ok()?;
        while text.len() < libc::PATH_MAX as usize {
            let mut buffer = [0; PAGE];
            let wanted = PAGE - at % PAGE;
            let remote = [RemoteIoVec {
                base: at,
                len: wanted,
            }];
            let mut local = [IoSliceMut::new(&mut buffer[..wanted])];
            let came = process_vm_readv(pid, &mut local, &remote).ok()?;
            let part = &buffer[..came];
            match part.iter().position(|&byte| byte == 0) {
                Some(end) => {
                    text.extend_from_slice(&part[..end]);
                    return Some(text);
                }
                None if came < wanted => return None,
                None => text.extend_from_slice(part),
            }
            at += came;
        }
        None
    }

    /// Where the path at `address` leads from its directory `dir` (AT_FDCWD, or a descriptor), as a path of this
    /// process; without a path, where `dir` leads. None when it leads nowhere, or the caller has another root.
    pub fn resolve(self, dir: i32, address: u64, follow: bool) -> Option<PathBuf> {
        if fs::read_link(self.proc("root")).ok()?.as_path() != Path::new("/") {
            return None;
        }
        let base = match dir {
            libc::AT_FDCWD => self.proc("cwd"),
            fd => self.proc(&format!("fd/{fd}")),
        };
        let path = match address {
            0 => base,
            // An absolute path replaces what it is joined to.
            _ => base.join(OsStr::from_bytes(&self.own_proc(self.string(address)?))),
        };
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, !follow);
        let found: OwnedFd = openat(CWD, &path, flags, Mode::empty()).ok()?;
        fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()
    }

    /// The path with /proc/self made the caller's.
    fn own_proc(self, path: Vec<u8>) -> Vec<u8> {
        for own in [&b"/proc/self/"[..], b"/proc/thread-self/", b"/dev/fd/"] {
            if let Some(rest) = path.strip_prefix(own) {
                let inside = if own == b"/dev/fd/" { "fd/" } else { "" };
                let base = format!("/proc/{}/{inside}", self.0);
                return [base.as_bytes(), rest].concat();
            }
        }
        path
    }
}

/// A file's device and type, of which the filesystem need not be asked.
pub(super) fn statx_known(path: &Path) -> io::Result<rustix::fs::Statx> {
    Ok(statx(
        CWD,
        path,
        AtFlags::STATX_DONT_SYNC,
        StatxFlags::TYPE,
    )?)
}

/// What follows `name` on its line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_s_descriptors_and_strings_are_read() {
        let me = Caller(std::process::id());
        let file = tempfile::tempfile().unwrap();
        let seen = me.descriptor(file.as_raw_fd()).unwrap();
        assert_eq!(seen.kind, libc::S_IFREG);
        assert_eq!(seen.flags & libc::O_ACCMODE, libc::O_RDWR);
        assert!(me.descriptor(-1).is_none());
        let text = c"/proc/self/fd";
        let address = text.as_ptr() as u64;
        assert_eq!(me.string(address).unwrap(), b"/proc/self/fd");
        let own = PathBuf::from(format!("/proc/{}/fd", me.0));
        assert_eq!(me.resolve(libc::AT_FDCWD, address, true), Some(own));
    }

    #[test]
    fn the_flags_of_a_fanotify_group_are_found_in_its_line() {
        let info = "pos:\t0\nflags:\t02\nfanotify flags:e10 event-flags:0\n";
        let line = info.lines().find_map(|l| l.strip_prefix("fanotify "));
        assert_eq!(
            field(&line.unwrap().replace(' ', "\n"), "flags:"),
            Some("e10")
        );
    }
}
