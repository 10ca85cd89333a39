//! What an operation case is: one definition, from which the listing, the JSON and the matrix row derive.
//!
//! A family's file submits each case beside the function that does its work:
//!
//! ```text
//! submit!(
//!     Case::new("link.nlink", "a hard link adds one to st_nlink", nlink)
//!         .source("POSIX link()")
//!         .needed_by(&["git", "rsync -H"])
//! );
//!
//! fn nlink(_: &mut Ctx) -> CaseOutcome {
//!     write("a", b"one")?;
//!     link("a", "b")?;
//!     expect("link", "st_nlink of a", stat("a")?.st_nlink, 2)
//! }
//! ```

use std::{collections::BTreeMap, fmt::Display, path::PathBuf, time::Duration};

use clap::ValueEnum;
use serde::Serialize;
use server9p::stack::local::Local;

use super::{needs::Need, stop::CaseOutcome};

/// One thing tried with a few system calls.
pub struct Case {
    /// Stable dotted id; what is before the dot is its family.
    pub id: &'static str,
    /// What a program relies on, in one line.
    pub title: &'static str,
    /// The POSIX clause, man page, kernel file or public issue that says what must happen.
    pub source: &'static str,
    /// Programs known to need it.
    pub needed_by: &'static [&'static str],
    /// Without these the case says nothing and is not run.
    pub needs: &'static [Need],
    /// What may make it work when it does not.
    pub remedies: &'static [Remedy],
    /// A shell script that the image's ENTRYPOINT would be, run first under ordinary conditions.
    pub entrypoint: Option<&'static str>,
    /// How long one run may take.
    pub limit: Duration,
    /// Whether it must have the machine to itself, because it uses much memory or disk.
    pub alone: bool,
    /// Does the work, in the fresh directory as working directory.
    pub run: fn(&mut Ctx) -> CaseOutcome,
}

inventory::collect!(Case);

/// A change under which a failing case may work.
#[derive(Debug, Clone, Copy)]
pub struct Remedy {
    /// Stable id, `chmod-root`.
    pub id: &'static str,
    /// The change, as one would do it.
    pub title: &'static str,
    /// Whether the case's function itself makes the change, asked by [`Ctx::remedy`].
    pub by_case: bool,
    /// The kind of volume to take instead, when the change is that.
    pub instead: Option<Local>,
}

impl Remedy {
    /// A change that the case's function makes.
    pub const fn by_case(id: &'static str, title: &'static str) -> Self {
        Remedy {
            id,
            title,
            by_case: true,
            instead: None,
        }
    }

    /// The same on a ram volume.
    pub const fn on_ram(mut self) -> Self {
        self.instead = Some(Local::Ram);
        self
    }

    /// The same on a storage volume.
    pub const fn on_storage(mut self) -> Self {
        self.instead = Some(Local::Storage);
        self
    }
}

impl Case {
    /// A case without needs that may take a minute.
    pub const fn new(
        id: &'static str,
        title: &'static str,
        run: fn(&mut Ctx) -> CaseOutcome,
    ) -> Self {
        Case {
            id,
            title,
            source: "",
            needed_by: &[],
            needs: &[],
            remedies: &[],
            entrypoint: None,
            limit: Duration::from_secs(60),
            alone: false,
            run,
        }
    }

    /// Where it is said what must happen.
    pub const fn source(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    /// Programs known to need it.
    pub const fn needed_by(mut self, programs: &'static [&'static str]) -> Self {
        self.needed_by = programs;
        self
    }

    /// What the machine must have.
    pub const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    /// What to try when it fails, besides what its cause says.
    pub const fn remedies(mut self, remedies: &'static [Remedy]) -> Self {
        self.remedies = remedies;
        self
    }

    /// What an entry point would have done first.
    pub const fn entrypoint(mut self, script: &'static str) -> Self {
        self.entrypoint = Some(script);
        self
    }

    /// A longer limit, for what moves much data or many names.
    pub const fn limit_secs(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// It must have the machine to itself.
    pub const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// What is before the dot.
    pub fn family(&self) -> &'static str {
        self.id
            .split_once('.')
            .map_or(self.id, |(family, _)| family)
    }
}

/// Which of the two places a child runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// A plain local directory.
    Native,
    /// The 9p volume.
    Volume,
}

/// What a case's function is given: where it runs, and where it puts what it finds.
pub struct Ctx {
    /// The case's fresh directory, absolute; it is the working directory too.
    pub dir: PathBuf,
    /// Which side this is. Cases do the same on both; this is for what they say.
    pub side: Side,
    remedy: Option<String>,
    facts: BTreeMap<String, String>,
}

impl Ctx {
    pub(super) fn new(dir: PathBuf, side: Side, remedy: Option<String>) -> Self {
        Ctx {
            dir,
            side,
            remedy,
            facts: BTreeMap::new(),
        }
    }

    /// The id of the remedy that is being tried, when the case makes it itself.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// Records a fact that must equal the native one: never an inode number, an owner or a time of day.
    pub fn fact(&mut self, name: &str, value: impl Display) {
        self.facts.insert(name.to_owned(), value.to_string());
    }

    /// Records a guarantee, without which a program still works, but worse: a difference means `degraded`.
    pub fn guarantee(&mut self, name: &str, value: impl Display) {
        self.facts
            .insert(format!("guarantee.{name}"), value.to_string());
    }

    pub(super) fn into_facts(self) -> BTreeMap<String, String> {
        self.facts
    }
}
