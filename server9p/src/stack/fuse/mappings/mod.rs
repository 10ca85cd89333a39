//! Refusing shared mappings on a mount that everybody uses, by a program in the kernel.
//!
//! With cache=none v9fs reads and writes directly, and maps shared only what is open for reading alone
//! (`generic_file_readonly_mmap`). FUSE has one flag for all its files: those that it reads directly can all be mapped
//! shared, or none of them can. In a volume's world the daemon answers for the mappings ([`calls`](super::calls)).
//! Elsewhere anybody may map the files, so a [`Guard`] has the kernel refuse it: a BPF program at the hook by which Linux asks
//! its security modules about every mapping (`security_mmap_file`), which knows this one mount by its device number. It is
//! tried out beforehand, on a filesystem that nobody else sees: where the security module is off, a program can be attached
//! and is never called.
//!
//! That takes root, and a kernel with the BPF security module (`bpf` in /sys/kernel/security/lsm) and a description of its
//! own types (/sys/kernel/btf/vmlinux), as Debian's and most others have. The program goes when the guard does, with the
//! process at the latest.

mod bpf;
mod btf;
mod program;
mod rehearsal;

use std::{fs, io, os::fd::OwnedFd};

use btf::Types;
use program::Places;

use super::volume::Volume;
use crate::stack::mounts;

/// What the kernel calls the hook's function, to which programs are attached.
const HOOK: &str = "bpf_lsm_mmap_file";

/// While it lives, the files of a mount that are open for writing cannot be mapped shared: EINVAL, as on v9fs.
#[derive(Debug)]
pub(super) struct Guard {
    _link: OwnedFd,
}

impl Guard {
    /// Guards the mount with this device number: its minor one, since the major number of what has no device is 0.
    ///
    /// # Errors
    /// The system's: EPERM for who is not root, NotFound where the kernel does not describe its types; and `Unsupported`
    /// where they are not what the program expects, or the program is not called.
    pub fn new(minor: u32) -> io::Result<Guard> {
        let description = fs::read("/sys/kernel/btf/vmlinux")?;
        let unsupported = |why| move || io::Error::new(io::ErrorKind::Unsupported, why);
        let (hook, places) = Types::parse(&description)
            .and_then(|types| Option::zip(types.function(HOOK), places(&types)))
            .ok_or_else(unsupported("the kernel's types are not known"))?;
        let guard = |minor| {
            let program = bpf::load(&program::refuse_shared(&places, minor), hook)?;
            bpf::attach(program).map(|_link| Guard { _link })
        };
        match rehearsal::succeeds(guard)? {
            true => guard(minor),
            false => Err(unsupported("the kernel's BPF security module is off")()),
        }
    }
}

impl Volume {
    /// Has the kernel refuse the shared mappings that v9fs refuses. The volume must be mounted by now.
    ///
    /// # Errors
    /// What is in the way, in words.
    pub(super) fn guard_mappings(&self) -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err(
                "only root can have the kernel refuse the shared mappings which v9fs refuses"
                    .into(),
            );
        }
        let mount = mounts::at(self.mountpoint()).ok_or("the mount is not found")?;
        let guard = Guard::new(mount.minor).map_err(|error| {
            format!(
                "this kernel takes no program that refuses the shared mappings which v9fs refuses ({error})"
            )
        })?;
        self.guard
            .set(guard)
            .map_err(|_| "it was mounted twice".into())
    }
}

/// Where in the kernel's structures the program looks.
fn places(types: &Types) -> Option<Places> {
    let [mode, inode] = types.members("file", ["f_mode", "f_inode"])?;
    let [superblock] = types.members("inode", ["i_sb"])?;
    let [device] = types.members("super_block", ["s_dev"])?;
    Some(Places {
        mode,
        inode,
        superblock,
        device,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernels_types_have_what_the_program_looks_at() {
        let Ok(description) = fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("skipped: this kernel does not describe its types");
            return;
        };
        let types = Types::parse(&description).unwrap();
        assert_ne!(types.function(HOOK), None);
        let places = places(&types).unwrap();
        assert!(places.inode > 0 && places.device > 0);
        assert_eq!(types.function("no_such_function"), None);
        assert_eq!(types.members("file", ["no_such_member"]), None);
    }
}
