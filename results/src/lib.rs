//! What a run of probe9p found: the versioned schema of its results, the rules by which two observations
//! become a verdict, and the reports that are made of them.
//!
//! Everything here is a pure function of data: nothing in this crate touches a mount, a process or the clock.

pub mod comparison;
pub mod diff;
pub mod event;
pub mod fidelity;
pub mod forms;
pub mod matrix;
pub mod merge;
pub mod pages;
pub mod read;
pub mod report;
pub mod reporter;
pub mod schema;
pub mod site;
pub mod stats;
pub mod verdict;

mod integrity;
mod schema_json;
mod text;

pub use diff::{DIFF_SCHEMA_VERSION, Diff, DiffFormat};
pub use event::{Event, RunStarted};
pub use fidelity::{FIDELITY_SCHEMA_VERSION, Fidelity};
pub use forms::{Form, MatrixFile, badges};
pub use matrix::Matrix;
pub use merge::{MergeError, merge};
pub use read::ReadError;
pub use report::{OutOfOrder, ReportBuilder};
pub use reporter::{Format, Look, Reporter};
pub use schema::*;
pub use schema_json::{diff_json_schema, fidelity_json_schema, json_schema};
pub use site::{Background, CauseWords, Site};
pub use verdict::{FailOn, judge, representative, with_remedies};
