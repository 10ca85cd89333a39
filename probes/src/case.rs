//! A case as the runner sees it, whether its work is a few system calls or a real program.
//!
//! Every case runs in a child process of its own, in a fresh directory of its own:
//! `PROGRAM <child_args…> --side native|volume --dir DIR`. The child prints one JSON line, its
//! [`results::Observation`], as the last line of its standard output. A child that finds that this machine
//! lacks what the case needs prints an observation with outcome `not_run` and the reason.

use std::{ffi::OsString, str::FromStr, time::Duration};

use results::CaseKind;
use serde::{Deserialize, Deserializer, de};
use server9p::stack::{Cache, local::Local};

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
    /// The volume to run it on instead, when the change is that.
    pub other: Option<Other>,
}

/// Another volume than the one under test, of the same client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Other {
    /// The same, mounted with this cache mode.
    Cache(Cache),
    /// One that no 9P server takes part in.
    Local(Local),
}

impl FromStr for Other {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ram" => Ok(Other::Local(Local::Ram)),
            "storage" => Ok(Other::Local(Local::Storage)),
            _ => match text.strip_prefix("cache=") {
                Some(cache) => cache.parse().map(Other::Cache),
                None => Err(format!(
                    "there is no other volume {text:?}; take ram, storage or cache=MODE"
                )),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Other {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Other {
    /// The remedy that it is to take this volume.
    pub fn remedy(self) -> PlannedRemedy {
        let (id, title) = match self {
            Other::Cache(cache) => (
                format!("cache-{cache}"),
                format!("mount with cache={cache}, where the mount options are yours to choose"),
            ),
            Other::Local(Local::Ram) => (
                "ram".to_owned(),
                "keep these files on a ram volume, or another tmpfs".to_owned(),
            ),
            Other::Local(Local::Storage) => (
                "storage".to_owned(),
                "keep these files on a storage volume, or another local file system".to_owned(),
            ),
        };
        PlannedRemedy {
            id,
            title,
            child_args: Vec::new(),
            other: Some(self),
        }
    }
}
