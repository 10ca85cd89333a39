//! A case as the runner sees it, whether its work is a few system calls or a real program.
//!
//! Every case runs in a child process of its own, in a fresh directory of its own:
//! `PROGRAM <child_args…> --side native|volume --dir DIR`. The child prints one JSON line, its
//! [`results::Observation`], as the last line of its standard output. A child that finds that this machine
//! lacks what the case needs prints an observation with outcome `not_run` and the reason.

use std::{ffi::OsString, time::Duration};

use results::CaseKind;
use server9p::stack::Cache;

/// A case that was selected to run.
#[derive(Debug, Clone)]
pub struct PlannedCase {
    /// Stable dotted id.
    pub id: String,
    /// Operation or tool.
    pub kind: CaseKind,
    /// What a program relies on, in one line.
    pub title: String,
    /// How long one run may take.
    pub limit: Duration,
    /// Arguments that make our own program run this case, without the side and the directory.
    pub child_args: Vec<OsString>,
    /// True when it must have the machine to itself: it measures time, or uses much memory or disk.
    pub alone: bool,
    /// Changes to try when it fails on the volume only.
    pub remedies: Vec<PlannedRemedy>,
}

/// A change under which a failing case is run again.
#[derive(Debug, Clone)]
pub struct PlannedRemedy {
    /// Stable id, `journal-mode-delete`.
    pub id: String,
    /// The change, as one would do it.
    pub title: String,
    /// Arguments added to the case's own.
    pub child_args: Vec<OsString>,
    /// The cache mode that the volume must be mounted with instead, when the change is that.
    pub cache: Option<Cache>,
}
