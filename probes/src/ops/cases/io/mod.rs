//! Reading and writing: plain, with flags, without waiting, and inside the kernel.

mod aio;
mod allocate;
mod copy;
mod flags;
mod limits;
mod truncate;
mod uring;
mod write;
