//! Serving a directory until told to stop: listeners, the user to serve as, and signals.

mod args;
mod listen;
mod run_as;

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

pub use args::ServeArgs;
pub use listen::{Listen, ListenError};
pub use run_as::{RunAs, RunAsError};

use crate::{
    export::{Export, ExportError},
    profile::Profile,
    session::{self, Counters, Limits, Shared, Trace, TraceError},
    stack::process::receive_fd,
};
use listen::{Bound, Incoming};

/// How long requests in progress keep an ending process. A hung disk must not keep it for ever.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// What to serve, to whom, and how.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The directory.
    pub dir: PathBuf,
    /// Where to wait for clients; at least one place.
    pub listen: Vec<Listen>,
    /// Whose behaviour to take on.
    pub profile: Profile,
    /// The user to serve as; when absent and started by root, the directory's owner or nobody.
    pub run_as: Option<RunAs>,
    /// Refuse every change with EROFS.
    pub read_only: bool,
    /// A file for one JSON line a message.
    pub trace: Option<PathBuf>,
    /// Bounds on what clients can make the server hold.
    pub limits: Limits,
    /// See [`Export::blocks_for`].
    pub blocks_for: u32,
    /// Counts every frame, for whoever shares these counters.
    pub counters: Option<Counters>,
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A place to listen at cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The user cannot be taken on.
    #[error(transparent)]
    RunAs(#[from] RunAsError),
    /// The directory cannot be served.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The trace cannot be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The process could not get what it needs from the kernel.
    #[error(
        "the server cannot run: {0}; close other programs or raise the limits of this user (ulimit -n, -u)"
    )]
    Resources(#[from] io::Error),
}

/// Serves until SIGINT or SIGTERM, or until the last inherited connection is closed. Prints one line
/// `listening on PLACE` on standard output for each place, once clients can connect.
///
/// Must be called before the process has other threads, since it may change the process's user.
///
/// # Errors
/// See [`ServeError`]. Nothing is left behind: sockets that were made are removed.
pub fn serve(options: ServeOptions) -> Result<(), ServeError> {
    let user = RunAs::choose(options.run_as, &options.dir)?;
    let bound = options
        .listen
        .iter()
        .map(|place| Bound::new(place, user))
        .collect::<Result<Vec<_>, _>>()?;
    let trace = options.trace.as_deref().map(Trace::create).transpose()?;
    // Whoever drops to another user may no longer remove the sockets: a parent stays behind for that.
    if user.is_some() && bound.iter().any(Bound::needs_removal) && !run_as::split()? {
        return Ok(());
    }
    run(user, &options, trace, |shared| accept(bound, shared))
}

/// Serves one connection until its other end closes it, or until `life` does: whoever holds that end keeps the
/// server alive. Further connections may come over `life`, a socket, one descriptor a byte; they end with the first. The
/// process becomes `run_as` first, after the trace was opened.
///
/// Must be called before the process has other threads, since it may change the process's user.
///
/// # Errors
/// See [`ServeError`].
pub fn serve_connection(
    options: ServeOptions,
    stream: OwnedFd,
    life: OwnedFd,
) -> Result<(), ServeError> {
    let trace = options.trace.as_deref().map(Trace::create).transpose()?;
    run(options.run_as, &options, trace, |shared| async move {
        let (tell, mut more) = mpsc::unbounded_channel();
        // It ends with the life line or the process, and hands over nothing when nobody listens any more.
        thread::spawn(
            move || while receive_fd(&life).is_some_and(|stream| tell.send(stream).is_ok()) {},
        );
        let first = serve_one(stream, shared.clone());
        tokio::pin!(first);
        loop {
            tokio::select! {
                () = &mut first => return Ok(()),
                further = more.recv() => match further {
                    Some(stream) => drop(tokio::spawn(serve_one(stream, shared.clone()))),
                    None => return Ok(()),
                },
            }
        }
    })
}

/// Becomes the user, exports the directory, and serves it as `serve` does until that ends.
fn run<F>(
    user: Option<RunAs>,
    options: &ServeOptions,
    trace: Option<Trace>,
    serve: impl FnOnce(Arc<Shared>) -> F,
) -> Result<(), ServeError>
where
    F: Future<Output = io::Result<()>>,
{
    if let Some(user) = user {
        user.become_it()?;
    }
    // Fids may hold a descriptor each; QEMU, which has to live within the soft limit, closes and reopens instead.
    let _ = raise_descriptor_limit();
    let export = Export::open(&options.dir, options.profile, options.read_only)?
        .blocks_for(options.blocks_for);
    let shared = Shared::counted(
        export,
        options.limits.clone(),
        trace,
        options.counters.clone(),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(shared))?;
    runtime.shutdown_timeout(SHUTDOWN);
    Ok(())
}

/// Allows this process as many descriptors as it may have.
fn raise_descriptor_limit() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}

async fn accept(bound: Vec<Bound>, shared: Arc<Shared>) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut places = JoinSet::new();
    let connections = Arc::new(Semaphore::new(shared.limits().connections));
    let mut removals = Vec::new();
    for place in bound {
        let name = place.name();
        let (incoming, removal) = place.start()?;
        removals.push(removal);
        places.spawn(serve_place(incoming, shared.clone(), connections.clone()));
        // Nobody may read it; the server serves all the same.
        let _ = writeln!(io::stdout(), "listening on {name}").and_then(|()| io::stdout().flush());
    }
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            ended = places.join_next() => if ended.is_none() { return Ok(()) },
        }
    }
}

async fn serve_place(mut incoming: Incoming, shared: Arc<Shared>, connections: Arc<Semaphore>) {
    let mut sessions = JoinSet::new();
    loop {
        let stream = match incoming.next().await {
            Ok(Some(stream)) => stream,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Most likely descriptors ran out; the next try is worth more once a session has ended.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = connections.clone().try_acquire_owned() else {
            let most = shared.limits().connections;
            tracing::warn!(
                most,
                "a connection was closed: there are as many as --max-connections allows"
            );
            continue;
        };
        let shared = shared.clone();
        sessions.spawn(async move {
            serve_one(stream, shared).await;
            drop(permit);
        });
        while sessions.try_join_next().is_some() {}
    }
    while sessions.join_next().await.is_some() {}
}

async fn serve_one(stream: OwnedFd, shared: Arc<Shared>) {
    if let Err(error) = session::serve(stream, shared).await {
        tracing::warn!(%error, "a connection was closed");
    }
}
