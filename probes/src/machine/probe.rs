//! The trials, one function a thing.

use std::{
    env, fs, io,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::sched::{CloneFlags, unshare};
use server9p::stack::{Series, kernel, qemu, server::Server, uml};

use super::{Finding, State};
use crate::{
    runner::{auto, volume::Client},
    tools,
};

/// The one command that installs what Debian has.
const SETUP: &str = "scripts/setup";

/// Where a program is on PATH, if it is and may be executed.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| {
            fs::metadata(file)
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

/// The first line that a program prints when it is asked for its version.
fn version(program: &Path, option: &str) -> Option<String> {
    let output = Command::new(program)
        .arg(option)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .next()
        .map(str::to_owned)
        .filter(|line| !line.is_empty())
}

fn missing(id: &'static str, title: &'static str, needed_for: &'static str) -> Finding {
    Finding {
        id,
        title,
        needed_for,
        state: State::Missing,
        detail: "not found".into(),
        remedy: Some(SETUP.into()),
    }
}

/// A program of the Debian package `package` that is simply there or not.
pub fn program(
    name: &'static str,
    title: &'static str,
    needed_for: &'static str,
    package: &str,
) -> Finding {
    match find_program(name) {
        Some(path) => {
            let about = version(&path, "--version").unwrap_or_else(|| "version unknown".into());
            Finding {
                state: State::Ready,
                detail: format!("{} ({about})", path.display()),
                remedy: None,
                ..missing(name, title, needed_for)
            }
        }
        None => Finding {
            remedy: Some(format!("{SETUP}, or apt-get install {package}")),
            ..missing(name, title, needed_for)
        },
    }
}

/// Opens /dev/fuse for reading and writing, as a mount would.
pub fn fuse() -> Finding {
    let base = missing("fuse", "/dev/fuse", "client fuse");
    match fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Finding {
            state: State::Ready,
            detail: "/dev/fuse can be opened".into(),
            remedy: None,
            ..base
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding {
            detail: "/dev/fuse is not there".into(),
            remedy: Some(
                "modprobe fuse as root on the host; in a container, start it with --device /dev/fuse"
                    .into(),
            ),
            ..base
        },
        Err(error) => Finding {
            state: State::Forbidden,
            detail: format!("/dev/fuse cannot be opened ({error})"),
            remedy: Some(
                "chmod 666 /dev/fuse as root, or add this user to the group that owns it; \
                 in a container, start it with --device /dev/fuse"
                    .into(),
            ),
            ..base
        },
    }
}

/// Looks for the helper that lets an ordinary user mount in his own namespace.
pub fn fusermount() -> Finding {
    Finding {
        needed_for: "probe9p mount by an ordinary user",
        ..program(
            "fusermount3",
            "the set-uid mount helper of FUSE",
            "",
            "fuse3",
        )
    }
}

/// Enters a mount namespace, and a user namespace first unless this is root.
pub fn namespaces() -> Finding {
    let base = missing(
        "namespaces",
        "private mount namespaces",
        "client fuse: a mount that nothing can leave behind",
    );
    let root = nix::unistd::geteuid().is_root();
    let flags = if root {
        CloneFlags::CLONE_NEWNS
    } else {
        CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS
    };
    let mut trial = Command::new("/bin/true");
    trial.stdin(Stdio::null());
    // SAFETY: between fork and exec only unshare(2) is called, which is async-signal-safe.
    unsafe { trial.pre_exec(move || unshare(flags).map_err(io::Error::from)) };
    match trial.status() {
        Ok(_) => Finding {
            state: State::Ready,
            detail: if root {
                "as root"
            } else {
                "by a user namespace"
            }
            .into(),
            remedy: None,
            ..base
        },
        Err(error) => Finding {
            state: State::Forbidden,
            detail: format!("unshare(2) is refused ({error})"),
            remedy: Some(
                "sysctl -w kernel.unprivileged_userns_clone=1 as root \
                 (on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0); \
                 in a container, start it with --cap-add SYS_ADMIN"
                    .into(),
            ),
            ..base
        },
    }
}

/// Looks for user-mode Linux, of the series that the runtime ships and of the one it supports.
pub fn uml() -> Finding {
    let base = missing(
        "uml",
        "user-mode Linux",
        "client uml: the real v9fs without KVM or root",
    );
    let found = uml::kernels::all();
    let has = |series| found.iter().any(|kernel| kernel.is_of(series));
    kernels(
        base,
        found
            .iter()
            .map(|kernel| format!("{} ({})", kernel.release, kernel.binary.display())),
        has,
    )
}

/// Looks for kernels that QEMU guests can boot.
pub fn guest_kernels() -> Finding {
    let base = missing("guest-kernels", "kernels for QEMU guests", "client qemu");
    let found = qemu::kernels::all();
    let has = |series| found.iter().any(|kernel| kernel.is_of(series));
    kernels(base, found.iter().map(|kernel| kernel.release.clone()), has)
}

/// A finding about kernels: ready when there is any, with a remedy when one of the two series is not there.
fn kernels(
    base: Finding,
    names: impl Iterator<Item = String>,
    has: impl Fn(Series) -> bool,
) -> Finding {
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return base;
    }
    let absent: Vec<&str> = [Series::Linux5_10, Series::Linux6_1]
        .into_iter()
        .filter(|&series| !has(series))
        .map(Series::name)
        .collect();
    let lacks = match absent.as_slice() {
        [] => String::new(),
        absent => format!("; not of series {}", absent.join(", ")),
    };
    Finding {
        state: State::Ready,
        detail: names.join(", ") + &lacks,
        remedy: (!absent.is_empty()).then(|| SETUP.into()),
        ..base
    }
}

/// Looks for the programs of the recipes.
pub fn tools() -> Finding {
    let base = missing("tools", "the programs of the recipes", "run --tool NAME");
    let tools = match tools::list() {
        Ok(tools) => tools,
        Err(error) => {
            return Finding {
                state: State::Forbidden,
                detail: error.to_string(),
                ..base
            };
        }
    };
    let absent: Vec<&str> = tools
        .iter()
        .filter(|tool| tool.state.is_err())
        .map(|tool| tool.name.as_str())
        .collect();
    let (there, all) = (tools.len() - absent.len(), tools.len());
    Finding {
        state: State::Ready,
        detail: match absent.as_slice() {
            [] => format!("all {all}"),
            absent => format!("{there} of {all}; not here: {}", absent.join(", ")),
        },
        remedy: (!absent.is_empty()).then(|| format!("{SETUP} --tools {}", absent.join(","))),
        ..base
    }
}

/// Looks for QEMU's system emulator of this machine's architecture.
pub fn qemu() -> Finding {
    Finding {
        id: "qemu",
        ..program(
            "qemu-system-x86_64",
            "QEMU",
            "client qemu and server qemu, the reference",
            "qemu-system-x86",
        )
    }
}

/// Opens /dev/kvm. It may be there and hang all the same; only a guest that boots shows that it is good.
pub fn kvm() -> Finding {
    let base = missing("kvm", "/dev/kvm", "faster guests; without it QEMU emulates");
    match fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
    {
        Ok(_) => Finding {
            state: State::Ready,
            detail:
                "/dev/kvm can be opened; whether a guest boots with it shows when one is started"
                    .into(),
            remedy: None,
            ..base
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding {
            detail: "/dev/kvm is not there; guests run all the same, more slowly".into(),
            remedy: Some(
                "switch virtualisation on in the firmware, or nested virtualisation".into(),
            ),
            ..base
        },
        Err(error) => Finding {
            state: State::Forbidden,
            detail: format!("/dev/kvm cannot be opened ({error})"),
            remedy: Some("adduser $USER kvm as root".into()),
            ..base
        },
    }
}

/// Opens a context for a 9p mount, as a mount would.
pub fn v9fs() -> Finding {
    let base = missing("v9fs", "the host kernel's own 9p client", "client kernel");
    match kernel::available() {
        Ok(()) => Finding {
            state: State::Ready,
            detail: "this kernel mounts 9p".into(),
            remedy: None,
            ..base
        },
        Err(why) => {
            let why = why.to_string();
            let (what, remedy) = why.split_once(": ").unwrap_or((&why, ""));
            Finding {
                state: match what.starts_with(kernel::NOT_ALLOWED) {
                    true => State::Forbidden,
                    false => State::Missing,
                },
                detail: what.into(),
                remedy: (!remedy.is_empty()).then(|| remedy.into()),
                ..base
            }
        }
    }
}

/// A peer's server.
pub fn peer(server: Server, needed_for: &'static str) -> Finding {
    let base = missing(server.name(), "a peer's 9P server", needed_for);
    match server.available() {
        Ok(()) => Finding {
            state: State::Ready,
            detail: server.versions().remove("server").unwrap_or_default(),
            remedy: None,
            ..base
        },
        Err(why) => {
            let why = why.to_string();
            let (what, remedy) = why.split_once(": ").unwrap_or((&why, SETUP));
            Finding {
                detail: what.into(),
                remedy: Some(remedy.into()),
                ..base
            }
        }
    }
}

/// What `--client auto` takes, by what was found of each client: the first that is ready.
pub fn auto(found: &[Finding]) -> Finding {
    let base = missing("auto", "what --client auto takes", "a volume at all");
    let mut reasons = String::new();
    for client in auto::ORDER {
        let id = match client {
            Client::Kernel => "v9fs",
            Client::Uml => "uml",
            _ => "fuse",
        };
        let Some(finding) = found.iter().find(|finding| finding.id == id) else {
            continue;
        };
        if finding.state == State::Ready {
            return Finding {
                state: State::Ready,
                detail: format!("client {client}{reasons}"),
                remedy: None,
                ..base
            };
        }
        reasons.push_str(&format!("; not {client}: {}", finding.detail));
    }
    Finding {
        detail: format!("no client{reasons}"),
        ..base
    }
}
