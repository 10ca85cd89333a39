//! `--client auto`: the most faithful client that this machine can run without being asked for anything.
//!
//! What a machine seems to have often does not work after all (a container that forbids what a guest's kernel
//! needs), so each is tried in turn, and whoever asked is told in one line which was taken and why.

use server9p::stack::StackError;

use super::volume::{Client, Mount, Server, Wanted};

/// The clients in the order of their faithfulness. A QEMU guest is the reference, but not for asking nothing: where
/// it is emulated it takes many times longer.
pub const ORDER: [Client; 3] = [Client::Kernel, Client::Uml, Client::Fuse];

impl Wanted {
    /// Mounts with the first client that can; it becomes this one's client. Says which and why.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] with every client's reason.
    pub(super) fn mount_auto(&mut self) -> Result<(Mount, String), StackError> {
        let order = match self.server {
            // It serves nobody but its own guest.
            Server::Qemu => &[Client::Qemu][..],
            _ => &ORDER,
        };
        let mut reasons = Vec::new();
        for &client in order {
            let wanted = Wanted {
                client,
                ..self.clone()
            };
            match wanted.mount(self.server.source(), self.cache) {
                Ok(mount) => {
                    self.client = client;
                    return Ok((mount, choice(client, &reasons)));
                }
                Err(StackError::Cancelled) => return Err(StackError::Cancelled),
                Err(why) => reasons.push((client, why.to_string())),
            }
        }
        let reasons: Vec<String> = reasons
            .into_iter()
            .map(|(client, why)| format!("{client}: {why}"))
            .collect();
        Err(StackError::Unavailable(format!(
            "no client can bring the volume up here; {}",
            reasons.join("; ")
        )))
    }
}

/// One line: the client that was taken, and why not those before it, without the remedies, which `doctor` has.
fn choice(client: Client, reasons: &[(Client, String)]) -> String {
    let what = match client {
        Client::Kernel => "this host's own v9fs",
        Client::Uml => "the real v9fs, in a user-mode Linux",
        Client::Qemu => "the only one that server qemu serves",
        Client::Fuse | Client::Auto => "which behaves as v9fs",
    };
    let mut line = format!("client {client}, {what}");
    for (client, why) in reasons {
        let why = why.split(": ").next().unwrap_or(why).replace('\n', " ");
        line.push_str(&format!("; not {client}: {why}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_one_line_with_the_reasons_of_those_before_it() {
        assert_eq!(
            choice(Client::Kernel, &[]),
            "client kernel, this host's own v9fs"
        );
        let reasons = [
            (
                Client::Kernel,
                "Linux 6.1 has no 9p: `modprobe 9p`".to_owned(),
            ),
            (Client::Uml, "it is not installed: apt".to_owned()),
        ];
        assert_eq!(
            choice(Client::Fuse, &reasons),
            "client fuse, which behaves as v9fs; not kernel: Linux 6.1 has no 9p; not uml: it is not installed"
        );
    }
}
