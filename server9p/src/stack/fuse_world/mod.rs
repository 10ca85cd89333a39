//! The volume of the embedded client: our 9P server, and our FUSE client in namespaces of its own.
//!
//! Three processes beside the orchestrator: the server, which drops to an ordinary user; the agent, first
//! process of a private mount namespace and a pid namespace, which runs the commands; and the FUSE daemon, the
//! agent's child, which speaks to the server over a socket pair. They hold on to each other by descriptors
//! alone: when the orchestrator dies, the agent's link and the server's life line close; when the agent
//! dies, its pid namespace dies; when the daemon dies, the server's connection ends. So whichever is killed,
//! nothing is left but directories, which the next run removes.

pub mod ground;
mod way;

use std::{
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use self::{ground::FuseMount, way::Way};
use super::{
    StackError, World,
    agent::process::{AgentConfig, Volume},
    fuse::MountBy,
    live::Live,
    mounts,
    path::{PathWorld, start_agent},
    server::{Server, why_not},
    volume::{Client, Place, Source},
};

/// How long the volume may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Mounts with FUSE, behaving as v9fs.
#[derive(Debug, Clone, Copy, Default)]
pub struct FuseClient;

impl Client for FuseClient {
    fn bring_up(&self, place: &Place) -> Result<Live, StackError> {
        first_way(|way| bring_up_by(way, place))
    }

    fn on_host(&self) -> bool {
        true
    }

    /// The host's root, for the same users.
    fn ordinary(&self, place: &Place) -> Result<Option<Arc<dyn World>>, StackError> {
        let world = first_way(|way| PathWorld::within(&place.native, way.namespaces()))?;
        Ok(Some(Arc::new(world)))
    }

    /// A mount that everybody sees stays when its agent was killed; of others nothing is left.
    fn clean_up(&self, place: &Place) {
        unmount_left(&place.mountpoint);
    }
}

/// What comes of the first way that leads somewhere.
fn first_way<T>(by: impl Fn(&Way) -> Result<T, StackError>) -> Result<T, StackError> {
    let mut first = None;
    for way in Way::all()? {
        match by(&way) {
            Err(why) if way.gives_way(&why) => first = first.or(Some(why)),
            Err(why) => return Err(first.unwrap_or(why)),
            Ok(up) => return Ok(up),
        }
    }
    Err(first.expect("without a way there was an error before"))
}

fn bring_up_by(way: &Way, place: &Place) -> Result<Live, StackError> {
    unmount_left(&place.mountpoint);
    if let Source::Local(local) = place.source {
        return local.bring_up("fuse", way.namespaces(), place);
    }
    let server = place.source.server("fuse")?;
    let (client_end, served) = place.start(server)?;
    let options = &place.options;
    let root = place.host_root(way.namespaces().as_ref())?;
    let config = |link: &UnixStream| {
        let mount = FuseMount {
            socket: client_end.as_raw_fd(),
            mountpoint: place.mountpoint.clone(),
            aname: server.aname(&place.export),
            series: options.series,
            cache: options.cache,
            msize: options.msize,
            // The server refuses changes where that is asked for; v9fs knows nothing of it.
            read_only: false,
            by: way.by(),
            // Others need `user_allow_other` in /etc/fuse.conf, which is not there by default.
            owner_only: way.by() == MountBy::Fusermount,
            shares_memory: server == Server::Own,
        };
        AgentConfig {
            root: root.clone(),
            ..AgentConfig::new(link.as_fd(), way.namespaces(), Volume::Fuse(mount))
        }
    };
    match start_agent(config, &[client_end.as_fd()], PATIENCE) {
        Ok((link, agent)) => Ok(Live::new(link, agent, served, false)),
        Err(err) => {
            drop(client_end);
            Err(why_not(served, err))
        }
    }
}

fn unmount_left(mountpoint: &Path) {
    if mounts::at(mountpoint).is_some() {
        ground::unmount(mountpoint, MountBy::Fusermount);
    }
}
