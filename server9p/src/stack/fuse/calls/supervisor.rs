//! Who answers: threads of the FUSE daemon, which decide each call that the filter asks about.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    thread,
};

use libc::{seccomp_data, seccomp_notif, seccomp_notif_resp};

use super::caller::{Caller, statx_known};
use crate::stack::{Cache, fuse::volume::Volume, process::receive_fd};

/// One may wait for the server, by a path on the volume, and the others answer meanwhile.
const THREADS: usize = 3;

/// fanotify_init(2)'s flags for groups that tell of files by identifiers.
const BY_IDENTIFIER: u32 =
    libc::FAN_REPORT_FID | libc::FAN_REPORT_DIR_FID | libc::FAN_REPORT_TARGET_FID;
/// fanotify_mark(2)'s flags for marks that are not on an inode.
const NOT_ON_INODE: u32 = libc::FAN_MARK_MOUNT | libc::FAN_MARK_FILESYSTEM;

/// What is done with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The kernel goes on with it.
    Pass,
    /// It fails with this errno.
    Fail(i32),
}

/// Answers for `volume`, once whoever holds the other end of `from` has put itself under the filter. Returns at
/// once; when that never happens, nothing does.
pub fn start(volume: Arc<Volume>, from: OwnedFd) -> io::Result<()> {
    let start = thread::Builder::new().name("fuse-calls".into());
    start.spawn(move || {
        let Some(listener) = receive_fd(&from) else {
            return;
        };
        // Not before: looking at the mount takes whoever serves it.
        let Ok(root) = statx_known(volume.mountpoint()) else {
            return;
        };
        let supervisor = Supervisor {
            volume,
            device: (root.stx_dev_major, root.stx_dev_minor),
            listener: listener.into(),
        };
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| supervisor.answer_all());
            }
        });
    })?;
    Ok(())
}

struct Supervisor {
    volume: Arc<Volume>,
    /// The volume's device number.
    device: (u32, u32),
    listener: File,
}

impl Supervisor {
    /// Until nobody is under the filter any more.
    fn answer_all(&self) {
        while let Some(question) = self.receive() {
            let answer = self.decide(Caller(question.pid), &question.data);
            self.send(question.id, answer);
        }
    }

    fn receive(&self) -> Option<seccomp_notif> {
        loop {
            // SAFETY: zeros are what the kernel wants to find in it.
            let mut question: seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: the structure is the one that this request fills.
            let got = unsafe {
                libc::ioctl(
                    self.listener.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_RECV,
                    &raw mut question,
                )
            };
            if got == 0 {
                return Some(question);
            }
            match io::Error::last_os_error().raw_os_error() {
                // The caller was killed before it was heard, or this thread was interrupted.
                Some(libc::ENOENT) if !self.deserted() => {}
                Some(libc::EINTR) => {}
                _ => return None,
            }
        }
    }

    /// Whether nobody is under the filter any more, when a question is said not to be there.
    fn deserted(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
        let now = rustix::event::Timespec::default();
        poll(&mut fds, Some(&now)).is_err() || fds[0].revents().contains(PollFlags::HUP)
    }

    fn send(&self, id: u64, answer: Answer) {
        let (error, flags) = match answer {
            Answer::Pass => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Answer::Fail(errno) => (-errno, 0),
        };
        let response = seccomp_notif_resp {
            id,
            val: 0,
            error,
            flags,
        };
        // SAFETY: the structure is the one that this request reads. A caller that was killed meanwhile is no error.
        unsafe {
            libc::ioctl(
                self.listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw const response,
            )
        };
    }

    fn decide(&self, caller: Caller, call: &seccomp_data) -> Answer {
        match i64::from(call.nr) {
            libc::SYS_mmap => self.mmap(caller, &call.args),
            libc::SYS_epoll_ctl => self.epoll_ctl(caller, &call.args),
            libc::SYS_inotify_add_watch => self.inotify_add_watch(caller, &call.args),
            libc::SYS_fanotify_mark => self.fanotify_mark(caller, &call.args),
            _ => Answer::Pass,
        }
    }

    /// `generic_file_readonly_mmap`, which is v9fs's mmap with cache=none: EINVAL for a shared mapping of a file
    /// that is open for writing, whatever the mapping's own protection. What the kernel refuses before it asks a
    /// filesystem is left to it.
    fn mmap(&self, caller: Caller, args: &[u64; 6]) -> Answer {
        let [_, length, _, flags, fd, offset] = *args;
        let validated = flags as i32 & libc::MAP_TYPE == libc::MAP_SHARED_VALIDATE;
        let too_large = length > 1 << 46
            || offset
                .checked_add(length)
                .is_none_or(|end| end > i64::MAX as u64);
        if self.volume.cache != Cache::None
            || too_large
            || (validated && flags as i32 & libc::MAP_SYNC != 0)
        {
            return Answer::Pass;
        }
        match caller.descriptor(fd as i32) {
            Some(file)
                if file.device == self.device
                    && file.kind == libc::S_IFREG
                    && file.flags & libc::O_PATH == 0
                    && file.flags & libc::O_ACCMODE == libc::O_RDWR =>
            {
                Answer::Fail(libc::EINVAL)
            }
            _ => Answer::Pass,
        }
    }

    /// `file_can_poll`: v9fs's files have no poll operation.
    fn epoll_ctl(&self, caller: Caller, args: &[u64; 6]) -> Answer {
        let [epoll, _, fd, event, ..] = *args;
        let on_volume = |file: &super::caller::Descriptor| {
            file.device == self.device && file.flags & libc::O_PATH == 0
        };
        let refused = event != 0
            && caller.descriptor(epoll as i32).is_some()
            && caller.descriptor(fd as i32).as_ref().is_some_and(on_volume);
        match refused {
            true => Answer::Fail(libc::EPERM),
            false => Answer::Pass,
        }
    }

    fn inotify_add_watch(&self, caller: Caller, args: &[u64; 6]) -> Answer {
        let [_, path, mask, ..] = *args;
        let follow = mask as u32 & libc::IN_DONT_FOLLOW == 0;
        self.watch(
            caller,
            caller.resolve(libc::AT_FDCWD, path, follow).as_deref(),
        );
        Answer::Pass
    }

    /// `fanotify_test_fid`: without `s_export_op`, which v9fs has not, there are no identifiers.
    fn fanotify_mark(&self, caller: Caller, args: &[u64; 6]) -> Answer {
        let [group, flags, _, dir, path, _] = *args;
        let flags = flags as u32;
        let follow = flags & libc::FAN_MARK_DONT_FOLLOW == 0;
        let Some(marked) = caller.resolve(dir as i32, path, follow) else {
            return Answer::Pass;
        };
        if !marked.starts_with(self.volume.mountpoint()) {
            return Answer::Pass;
        }
        let by_identifier =
            (caller.fanotify_flags(group as i32)).is_some_and(|flags| flags & BY_IDENTIFIER != 0);
        if by_identifier {
            return Answer::Fail(libc::EOPNOTSUPP);
        }
        if flags & NOT_ON_INODE == 0 {
            self.watch(caller, Some(&marked));
        }
        Answer::Pass
    }

    fn watch(&self, caller: Caller, path: Option<&std::path::Path>) {
        if let Some(path) = path
            && !self.volume.is_loose()
        {
            self.volume.will_be_watched(path, caller.0);
        }
    }
}
