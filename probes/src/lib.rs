//! The cases that probe9p runs, what runs them, and what explains their failures.

pub mod bench;
pub mod case;
pub mod catalogue;
pub mod exec;
pub mod explain;
pub mod fuzz;
pub mod machine;
pub mod ops;
pub mod runner;
pub mod strace;
pub mod tools;
