//! What a run of probe9p found: the versioned schema of its results, the rules by which two observations
//! become a verdict, and the reports that are made of them.
//!
//! Everything here is a pure function of data: nothing in this crate touches a mount, a process or the clock.

pub mod schema;
pub mod verdict;

pub use schema::*;
