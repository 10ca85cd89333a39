//! A generator of short sequences of file operations, applied to stacks side by side: where two stacks part, one of
//! them is wrong, whether or not anybody thought of a case.
//!
//! [`op`] is what an operation is, with its text; [`generate`] makes sequences, first every short one over a small
//! alphabet and then random ones; [`apply`] carries a sequence out and says what it saw; [`child`] does so in a process
//! in a stack's world; [`run`] compares the stacks; [`shrink`] makes a sequence on which they part as short as it gets;
//! [`script`] writes it as a program that anybody can run.
//!
//! # What is compared
//!
//! After each step: the value or errno that the operation returned (and the bytes and names that it read), and of each
//! open handle its mode, links, size and position. At the end, and in one random sequence of four after each step: the
//! names in every directory, type, mode, number of links, size and link target of each; at the end contents and user
//! xattrs too. Every beginning of an enumerated sequence is a sequence of its own, so there the end is each step.
//!
//! # What is not, and why
//!
//! These differences between a plain directory and a 9p volume under profile `posix` are legitimate, and are left out
//! for every stack by what [`op`] can express and [`apply`] looks at. No errno is ever left out.
//!
//! - Inode and device numbers, generation, `st_blocks`, `st_blksize`: the server's own.
//! - The size of a directory: the file system's own.
//! - Times that the clock gave: only those that an operation set are compared, in whole seconds, since v9fs has no
//!   finer ones.
//! - Owners: all runs as one user.
//! - The order of names in a directory.
//! - What 9P2000.L has no message for, so v9fs refuses it on every server: O_TMPFILE, the flags of renameat2,
//!   fallocate, shared mappings for writing with cache=none. The operation cases test these.

pub mod apply;
pub mod child;
pub mod generate;
pub mod op;
pub mod run;
pub mod script;
pub mod shrink;

pub use child::dispatch;
