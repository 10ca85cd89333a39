//! What this machine has of the things that stacks and cases need, and what brings the missing ones.
//!
//! Each finding comes from a trial (opening /dev/fuse, entering a namespace), because what is installed is
//! often forbidden: in containers, under seccomp, for ordinary users.

mod probe;

use serde::Serialize;
use server9p::stack::server::Server;

pub use probe::find_program;

/// Whether something can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there and a trial of it worked.
    Ready,
    /// It is not there.
    Missing,
    /// It is there, but this user or this container may not use it.
    Forbidden,
}

/// One thing that was looked for.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Stable id, `fuse`.
    pub id: &'static str,
    /// What it is, in words.
    pub title: &'static str,
    /// What it is needed for.
    pub needed_for: &'static str,
    /// Whether it can be used.
    pub state: State,
    /// Where it was found and in which version, or what the trial said.
    pub detail: String,
    /// What makes it usable, when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Looks for everything, in the order of importance.
pub fn examine() -> Vec<Finding> {
    let mut found = vec![
        probe::fuse(),
        probe::fusermount(),
        probe::namespaces(),
        probe::uml(),
        probe::qemu(),
        probe::kvm(),
        probe::v9fs(),
        probe::guest_kernels(),
        probe::peer(Server::Diod, "server diod"),
        probe::peer(Server::Unpfs, "server unpfs"),
        probe::program(
            "strace",
            "the system call tracer",
            "evidence of failing calls",
            "strace",
        ),
        probe::tools(),
    ];
    found.insert(0, probe::auto(&found));
    found
}

/// The finding about /dev/fuse, which client fuse needs.
pub fn fuse() -> Finding {
    probe::fuse()
}
