//! The namespaces that a volume's agent lives in.
//!
//! A mount namespace, private, so that the mount is seen by nobody else and is gone with the last process in
//! it; a name of the host's of its own; a pid namespace, so that the end of its first process, however it comes, ends all others; and for an
//! ordinary user a user namespace, in which it is root and may do both. A range of subordinate ids gives that
//! one more users than root.

use std::{
    fs,
    io::{self, Read, Write},
    os::fd::AsFd,
    path::Path,
    process::Command,
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, User, fork, getegid, geteuid, pipe},
};
use serde::{Deserialize, Serialize};

/// Which namespaces to enter besides a private mount namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Users, for one who is not root.
    pub user: Option<Mapping>,
    /// Processes.
    pub pid: bool,
}

/// Whom a user namespace knows besides root, which is who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mapping {
    /// Nobody.
    RootOnly,
    /// As many as a range of subordinate ids holds, from 1 on: first uid, first gid, how many.
    Range(u32, u32, u32),
}

impl Namespaces {
    /// Those that the user of this process needs and can have.
    pub fn for_this_user() -> Namespaces {
        Namespaces {
            user: (!geteuid().is_root()).then(Mapping::for_this_user),
            pid: true,
        }
    }
}

impl Mapping {
    fn for_this_user() -> Mapping {
        let uid = geteuid();
        let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
        let names = [name.unwrap_or_default(), uid.to_string()];
        let range = |file: &str| subordinate(&fs::read_to_string(file).ok()?, &names);
        match (
            range("/etc/subuid"),
            range("/etc/subgid"),
            installed("newuidmap"),
        ) {
            (Some((uids, many_uids)), Some((gids, many_gids)), true) => {
                Mapping::Range(uids, gids, many_uids.min(many_gids))
            }
            _ => Mapping::RootOnly,
        }
    }
}

/// The range of one of these names in the text of /etc/subuid.
fn subordinate(text: &str, names: &[String]) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let first = fields.next()?.parse().ok()?;
        let many = fields.next()?.trim().parse().ok()?;
        names
            .iter()
            .any(|n| n == name && !n.is_empty())
            .then_some((first, many))
    })
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

/// Enters the namespaces. With a pid namespace the caller goes on as its first process, and the process that
/// called waits for that one's end and exits as it did. The process must have one thread.
///
/// # Errors
/// A sentence: what is not allowed here, and what allows it.
pub fn enter(wanted: &Namespaces) -> Result<(), String> {
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    if wanted.pid {
        flags |= CloneFlags::CLONE_NEWPID;
    }
    match &wanted.user {
        None => unshare(flags).map_err(|err| {
            format!(
                "{NO_MOUNTS} ({}): in a container, start it with CAP_SYS_ADMIN, or \
                 run probe9p as an ordinary user",
                err.desc()
            )
        })?,
        Some(mapping) => become_root(mapping, flags | CloneFlags::CLONE_NEWUSER)?,
    }
    if wanted.pid {
        become_first().map_err(|err| format!("no pid namespace can be entered here: {err}"))?;
    }
    make_private(wanted.pid)
}

fn become_root(mapping: &Mapping, flags: CloneFlags) -> Result<(), String> {
    let (uid, gid) = (geteuid(), getegid());
    let refused = |err: Errno| {
        format!(
            "{NO_USERS} for user {uid} ({}): run probe9p as root, or allow it with `sysctl \
             -w user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 \
             kernel.apparmor_restrict_unprivileged_userns=0` (those of them that exist)",
            err.desc()
        )
    };
    let failed = |err: io::Error| format!("the user namespace's users cannot be set: {err}");
    if let Mapping::Range(uids, gids, many) = mapping {
        // Only a process outside may map what is not its own user.
        let (go, gone) = pipe().map_err(|err| failed(err.into()))?;
        let inside = Pid::this();
        // SAFETY: this process has one thread.
        match unsafe { fork() }.map_err(|err| failed(err.into()))? {
            ForkResult::Child => {
                drop(gone);
                let mut word = [0];
                let mapped = fs::File::from(go).read_exact(&mut word).is_ok()
                    && map("newuidmap", inside, uid.as_raw(), *uids, *many)
                    && map("newgidmap", inside, gid.as_raw(), *gids, *many);
                // SAFETY: ends this process at once.
                unsafe { libc::_exit(i32::from(!mapped)) }
            }
            ForkResult::Parent { child } => {
                drop(go);
                unshare(flags).map_err(refused)?;
                fs::File::from(gone).write_all(b"g").map_err(failed)?;
                if let Ok(WaitStatus::Exited(_, 0)) = waitpid(child, None) {
                    return Ok(());
                }
            }
        }
    } else {
        unshare(flags).map_err(refused)?;
    }
    // One's own user can always be mapped, once groups cannot be dropped any more.
    fs::write("/proc/self/setgroups", "deny").map_err(failed)?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(failed)?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(failed)
}

fn map(program: &str, inside: Pid, root: u32, first: u32, many: u32) -> bool {
    let numbers = [0, root, 1, 1, first, many].map(|n: u32| n.to_string());
    Command::new(program)
        .arg(inside.to_string())
        .args(numbers)
        .status()
        .is_ok_and(|status| status.success())
}

fn become_first() -> io::Result<()> {
    let outside = rustix::process::pidfd_open(
        rustix::process::getpid(),
        rustix::process::PidfdFlags::empty(),
    )?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => wait_as_shell(child),
        ForkResult::Child => {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            let mut dead = [PollFd::new(outside.as_fd(), PollFlags::POLLIN)];
            // It may have died before the line above, which then says nothing.
            if poll(&mut dead, PollTimeout::ZERO)? > 0 {
                return Err(io::Error::other("the process that started this one died"));
            }
            Ok(())
        }
    }
}

/// Holds nothing open, so that whoever is at the other end of a link sees the end of the first process.
fn wait_as_shell(child: Pid) -> ! {
    // SAFETY: this process uses no descriptor from here on.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    let code = loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => break code,
            Ok(WaitStatus::Signaled(_, signal, _)) => break 128 + signal as i32,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => break 1,
        }
    };
    // SAFETY: ends this process at once; what was copied to the child is the child's to clean up.
    unsafe { libc::_exit(code) }
}

fn make_private(own_proc: bool) -> Result<(), String> {
    let none: Option<&Path> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|err| format!("the mounts cannot be made private: {}", err.desc()))?;
    if own_proc {
        // Without it /proc/self names nobody in a new pid namespace.
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("proc"), "/proc", Some("proc"), flags, none)
            .map_err(|err| format!("{NO_PROC} ({})", err.desc()))?;
    }
    Ok(())
}

/// How the sentence begins when only the pid namespace is what cannot be had: containers mask parts of /proc,
/// and the kernel then allows no other.
pub const NO_PROC: &str = "/proc cannot be mounted for a pid namespace";

/// How the sentence begins when root itself may make no namespaces: it has not all its capabilities.
pub const NO_MOUNTS: &str = "no mount namespace can be made here";

/// How the sentence begins when an ordinary user may make no user namespace.
pub const NO_USERS: &str = "no user namespace can be made here";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_subordinate_ids_is_ones_own() {
        let text = "root:1:2\nann:100000:65536\n1002:165536:65536\n";
        let of = |names: &[&str]| {
            subordinate(
                text,
                &names.iter().map(|s| s.to_string()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&["ann", "1000"]), Some((100_000, 65536)));
        assert_eq!(of(&["", "1002"]), Some((165_536, 65536)));
        assert_eq!(of(&["bob", "1003"]), None);
    }
}
