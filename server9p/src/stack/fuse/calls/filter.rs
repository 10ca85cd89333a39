//! The seccomp filter: which system calls the kernel asks about.
//!
//! It looks at numbers and flags alone, so that what happens often, such as private and anonymous mappings, is
//! decided in the kernel, in a few nanoseconds.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
    sock_filter, sock_fprog,
};

#[cfg(target_arch = "x86_64")]
const ARCH: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCH: Option<u32> = Some(0xc000_00b7);
/// Others are not known to put an argument's low half first, or to have these calls by these numbers.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCH: Option<u32> = None;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

const fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
}

const fn give(action: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, action, 0, 0)
}

/// Jumps `yes` instructions ahead when what was loaded is `value`, else `no`.
const fn is(value: u32, yes: u8, no: u8) -> sock_filter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
}

/// The same when it has one of the bits of `value`.
const fn has(value: u32, yes: u8, no: u8) -> sock_filter {
    instruction(BPF_JMP | BPF_JSET | BPF_K, value, yes, no)
}

const fn mask(value: u32) -> sock_filter {
    instruction(BPF_ALU | BPF_AND | BPF_K, value, 0, 0)
}

const fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

/// Asks about: shared mappings of files, what is added to an epoll, marks of inotify and fanotify.
fn program(arch: u32) -> Vec<sock_filter> {
    const ALLOW: sock_filter = give(libc::SECCOMP_RET_ALLOW);
    const ASK: sock_filter = give(libc::SECCOMP_RET_USER_NOTIF);
    let shared_file = (libc::MAP_TYPE | libc::MAP_ANONYMOUS) as u32;
    vec![
        load(ARCHITECTURE),
        is(arch, 1, 0),
        ALLOW,
        load(NUMBER),
        is(libc::SYS_mmap as u32, 5, 0),
        is(libc::SYS_epoll_ctl as u32, 10, 0),
        is(libc::SYS_fanotify_mark as u32, 13, 0),
        is(libc::SYS_inotify_add_watch as u32, 1, 0),
        ALLOW,
        ASK,
        // mmap, from here on
        load(argument(3)),
        mask(shared_file),
        is(libc::MAP_SHARED as u32, 2, 0),
        is(libc::MAP_SHARED_VALIDATE as u32, 1, 0),
        ALLOW,
        ASK,
        // epoll_ctl
        load(argument(1)),
        is(libc::EPOLL_CTL_ADD as u32, 1, 0),
        ALLOW,
        ASK,
        // fanotify_mark
        load(argument(1)),
        has(libc::FAN_MARK_ADD, 1, 0),
        ALLOW,
        ASK,
    ]
}

/// Installs the filter for this thread and what it starts, and returns where its questions arrive.
pub(super) fn install() -> io::Result<OwnedFd> {
    let arch = ARCH.ok_or(io::ErrorKind::Unsupported)?;
    let mut program = program(arch);
    let program = sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    let least = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // So that signals, such as the timers of language runtimes, do not make a call be asked about for ever (Linux
    // 5.19).
    let best = least | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let mut refused = None;
    for flags in [best, least] {
        // SAFETY: the kernel copies the program, which lives until the call returns.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        if fd >= 0 {
            // SAFETY: the call made this descriptor for its caller.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        }
        let error = io::Error::last_os_error();
        let unknown_flag = error.raw_os_error() == Some(libc::EINVAL);
        refused = Some(error);
        if !unknown_flag {
            break;
        }
    }
    Err(refused.expect("the loop ran"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program says of a call, by running it as the kernel does.
    fn verdict(number: i64, arguments: [u64; 6]) -> u32 {
        let mut data = [0u8; 64];
        data[0..4].copy_from_slice(&(number as u32).to_ne_bytes());
        data[4..8].copy_from_slice(&7u32.to_ne_bytes());
        for (index, value) in arguments.into_iter().enumerate() {
            let at = argument(index as u32) as usize;
            data[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let program = program(7);
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
            match u32::from(step.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    let bytes = &data[step.k as usize..][..4];
                    loaded = u32::from_le_bytes(bytes.try_into().unwrap());
                }
                code if code == BPF_ALU | BPF_AND | BPF_K => loaded &= step.k,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => at += jump(loaded == step.k),
                code if code == BPF_JMP | BPF_JSET | BPF_K => at += jump(loaded & step.k != 0),
                _ => return step.k,
            }
        }
    }

    #[test]
    fn only_what_fuse_decides_is_asked_about() {
        let (ask, allow) = (libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_RET_ALLOW);
        let mmap = |flags: i32| verdict(libc::SYS_mmap, [0, 4096, 3, flags as u64, 5, 0]);
        assert_eq!(mmap(libc::MAP_SHARED), ask);
        assert_eq!(mmap(libc::MAP_SHARED | libc::MAP_POPULATE), ask);
        assert_eq!(mmap(libc::MAP_SHARED_VALIDATE), ask);
        assert_eq!(mmap(libc::MAP_PRIVATE), allow);
        assert_eq!(mmap(libc::MAP_SHARED | libc::MAP_ANONYMOUS), allow);
        let epoll = |op: i32| verdict(libc::SYS_epoll_ctl, [3, op as u64, 4, 0, 0, 0]);
        assert_eq!(epoll(libc::EPOLL_CTL_ADD), ask);
        assert_eq!(epoll(libc::EPOLL_CTL_DEL), allow);
        assert_eq!(epoll(libc::EPOLL_CTL_MOD), allow);
        let fanotify = |flags: u32| verdict(libc::SYS_fanotify_mark, [3, flags.into(), 0, 0, 0, 0]);
        assert_eq!(fanotify(libc::FAN_MARK_ADD | libc::FAN_MARK_ONLYDIR), ask);
        assert_eq!(fanotify(libc::FAN_MARK_REMOVE), allow);
        assert_eq!(verdict(libc::SYS_inotify_add_watch, [0; 6]), ask);
        assert_eq!(verdict(libc::SYS_openat, [0; 6]), allow);
    }
}
