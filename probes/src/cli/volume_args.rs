//! The options that say what volume to bring up, which `run`, `exec` and `bench` share.

use std::path::PathBuf;

use clap::Args;
use probes::runner::volume::{Client, Server, Volume, Wanted};
use server9p::{
    profile::Profile,
    stack::{Cache, StackError, kernels::KernelWanted},
};

use super::values::RunAs;

/// Options that say what volume to bring up.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The volume")]
pub struct VolumeArgs {
    /// What mounts the volume; auto takes the most faithful that this machine can run
    #[arg(long, value_enum, default_value_t = Client::Auto)]
    client: Client,
    /// What serves the volume
    #[arg(long, value_enum, default_value_t = Server::Server9p)]
    server: Server,
    /// Whose behaviour and options the volume has: golem, qemu or posix
    #[arg(long, default_value_t = Profile::Golem)]
    profile: Profile,
    /// How the client caches: none, readahead, mmap, loose or fscache
    #[arg(long, default_value_t = Cache::None)]
    cache: Cache,
    /// The client's kernel: 5.10, 6.1, or the path of one: for uml its program, for qemu boot/vmlinuz-RELEASE, for
    /// both the directory that has it and its modules [default: 5.10 under golem, else 6.1]
    #[arg(long, value_name = "SERIES|PATH")]
    kernel: Option<KernelWanted>,
    /// QEMU's program, when not the one on PATH
    #[arg(long, value_name = "FILE")]
    qemu: Option<PathBuf>,
    /// Whom the server runs as when root starts it [default: nobody]
    #[arg(long, value_name = "UID[:GID]")]
    run_as: Option<RunAs>,
}

impl VolumeArgs {
    /// The volume that they ask for.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            client: self.client,
            server: self.server,
            profile: self.profile,
            cache: self.cache,
            msize: None,
            kernel: self.kernel.clone(),
            run_as: self.run_as.map(RunAs::pair),
            qemu: self.qemu.clone(),
            path: None,
            trace: None,
            keep: false,
        }
    }
}

/// Brings a volume up, and says which client was taken where that was left open.
///
/// # Errors
/// Those of [`Wanted::bring_up`].
pub fn bring_up(wanted: &mut Wanted) -> Result<Volume, StackError> {
    let up = wanted.bring_up()?;
    say_choice(&up);
    Ok(up)
}

/// Says which client was taken where that was left open.
pub fn say_choice(up: &Volume) {
    if let Some(choice) = &up.choice {
        eprintln!("probe9p: {choice}");
    }
}
