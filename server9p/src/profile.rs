//! Whose behaviour the server and the mount take on.

use std::{fmt, str::FromStr};

/// Whose behaviour and mount options a stack has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// QEMU 8.1 as the VM runtime ships it, served by an ordinary user.
    Golem,
    /// QEMU as mended in 9.2: special files can be made.
    Qemu,
    /// All that the protocol allows.
    Posix,
}

impl Profile {
    /// Every profile, in the order that help texts list them.
    pub const ALL: [Profile; 3] = [Profile::Golem, Profile::Qemu, Profile::Posix];

    /// The name used on command lines and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Golem => "golem",
            Profile::Qemu => "qemu",
            Profile::Posix => "posix",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Profile::ALL
            .into_iter()
            .find(|p| p.name() == text)
            .ok_or_else(|| format!("there is no profile {text:?}; take golem, qemu or posix"))
    }
}
