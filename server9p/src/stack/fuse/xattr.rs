//! `fs/9p/xattr.c` and the VFS's choice of handler before it.

use std::sync::Arc;

use fuser::{Errno, FileType};

use super::{
    convert::{Outcome, errno},
    node::Node,
    volume::Volume,
};

/// Longest value that Linux allows (`XATTR_SIZE_MAX`).
const SIZE_MAX: u64 = 65536;
/// What the VFS passes on when an attribute is removed.
const XATTR_REPLACE: u32 = 2;

/// Which of v9fs's handlers takes a name.
enum Handler {
    /// Sent to the server.
    Server,
    /// POSIX ACLs: without the `posixacl` mount option v9fs has none cached, and so none to give.
    Acl,
}

/// `xattr_resolve_name`: v9fs has handlers for these only.
fn handler(name: &[u8]) -> Outcome<Handler> {
    match name {
        b"system.posix_acl_access" | b"system.posix_acl_default" => Ok(Handler::Acl),
        _ => {
            let prefixes: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
            let Some(prefix) = prefixes.iter().find(|prefix| name.starts_with(prefix)) else {
                return Err(Errno::EOPNOTSUPP);
            };
            if name.len() == prefix.len() {
                return Err(Errno::EINVAL);
            }
            Ok(Handler::Server)
        }
    }
}

impl Volume {
    /// `v9fs_xattr_get`: the value, or with `size` 0 only its length.
    pub(super) fn getxattr(
        &self,
        node: &Arc<Node>,
        name: &[u8],
        size: u32,
        uid: u32,
    ) -> Outcome<Xattr> {
        match handler(name)? {
            Handler::Acl => Err(Errno::ENODATA),
            Handler::Server => self.read_xattr(node, name, size, uid),
        }
    }

    /// `v9fs_listxattr`: a Txattrwalk with no name.
    pub(super) fn listxattr(&self, node: &Arc<Node>, size: u32, uid: u32) -> Outcome<Xattr> {
        self.read_xattr(node, b"", size, uid)
    }

    fn read_xattr(&self, node: &Arc<Node>, name: &[u8], size: u32, uid: u32) -> Outcome<Xattr> {
        let fid = self.fid(node, uid)?;
        let (value_fid, length) = self.client.xattrwalk(&fid, name).map_err(errno)?;
        if size == 0 {
            let length = u32::try_from(length).map_err(|_| Errno::ERANGE)?;
            return Ok(Xattr::Length(length));
        }
        if length > u64::from(size) || length > SIZE_MAX {
            return Err(Errno::ERANGE);
        }
        let mut value = Vec::new();
        let mut got = 0;
        while (got as u64) < length {
            let count = (length - got as u64) as u32;
            match self
                .client
                .read(&value_fid, got as u64, count, &mut value, got)
                .map_err(errno)?
            {
                0 => break,
                more => got += more,
            }
        }
        value.truncate(got);
        Ok(Xattr::Value(value))
    }

    /// `v9fs_xattr_set`: Txattrcreate on a clone, the value by Twrite; the answer to the Tclunk counts.
    pub(super) fn setxattr(
        &self,
        node: &Arc<Node>,
        name: &[u8],
        value: &[u8],
        flags: u32,
        uid: u32,
    ) -> Outcome<()> {
        if let (Handler::Acl, FileType::Symlink) = (handler(name)?, node.kind) {
            return Err(Errno::EOPNOTSUPP);
        }
        let fid = self.clone_fid(node, uid)?;
        self.client
            .xattrcreate(&fid, name, value.len() as u64, flags)
            .map_err(errno)?;
        let mut written = 0;
        let mut outcome = Ok(());
        while written < value.len() {
            match self.client.write(&fid, written as u64, &value[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) => {
                    outcome = Err(errno(error));
                    break;
                }
            }
        }
        let clunked = self.client.clunk(fid).map_err(errno);
        outcome.and(clunked)
    }

    /// Removing is setting to nothing.
    pub(super) fn removexattr(&self, node: &Arc<Node>, name: &[u8], uid: u32) -> Outcome<()> {
        self.setxattr(node, name, &[], XATTR_REPLACE, uid)
    }
}

/// What getxattr and listxattr give.
pub(super) enum Xattr {
    /// Its length in bytes.
    Length(u32),
    /// The value, or the names each with a NUL behind it.
    Value(Vec<u8>),
}
