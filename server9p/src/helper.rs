//! The processes that this program starts of itself.
//!
//! A volume needs more processes than the one that the user started: a server, an agent in the volume's
//! namespaces, a FUSE daemon. They are the same program, started again with a first argument that begins
//! with `@`; [`dispatch`] runs them. Both programs call it before anything else, so that a helper has one
//! thread and nothing of the program's own around it.

use std::{ffi::OsString, process::ExitCode, sync::OnceLock};

use serde::de::DeserializeOwned;

use crate::stack::{
    agent, fuse, guest, qemu,
    server::{ServeConfig, peer},
    uml, visible,
};

/// What a program does when it is started with arguments that are a command of its own; `None` for others.
pub type OwnCommands = fn(&[OsString]) -> Option<ExitCode>;

static OWN_COMMANDS: OnceLock<OwnCommands> = OnceLock::new();

/// Names the commands that worlds run with [`crate::stack::SELF`]. A process of a world forks for such a
/// command and calls `run` in the child, instead of starting the program anew: in a user-mode Linux that
/// is what most of a short command's time would go to. `run` finds one thread, its arguments in its parameter
/// alone, and nothing open but the three standard descriptors. Only the first call counts; to be called before
/// [`dispatch`].
pub fn own_commands(run: OwnCommands) {
    let _ = OWN_COMMANDS.set(run);
}

/// Runs the command of our own that `args` name, if the program told of any.
pub(crate) fn run_own(args: &[OsString]) -> Option<ExitCode> {
    OWN_COMMANDS.get().and_then(|run| run(args))
}

/// Runs the helper that `args` (without the program's name) asks for, and says how it ended; `None` when
/// `args` asks for no helper of this library.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let config = args.get(1)?.to_str()?;
    match args.first()?.to_str()? {
        "@agent" => Some(run(config, agent::process::main)),
        "@fuse" => Some(run(config, fuse::helper::main)),
        "@serve" => Some(run(config, ServeConfig::serve)),
        "@unmount" => Some(run(config, visible::watch)),
        "@guest" => Some(guest::main()),
        "@guest-virtio" => Some(guest::virtio::main()),
        "@peer" => Some(run(config, peer::main)),
        "@qemu" => Some(run(config, qemu::keeper::main)),
        "@uml" => Some(run(config, uml::keeper::main)),
        _ => None,
    }
}

fn run<C: DeserializeOwned>(config: &str, main: impl FnOnce(C) -> ExitCode) -> ExitCode {
    match serde_json::from_str(config) {
        Ok(config) => main(config),
        Err(err) => {
            eprintln!("a helper process of probe9p got a configuration that it cannot read: {err}");
            ExitCode::FAILURE
        }
    }
}
