//! From a virtio port to a socket and back, for `trans=fd`.
//!
//! Since 5.10 the kernel's own reads and writes refuse character devices like virtio ports, so v9fs gets one end
//! of a socket pair, and a process of ours passes bytes between the other end and the port.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl, signal::Signal},
    unistd::{ForkResult, Pid, fork},
};

/// Bytes that are passed on at once: a 9P message of the largest msize.
const CHUNK: usize = 1 << 20;

/// Starts the process for a port; v9fs is to have the descriptor that comes back. The caller has one thread.
///
/// # Errors
/// The system's.
pub fn start(port: File) -> io::Result<(Pid, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok((child, theirs.into())),
        ForkResult::Child => {
            drop(theirs);
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            let code = match pump(&port, &ours) {
                Ok(()) => 0,
                Err(_) => 1,
            };
            // SAFETY: ends this process at once; what was copied to it is its parent's to clean up.
            unsafe { libc::_exit(code) }
        }
    }
}

fn pump(port: &File, socket: &UnixStream) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut fds = [port.as_fd(), socket.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        let woke = [0, 1].map(|index: usize| fds[index].any() == Some(true));
        // Both ends block while they are written to, which cannot be for ever: v9fs reads whatever comes, and
        // a server that reads no requests until its answers are read would be stuck with v9fs itself.
        if woke[0] && !pass(port, socket, &mut buffer)? {
            return Ok(());
        }
        if woke[1] && !pass(socket, port, &mut buffer)? {
            return Ok(());
        }
    }
}

/// Passes on what is there; says whether there can be more.
fn pass(mut from: impl Read, mut to: impl Write, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read(buffer) {
        Ok(0) => Ok(false),
        Ok(came) => to.write_all(&buffer[..came]).map(|()| true),
        Err(err) if err.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_passed_until_the_end() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let (to, mut beyond) = UnixStream::pair().unwrap();
        near.write_all(b"Tversion").unwrap();
        let mut buffer = vec![0; 64];
        assert!(pass(&far, &to, &mut buffer).unwrap());
        drop(near);
        assert!(!pass(&far, &to, &mut buffer).unwrap());
        let mut came = [0; 8];
        beyond.read_exact(&mut came).unwrap();
        assert_eq!(&came, b"Tversion");
    }
}
