//! The FUSE mount, used as programs use it: every test mounts a served directory and goes through the kernel.
//!
//! Each mount is served by processes of its own, so that a test that fails or hangs leaves a mount that can be
//! ended. Where FUSE cannot be had the tests say so and are skipped.

mod coherence;
mod guest;
mod io;
mod leaks;
mod locks;
mod mappings;
mod model;
mod mounted;
mod names;
mod refusals;
mod round_trips;
