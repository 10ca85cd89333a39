//! What a client's fid stands for.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, RwLock},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};

use super::{Result, dir::OpenDir, path::RelPath, target::proc_path};

/// A fid of a session: a place in the export, and what was opened there.
#[derive(Debug)]
pub struct Fid {
    /// The numeric user that attached (n_uname); whoever creates files through this fid would own them.
    pub(super) user: u32,
    /// The path; renames through the export change it, Tlcreate moves it to the new file.
    pub(super) path: RwLock<RelPath>,
    /// The object's descriptor, under profiles that reach by descriptor. One by which a file was created is open for
    /// I/O, all others are O_PATH.
    pub(super) handle: RwLock<Option<Arc<OwnedFd>>>,
    /// What is open.
    pub(super) state: Mutex<State>,
}

/// What is open on a fid.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// Nothing: the fid may be walked from, opened, or turned into an attribute's.
    Idle,
    /// A regular file.
    File(Arc<OwnedFd>),
    /// A directory.
    Dir(Arc<OpenDir>),
    /// An attribute or the list of them, read at the time of Txattrwalk.
    XattrRead(Arc<Vec<u8>>),
    /// An attribute to be set when the fid is clunked.
    XattrWrite(Arc<Mutex<XattrWrite>>),
}

/// An attribute on its way in.
#[derive(Debug)]
pub(super) struct XattrWrite {
    pub name: Vec<u8>,
    pub flags: u32,
    pub value: Vec<u8>,
    /// Bytes received so far.
    pub filled: u64,
}

impl Fid {
    pub(super) fn new(user: u32, path: RelPath, handle: Option<Arc<OwnedFd>>) -> Fid {
        Fid {
            user,
            path: RwLock::new(path),
            handle: RwLock::new(handle),
            state: Mutex::new(State::Idle),
        }
    }

    /// Where the fid is, for traces: the path from the root of the export, `/` for the root.
    pub fn display_path(&self) -> String {
        format!("/{}", String::from_utf8_lossy(self.path().as_bytes()))
    }

    /// EINVAL where something is open on the fid.
    pub(crate) fn idle(&self) -> Result<()> {
        match *self.state.lock().expect("no holder of this lock panics") {
            State::Idle => Ok(()),
            _ => Err(Errno::INVAL),
        }
    }

    pub(super) fn path(&self) -> RelPath {
        self.path
            .read()
            .expect("no holder of this lock panics")
            .clone()
    }

    pub(super) fn handle(&self) -> Option<Arc<OwnedFd>> {
        self.handle
            .read()
            .expect("no holder of this lock panics")
            .clone()
    }

    /// The handle, for another fid to have as well: not one that is open for I/O, which ends with this fid's Tclunk.
    pub(super) fn handle_to_share(&self) -> Result<Option<Arc<OwnedFd>>> {
        let handle = self.handle();
        match (handle, self.file()) {
            (Some(handle), Some(file)) if Arc::ptr_eq(&handle, &file) => {
                let path = proc_path(file.as_fd());
                let shared = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                Ok(Some(Arc::new(shared)))
            }
            (handle, _) => Ok(handle),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
            .lock()
            .expect("no holder of this lock panics")
            .clone()
    }

    pub(super) fn set_state(&self, state: State) {
        *self.state.lock().expect("no holder of this lock panics") = state;
    }

    /// The regular file that is open, for I/O.
    pub(super) fn file(&self) -> Option<Arc<OwnedFd>> {
        match &*self.state.lock().expect("no holder of this lock panics") {
            State::File(file) => Some(file.clone()),
            _ => None,
        }
    }
}
