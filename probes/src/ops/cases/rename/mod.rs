//! Renaming: over what is there, with the flags of renameat2, of directories, and while files are open.

mod directory;
mod file;
mod flags;
