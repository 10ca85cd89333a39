//! Stacks by name, `client/server/profile`, as reports and listings write them.

use std::{fmt, str::FromStr};

use clap::ValueEnum as _;
use server9p::{profile::Profile, stack::Cache};

use super::volume::{Client, Server, Wanted};

/// A stack's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackName {
    /// What mounts the volume.
    pub client: Client,
    /// What serves it.
    pub server: Server,
    /// Whose behaviour it has.
    pub profile: Profile,
}

impl StackName {
    /// The volume of this name, with nothing cached and all else as it is by default.
    pub fn wanted(self) -> Wanted {
        Wanted {
            client: self.client,
            server: self.server,
            profile: self.profile,
            cache: Cache::None,
            msize: None,
            kernel: None,
            run_as: None,
            qemu: None,
            path: None,
            trace: None,
            keep: false,
        }
    }
}

impl fmt::Display for StackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.client, self.server, self.profile)
    }
}

impl FromStr for StackName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let &[client, server, profile] = parts.as_slice() else {
            return Err(format!(
                "{text:?} is no stack; write client/server/profile, such as uml/server9p/golem \
                 (`probe9p list stacks` shows all)"
            ));
        };
        let client = match Client::from_str(client, false) {
            Ok(Client::Auto) => {
                return Err(
                    "a comparison needs a certain client; take fuse, uml, qemu or kernel".into(),
                );
            }
            Ok(client) => client,
            Err(_) => {
                return Err(format!(
                    "there is no client {client:?}; take fuse, uml, qemu or kernel"
                ));
            }
        };
        let server = Server::from_str(server, false).map_err(|_| {
            format!(
                "there is no server {server:?}; take server9p, diod, unpfs, qemu, ram or storage"
            )
        })?;
        Ok(StackName {
            client,
            server,
            profile: profile.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_stacks_are_read_as_they_are_written() {
        for name in ["qemu/qemu/golem", "uml/server9p/qemu", "fuse/diod/posix"] {
            assert_eq!(name.parse::<StackName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn what_is_no_stack_is_refused_with_what_would_be() {
        for (text, said) in [
            ("fuse", "write client/server/profile"),
            ("fuse/server9p/golem/x", "write client/server/profile"),
            ("auto/server9p/golem", "needs a certain client"),
            ("fuze/server9p/golem", "there is no client \"fuze\""),
            ("fuse/nfs/golem", "there is no server \"nfs\""),
            ("fuse/server9p/gollum", "gollum"),
        ] {
            let error = text.parse::<StackName>().unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
