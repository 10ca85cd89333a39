//! Throughput of a volume, workload by workload, against a plain directory on the same host file system.
//!
//! [`workload`] says what is measured, [`work`] is the timed loop, which runs in a child process ([`child`]) in
//! the volume's world; [`measure`] has native and volume take turns, so that what else the machine does falls
//! on both alike, and makes one sample of each turn. [`fio`] has fio do the work instead. [`warning`] says what makes the figures doubtful.

pub mod child;
pub mod fio;
pub mod host_cache;
pub mod measure;
pub mod warning;
pub mod work;
pub mod workload;

pub use child::dispatch;
pub use measure::{About, Options, Place, Work, measure};
pub use workload::{Workload, WorkloadError};
