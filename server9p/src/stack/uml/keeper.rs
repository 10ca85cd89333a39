//! The process that a UML guest lives under: `@uml`.
//!
//! It starts the kernel, is the host at the other end of its Ethernet, and is the one whose end is the
//! guest's: a UML kernel is many processes, of which some outlive a killed main one.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::{Command, ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::Signal,
        socket::{
            AddressFamily, SockFlag, SockType, setsockopt, socketpair,
            sockopt::{RcvBuf, SndBuf},
        },
    },
};
use serde::{Deserialize, Serialize};
use smoltcp::{
    iface::{Config, Interface, SocketSet},
    time::Instant,
    wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr},
};

use super::{
    relay::Relay,
    wire::{MTU, Wire},
};
use crate::stack::{
    agent::descendants,
    guard::{self, Guard},
    guest::{HOST, PORT_9P, PORT_AGENT},
    process::{describe, inherit},
};

/// The guest's hardware address, and ours; both of the range that is nobody's.
const GUEST_MAC: &str = "02:00:00:00:00:02";
const OUR_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

/// Without what a kernel of Debian's measures and makes when it boots and nobody uses here: RAID checksums,
/// compressed swap, 256 old-style terminals. It takes most of the time.
const QUICKLY: [&str; 2] = [
    "initcall_blacklist=raid6_select_algo,init_zswap",
    "pty.legacy_count=0",
];

/// What the keeper is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeeperConfig {
    /// Inherited descriptor of the agent's link, a stream socket.
    pub link: RawFd,
    /// Inherited descriptor of the 9P server's stream socket.
    pub server: RawFd,
    /// How to be sure that nothing is left.
    pub guard: Guard,
    /// The kernel.
    pub kernel: PathBuf,
    /// The guest's first process: this program, as the guest's root has it.
    pub init: PathBuf,
    /// The guest's memory, in MiB.
    pub memory: u32,
    /// The file of its block device, if it has one.
    pub disk: Option<PathBuf>,
    /// Where the kernel may keep its files.
    pub directory: PathBuf,
}

/// Is the keeper process.
pub fn main(config: KeeperConfig) -> ExitCode {
    match keep(&config) {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("the guest's kernel {}{}", describe(status), panic_line());
            ExitCode::FAILURE
        }
        Err(err) => {
            eprintln!("the guest cannot be kept: {err}");
            ExitCode::FAILURE
        }
    }
}

fn keep(config: &KeeperConfig) -> io::Result<ExitStatus> {
    // SAFETY: both descriptors were inherited for this process to own, and are taken only here.
    let (link, server) = unsafe {
        (
            OwnedFd::from_raw_fd(config.link),
            OwnedFd::from_raw_fd(config.server),
        )
    };
    for fd in [&link, &server] {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
    }
    let parent = guard::enter(&config.guard).map_err(io::Error::other)?;
    prctl::set_child_subreaper(true)?;

    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
    )?;
    for end in [&ours, &theirs] {
        // As large as this user may have it.
        setsockopt(end, SndBuf, &(4 << 20))?;
        setsockopt(end, RcvBuf, &(4 << 20))?;
    }
    let mut kernel = start(config, theirs)?;
    let pid = rustix::process::Pid::from_child(&kernel);
    let ended = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let relayed = relay(ours, link.into(), server.into(), &ended, parent.as_ref());
    // However that came to its end: the guest's does not wait for anything.
    let _ = kernel.kill();
    let status = kernel.wait()?;
    descendants::kill_all(
        Duration::from_secs(3),
        |_, _| {},
        || {
            let _ = poll(&mut [], 5u8);
        },
    );
    relayed.map(|()| status)
}

fn start(config: &KeeperConfig, wire: OwnedFd) -> io::Result<std::process::Child> {
    let wire_option = format!(
        "vec0:transport=fd,fd={},mac={GUEST_MAC},mtu={MTU},depth=64",
        wire.as_raw_fd()
    );
    // In 5.10, hostfs takes the name of a file that an overlay opens to begin with the bytes of the
    // overlay's own data, which begins with its number of layers, two; so it looks for "\x02/etc/passwd".
    let wrong_root = config.directory.join("\u{2}");
    if !wrong_root.exists() {
        std::os::unix::fs::symlink("/", wrong_root)?;
    }
    let mut command = Command::new(&config.kernel);
    command
        .arg(format!("mem={}M", config.memory))
        .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
        .arg(format!("init={}", config.init.display()))
        .arg(format!("uml_dir={}/", config.directory.display()))
        .args(["con=null", "con0=null,fd:1", "ssl=null"])
        .args(["panic=-1", "quiet"])
        .args(QUICKLY)
        .args(
            config
                .disk
                .iter()
                .map(|disk| format!("ubd0={}", disk.display())),
        )
        .arg(wire_option)
        // What follows is for init.
        .args(["--", "@guest", "{}"])
        .env_clear()
        .current_dir(&config.directory)
        .stdin(Stdio::null())
        .stdout(io::stderr().as_fd().try_clone_to_owned()?)
        .stderr(io::stderr().as_fd().try_clone_to_owned()?);
    inherit(&mut command, &[wire.as_fd()], false);
    // SAFETY: system calls that are safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            // A panic aborts the kernel's process, and nobody reads its core.
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
        });
    }
    command.spawn()
}

/// Is the host on the guest's Ethernet until the guest, the link, or whoever keeps this process ends.
fn relay(
    wire: OwnedFd,
    link: UnixStream,
    server: UnixStream,
    kernel: &OwnedFd,
    parent: Option<&OwnedFd>,
) -> io::Result<()> {
    let mut wire = Wire::new(wire);
    let began = std::time::Instant::now();
    let now = || Instant::from_micros(began.elapsed().as_micros() as i64);
    let config = Config::new(HardwareAddress::Ethernet(OUR_MAC));
    let mut interface = Interface::new(config, &mut wire, now());
    interface.update_ip_addrs(|addresses| {
        // The list has room for more than one.
        let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(HOST), 24));
    });
    let mut sockets = SocketSet::new(Vec::new());
    let mut relays = Vec::new();
    for (stream, port) in [(link, PORT_AGENT), (server, PORT_9P)] {
        let (relay, socket) = Relay::new(stream, port)?;
        relays.push((relay, sockets.add(socket)));
    }
    loop {
        let mut moved = true;
        while moved {
            interface.poll(now(), &mut wire, &mut sockets);
            moved = false;
            for (relay, handle) in &mut relays {
                moved |= relay.pump(sockets.get_mut(*handle));
            }
        }
        let timeout = match interface.poll_delay(now(), &sockets) {
            // Something is to be sent and cannot be: there will be room.
            Some(_) if wire.is_full() => PollTimeout::NONE,
            Some(delay) => {
                PollTimeout::try_from(Duration::from(delay) + Duration::from_micros(999))
                    .unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        let wire_flags = match wire.is_full() {
            true => PollFlags::POLLIN | PollFlags::POLLOUT,
            false => PollFlags::POLLIN,
        };
        let mut fds = vec![
            PollFd::new(wire.socket(), wire_flags),
            PollFd::new(kernel.as_fd(), PollFlags::POLLIN),
        ];
        for (relay, handle) in &relays {
            let (stream, flags) = relay.interest(sockets.get(*handle));
            // Without interest too: its end is told all the same.
            if relay.is_watched() {
                fds.push(PollFd::new(stream, flags));
            }
        }
        fds.extend(parent.map(|parent| PollFd::new(parent.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(err) => return Err(err.into()),
        }
        let seen: Vec<PollFlags> = fds
            .iter()
            .map(|fd| fd.revents().unwrap_or(PollFlags::empty()))
            .collect();
        let gone = |seen: &PollFlags| !seen.is_empty();
        if gone(&seen[1]) || parent.is_some() && seen.last().is_some_and(gone) {
            return Ok(());
        }
        // The link's other end is closed: whoever gave the orders is gone.
        let hung_up = PollFlags::POLLHUP | PollFlags::POLLERR;
        if relays[0].0.is_watched() && seen[2].intersects(hung_up) {
            return Ok(());
        }
        if seen[0].contains(PollFlags::POLLIN) {
            wire.frames_came();
        }
        if seen[0].contains(PollFlags::POLLOUT) {
            wire.room_came();
        }
        let watched = relays.iter_mut().filter(|(relay, _)| relay.is_watched());
        for ((relay, _), seen) in watched.zip(&seen[2..]) {
            relay.ready(*seen);
        }
    }
}

/// What the kernel said when it panicked, from the log that it shares with this process.
fn panic_line() -> String {
    let log = rustix::io::dup(io::stderr().as_fd()).map(File::from);
    let text = log
        .as_ref()
        .map(crate::stack::process::tail)
        .unwrap_or_default();
    let line = text.lines().find(|line| line.contains("Kernel panic"));
    line.map_or(String::new(), |line| format!(" ({})", line.trim()))
}
