//! Extended attributes: fids that stand for one attribute or for the list of them.

use std::sync::{Arc, Mutex};

use rs9p::FCall;
use rustix::{
    fs::{
        XattrFlags, getxattr, lgetxattr, listxattr, llistxattr, lremovexattr, lsetxattr,
        removexattr, setxattr,
    },
    io::Errno,
};

use super::{
    EmptyXattr, Export, Fid, Result, Xattrs,
    fid::{State, XattrWrite},
    target::Target,
};

/// The largest value of an attribute, bytes (XATTR_SIZE_MAX).
const SIZE_MAX: u64 = 65_536;

/// The largest list of names, bytes (XATTR_LIST_MAX).
const LIST_MAX: usize = 65_536;

/// Txattrcreate's flags, of the same values as those of setxattr(2).
const FLAGS: u32 = 0b11;

impl XattrWrite {
    /// Takes part of the value; more than was announced is cut off, as QEMU does.
    pub(super) fn fill(&mut self, offset: u64, data: &[u8]) -> Result<u32> {
        let start = usize::try_from(offset)
            .ok()
            .filter(|at| *at <= self.value.len())
            .ok_or(Errno::NOSPC)?;
        let count = data.len().min(self.value.len() - start);
        self.value[start..start + count].copy_from_slice(&data[..count]);
        self.filled += count as u64;
        Ok(count as u32)
    }
}

impl Export {
    /// Txattrwalk: a fid to read the attribute `name` from, or the list of names where that is empty, and the size.
    ///
    /// # Errors
    /// ENODATA where there is no such attribute, EOPNOTSUPP for a namespace that the profile does not have.
    pub fn xattrwalk(&self, fid: &Fid, name: &[u8]) -> Result<(u64, Arc<Fid>)> {
        let _names = self.names.read().expect("no holder of this lock panics");
        let target = self.target(fid)?;
        let value = if name.is_empty() {
            self.list(&target)?
        } else {
            self.named(name)?;
            get(&target, name)?
        };
        let size = value.len() as u64;
        let handle = fid.handle_to_share()?;
        let walked = self.register(Fid::new(fid.user, fid.path(), handle));
        walked.set_state(State::XattrRead(Arc::new(value)));
        Ok((size, walked))
    }

    /// Txattrcreate: the fid becomes one to write the attribute to; it is set when the fid is clunked.
    ///
    /// # Errors
    /// EINVAL for unknown flags and where something is open on the fid, E2BIG beyond 65,536 bytes.
    pub fn xattrcreate(&self, fid: &Fid, name: &[u8], size: u64, flags: u32) -> Result<FCall> {
        self.writable()?;
        if flags & !FLAGS != 0 {
            return Err(Errno::INVAL);
        }
        if size > SIZE_MAX {
            return Err(Errno::TOOBIG);
        }
        let mut state = fid.state.lock().expect("no holder of this lock panics");
        if !matches!(*state, State::Idle) {
            return Err(Errno::INVAL);
        }
        let write = XattrWrite {
            name: name.to_vec(),
            flags,
            value: vec![0; size as usize],
            filled: 0,
        };
        *state = State::XattrWrite(Arc::new(Mutex::new(write)));
        Ok(FCall::RxAttrCreate)
    }

    /// Sets the attribute of a fid that is being clunked.
    ///
    /// # Errors
    /// EINVAL where less was written than announced; those of setxattr(2) and removexattr(2).
    pub(super) fn set_xattr(&self, fid: &Fid, write: &Mutex<XattrWrite>) -> Result<()> {
        let write = write.lock().expect("no holder of this lock panics");
        if write.filled != write.value.len() as u64 {
            return Err(Errno::INVAL);
        }
        self.named(&write.name)?;
        let _names = self.names.read().expect("no holder of this lock panics");
        let target = self.target(fid)?;
        let (path, name) = (target.xattr_path(), write.name.as_slice());
        let removes = match self.behaviour.empty_xattr {
            EmptyXattr::Removes => true,
            EmptyXattr::RemovesOnReplace => write.flags == XattrFlags::REPLACE.bits(),
        };
        if write.value.is_empty() && removes {
            return if target.follows() {
                removexattr(path, name)
            } else {
                lremovexattr(path, name)
            };
        }
        let flags = XattrFlags::from_bits_retain(write.flags);
        if target.follows() {
            setxattr(path, name, &write.value, flags)
        } else {
            lsetxattr(path, name, &write.value, flags)
        }
    }

    /// EOPNOTSUPP for the name of an attribute that this profile does not have.
    fn named(&self, name: &[u8]) -> Result<()> {
        match self.behaviour.xattrs {
            Xattrs::User if !name.starts_with(b"user.") => Err(Errno::OPNOTSUPP),
            _ if name.contains(&0) => Err(Errno::INVAL),
            _ => Ok(()),
        }
    }

    fn list(&self, target: &Target) -> Result<Vec<u8>> {
        let path = target.xattr_path();
        let mut list = vec![0; LIST_MAX];
        let length = if target.follows() {
            listxattr(path, list.as_mut_slice())?
        } else {
            llistxattr(path, list.as_mut_slice())?
        };
        list.truncate(length);
        if self.behaviour.xattrs == Xattrs::User {
            let user = |name: &&[u8]| name.starts_with(b"user.");
            list = list
                .split_inclusive(|byte| *byte == 0)
                .filter(user)
                .collect::<Vec<_>>()
                .concat();
        }
        Ok(list)
    }
}

fn get(target: &Target, name: &[u8]) -> Result<Vec<u8>> {
    let path = target.xattr_path();
    let mut value = vec![0; SIZE_MAX as usize];
    let length = if target.follows() {
        getxattr(path, name, value.as_mut_slice())?
    } else {
        lgetxattr(path, name, value.as_mut_slice())?
    };
    value.truncate(length);
    value.shrink_to_fit();
    Ok(value)
}
