//! Directories held open between the messages that came in together.
//!
//! Profiles that go by path open the directory of every object that a message names, as QEMU does, so that the host's
//! changes of names and permissions count at once. Messages that the server had received before it carried out the
//! first of them were all under way at that moment, so one look at a directory serves them all: nobody can tell
//! it from having carried them out in that instant. What a message itself changes is looked at anew.
//!
//! A thread holds them, and only for as long as it says so: see [`Export::hold`].

use std::{cell::RefCell, marker::PhantomData, os::fd::OwnedFd, ptr, sync::Arc};

use super::{Export, RelPath};

/// Directories held at most; what comes in together seldom names more.
const MOST: usize = 8;

/// A directory, by its path.
type Entry = (RelPath, Arc<OwnedFd>);

thread_local! {
    /// Of which export, told by its place in memory, and its directories.
    static HELD: RefCell<Option<(*const Export, Vec<Entry>)>> = const { RefCell::new(None) };
}

/// The calling thread's permission to hold directories of an export.
#[derive(Debug)]
pub struct Held<'a> {
    /// The export stays where it is, and this stays in its thread.
    export: PhantomData<(&'a Export, *const ())>,
}

impl Held<'_> {
    /// Lets go of all, because other messages are to be waited for.
    pub fn release(&self) {
        changed();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        HELD.take();
    }
}

impl Export {
    /// Has the calling thread hold the directories that it opens, until [`Held::release`] or the end of what this
    /// returns. Whoever asks for it must release them before it takes in further messages.
    pub fn hold(&self) -> Held<'_> {
        HELD.set(Some((ptr::from_ref(self), Vec::new())));
        Held {
            export: PhantomData,
        }
    }

    /// The directory at a path, where the thread holds it.
    pub(super) fn held(&self, path: &RelPath) -> Option<Arc<OwnedFd>> {
        HELD.with_borrow(|held| {
            let (export, dirs) = held.as_ref()?;
            let mut dirs = dirs.iter().filter(|_| ptr::eq(*export, self));
            dirs.find_map(|(at, dir)| (at == path).then(|| dir.clone()))
        })
    }

    /// Has the thread hold a directory, where it holds any.
    pub(super) fn keep(&self, path: &RelPath, dir: &Arc<OwnedFd>) {
        HELD.with_borrow_mut(|held| match held {
            Some((export, dirs)) if ptr::eq(*export, self) => {
                if dirs.len() == MOST {
                    dirs.remove(0);
                }
                dirs.push((path.clone(), dir.clone()));
            }
            _ => {}
        });
    }
}

/// Forgets what the thread holds: a path may lead elsewhere by now, or not be permitted any more.
pub(super) fn changed() {
    HELD.with_borrow_mut(|held| {
        if let Some((_, dirs)) = held {
            dirs.clear();
        }
    });
}
