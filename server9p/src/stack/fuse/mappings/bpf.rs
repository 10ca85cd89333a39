//! The bpf(2) calls that load and attach a program.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use super::program::Instruction;

/// Commands of bpf(2), from `linux/bpf.h`.
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;

/// `BPF_PROG_TYPE_LSM`.
const LSM: u32 = 29;
/// `BPF_LSM_MAC`, where such a program is attached.
const LSM_MAC: u32 = 27;

/// `struct bpf_attr` for loading; what is 0 here is not used.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log: [u32; 4],
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
    /// Descriptions of the program's own types and lines.
    debugging: [u32; 9],
    attach_to: u32,
    attach_in: u32,
    relocations: u32,
}

/// `struct bpf_attr` for attaching.
#[repr(C)]
#[derive(Default)]
struct Attach {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// # Safety
/// What pointers in `attributes` lead to must be as the command wants it, and it must make a descriptor.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel copies the structure, of which it gets the size, and what follows in a larger one is 0 to it.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this descriptor for its caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Loads a program for the hook whose function has this number among the kernel's types.
pub(super) fn load(program: &[Instruction], hook: u32) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..7].copy_from_slice(b"probe9p");
    let attributes = Load {
        program_type: LSM,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        // The helper that reads the kernel's memory is only for programs under a license that goes with the GPL.
        license: c"Dual MIT/GPL".as_ptr() as u64,
        name,
        expected_attach_type: LSM_MAC,
        attach_to: hook,
        ..Load::default()
    };
    // SAFETY: instructions and license live until the call returns, and loading makes a descriptor.
    unsafe { bpf(PROG_LOAD, &attributes) }
}

/// Attaches it, until the descriptor that comes back is closed.
pub(super) fn attach(program: OwnedFd) -> io::Result<OwnedFd> {
    let attributes = Attach {
        program: program.as_raw_fd() as u32,
        attach_type: LSM_MAC,
        ..Attach::default()
    };
    // SAFETY: there are no pointers, and a link is a descriptor.
    unsafe { bpf(LINK_CREATE, &attributes) }
}
