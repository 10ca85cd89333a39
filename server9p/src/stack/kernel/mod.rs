//! The volume of this host's own 9p client: our server at one end of a socket pair, `mount -t 9p -o trans=fd` at
//! the other.
//!
//! It takes root, and a kernel with 9p. As for FUSE the mount is in a private mount namespace, whose first process
//! is the agent, so nothing is left of it however that ends. A mount can wait for its server without end and
//! without minding signals; what frees it is the end of the connection, of which the agent keeps the client's
//! end for that purpose.

pub mod ground;

use std::{
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::Errno,
    mount::{FsOpenFlags, fsopen},
};

use self::ground::KernelMount;
use super::{
    StackError, World,
    agent::process::{AgentConfig, Volume},
    kernels::{KernelWanted, is_of},
    live::Live,
    namespaces::{NO_PROC, Namespaces},
    path::{PathWorld, start_agent},
    server::why_not,
    v9fs,
    volume::{Client, Place, Source},
};

/// How long the volume may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the sentence begins when the kernel has 9p and this user may not mount it.
pub const NOT_ALLOWED: &str = "only root may mount 9p";

/// Mounts with the kernel that this process runs on.
#[derive(Debug, Clone, Copy)]
pub struct KernelClient(());

impl KernelClient {
    /// # Errors
    /// [`StackError::Unavailable`] when this kernel cannot mount 9p, this user may not, or it is not the kernel
    /// that is `wanted`.
    pub fn new(wanted: Option<&KernelWanted>) -> Result<KernelClient, StackError> {
        available()?;
        let release = v9fs::release();
        match wanted {
            None => {}
            Some(KernelWanted::Series(series)) if is_of(&release, *series) => {}
            Some(KernelWanted::Series(series)) => {
                return Err(StackError::Unavailable(format!(
                    "client kernel is this host's own, which is Linux {release} and not {series}: leave --kernel \
                     out, or take client uml or qemu"
                )));
            }
            Some(wanted @ KernelWanted::At(_)) => {
                wanted.series("kernel")?;
            }
        }
        Ok(KernelClient(()))
    }
}

/// Whether this kernel has 9p and this user may mount it: a context for such a mount is opened, for which the
/// kernel loads the module, and closed again.
///
/// # Errors
/// [`StackError::Unavailable`]: which of the two it is, and what to do.
pub fn available() -> Result<(), StackError> {
    let why = match fsopen("9p", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => return Ok(()),
        Err(Errno::PERM) => format!(
            "{NOT_ALLOWED}, and not in a container without CAP_SYS_ADMIN: run probe9p as root, or take client uml \
             or fuse"
        ),
        Err(Errno::NODEV) => format!(
            "{}: `modprobe 9p` as root where it is a module, or take client uml or fuse",
            v9fs::no_9p()
        ),
        Err(err) => format!("this kernel does not let 9p be mounted: {err}"),
    };
    Err(StackError::Unavailable(why))
}

impl Client for KernelClient {
    fn bring_up(&self, place: &Place) -> Result<Live, StackError> {
        in_namespaces(|namespaces| bring_up_in(namespaces, place))
    }

    fn on_host(&self) -> bool {
        true
    }

    /// The host's root, for the same users.
    fn ordinary(&self, place: &Place) -> Result<Option<Arc<dyn World>>, StackError> {
        let world =
            in_namespaces(|namespaces| PathWorld::within(&place.native, Some(namespaces.clone())))?;
        Ok(Some(Arc::new(world)))
    }
}

/// With a pid namespace where there can be one: containers mask parts of /proc, and the kernel then allows no other.
fn in_namespaces<T>(run: impl Fn(&Namespaces) -> Result<T, StackError>) -> Result<T, StackError> {
    let all = Namespaces {
        user: None,
        pid: true,
    };
    match run(&all) {
        Err(StackError::Unavailable(why)) if why.starts_with(NO_PROC) => {
            run(&Namespaces { pid: false, ..all })
        }
        other => other,
    }
}

fn bring_up_in(namespaces: &Namespaces, place: &Place) -> Result<Live, StackError> {
    if let Source::Local(local) = place.source {
        return local.bring_up("kernel", Some(namespaces.clone()), place);
    }
    let server = place.source.server("kernel")?;
    let root = place.host_root(Some(namespaces))?;
    let (connection, served) = place.start(server)?;
    let config = |link: &UnixStream| {
        let mount = KernelMount {
            connection: connection.as_raw_fd(),
            mountpoint: place.mountpoint.clone(),
            options: place.v9fs_options("trans=fd", server),
        };
        AgentConfig {
            root: root.clone(),
            ..AgentConfig::new(
                link.as_fd(),
                Some(namespaces.clone()),
                Volume::Kernel(mount),
            )
        }
    };
    match start_agent(config, &[connection.as_fd()], PATIENCE) {
        Ok((link, agent)) => Ok(Live::new(link, agent, served, false)),
        Err(err) => {
            // An agent that waits in mount(2) goes on when nobody holds the connection.
            let _ = connection.shutdown(std::net::Shutdown::Both);
            drop(connection);
            Err(why_not(served, err))
        }
    }
}
