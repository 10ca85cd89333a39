//! The root file system that commands see.
//!
//! The VM runtime lays a small tmpfs over the image, and that tmpfs's mode is the root's: 0700, so that only
//! root can reach anything. Here the image is the host's own root, read-only. A guest takes that root as its
//! own; on the host an agent does, in a mount namespace that nobody else is in.

use std::{
    env, fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{chdir, chroot},
};
use serde::{Deserialize, Serialize};

use super::mounts::{self, Mount};
use crate::profile::Profile;

/// What lies over the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Mode of `/`.
    pub mode: u32,
    /// Size of what can be written, as tmpfs's `size=` takes it.
    pub size: String,
    /// Whether there is more that the VM runtime does: a `/tmp` beside it, and only its own names of hosts.
    pub runtime: bool,
}

/// What the runtime's init writes, to an image whose own file is empty, as those of containers are.
const HOSTS: &str = "127.0.0.1\tlocalhost
::1\tip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";
/// Likewise; nobody answers there.
const NAMESERVERS: &str = "nameserver 1.1.1.1\nnameserver 8.8.8.8\n";

impl Root {
    /// The one that goes with a profile.
    pub fn of(profile: Profile) -> Root {
        match profile {
            Profile::Golem => Root::of_runtime(),
            Profile::Qemu | Profile::Posix => Root::ordinary(),
        }
    }

    /// As the VM runtime has it (`runtime/init-container/src/init.c`).
    pub fn of_runtime() -> Root {
        Root {
            mode: 0o700,
            size: "128M".into(),
            runtime: true,
        }
    }

    /// As an ordinary system has it.
    pub fn ordinary() -> Root {
        Root {
            mode: 0o755,
            size: "50%".into(),
            runtime: false,
        }
    }
}

/// A file that stands for what an image holds: in the directory on which the volume is mounted, which hides it, and
/// in the root.
pub const IMAGE_FILE: &str = "of-the-image";

/// Puts that file into a directory.
///
/// # Errors
/// A sentence that names it.
pub fn put_image_content(directory: &Path) -> Result<(), String> {
    let path = directory.join(IMAGE_FILE);
    fs::write(&path, "This file is part of the image.\n").map_err(step(&path))
}

const NONE: Option<&str> = None;

/// Mounts a file system without a device.
///
/// # Errors
/// A sentence that names it.
pub(super) fn make(what: &str, point: &str, fs_type: &str, options: &str) -> Result<(), String> {
    mount(
        Some(what),
        point,
        Some(fs_type),
        MsFlags::empty(),
        Some(options),
    )
    .map_err(|err| format!("{what} cannot be mounted at {point}: {}", err.desc()))
}

fn step(what: impl AsRef<Path>) -> impl FnOnce(io::Error) -> String {
    move |err| {
        format!(
            "the root that commands see: {}: {err}",
            what.as_ref().display()
        )
    }
}

impl Root {
    /// Lays it over a guest's present root and makes it the root.
    ///
    /// # Errors
    /// A sentence that names the step.
    pub fn enter(&self) -> Result<(), String> {
        // Any directory that every system has: what it holds stays reachable through the overlay, whose lower
        // layer is the root's own file system and nothing that is mounted on it.
        let root = self.lay("/tmp")?;
        for point in ["/proc", "/sys", "/dev"] {
            let to = format!("{root}{point}");
            mount(Some(point), to.as_str(), NONE, MsFlags::MS_MOVE, NONE)
                .map_err(|err| step(format!("moving {point}"))(err.into()))?;
        }
        if self.runtime {
            seen_tmp("/tmp", &root)?;
        }
        take(&root)?;
        if let Some(text) =
            accounts_in_place_of(&fs::read(SHADOW), fs::read_to_string("/etc/passwd"))
        {
            // Programs that need no account do without.
            let _ = fs::remove_file(SHADOW).and_then(|()| fs::write(SHADOW, text));
            let _ = fs::set_permissions(SHADOW, PermissionsExt::from_mode(0o640));
        }
        if self.runtime {
            self.name_hosts("", "/tmp")?;
            put_image_content(Path::new("/"))?;
            forget_environment();
        }
        Ok(())
    }

    /// Lays it over the host's root, for this process and those that it starts: the process must be alone in its
    /// mount namespace. What is mounted elsewhere in the tree stays there, and so does `run`, a directory of the
    /// run; `staging` is an empty directory. The host's own `/tmp` can be seen, since it may hold what commands
    /// need, but not changed. In a user namespace, whose root could not change them anyway, the directories of the
    /// root are the host's.
    ///
    /// # Errors
    /// A sentence that names the step. The root is then what it was.
    pub fn enter_on_host(&self, staging: &Path, run: &Path) -> Result<(), String> {
        let entered = self.lay_on_host(staging, run).and_then(|root| take(&root));
        if entered.is_err() {
            // With all that was mounted in it.
            let _ = umount2(staging, MntFlags::MNT_DETACH);
            let _ = chdir("/");
        } else if self.runtime {
            // Not everywhere allowed, and then the host's name is only one more that has no address.
            let _ = rustix::system::sethostname(b"(none)");
            forget_environment();
        }
        entered
    }

    fn lay_on_host(&self, staging: &Path, run: &Path) -> Result<String, String> {
        let staging = staging.to_str().ok_or("the run's directory is not UTF-8")?;
        let mounted = outermost(mounts::all());
        let root = match self.lay(staging) {
            Ok(root) => {
                for point in mounted.iter().filter(|point| !is_own(point)) {
                    // Where this user may not go, commands could not go before either.
                    let _ = bind(point, &root, TREE);
                }
                root
            }
            // A user namespace's root may not look below what the host mounted on directories of its root, and an
            // overlay would show it that.
            Err(_) => self.bind_all(staging)?,
        };
        for point in ["/proc", "/sys", "/dev"].map(Path::new) {
            bind(point, &root, TREE)?;
        }
        self.private_tmp(staging, &root)?;
        let to = PathBuf::from(format!("{root}{}", run.display()));
        fs::create_dir_all(&to).map_err(step(&to))?;
        bind(run, &root, MsFlags::MS_BIND)?;
        if self.runtime {
            self.name_hosts(&root, staging)?;
            put_image_content(Path::new(&root))?;
        }
        Ok(root)
    }

    /// A root below the tmpfs at `at` in which every directory of the present one is as it is.
    fn bind_all(&self, at: &str) -> Result<String, String> {
        let root = format!("{at}/root");
        fs::set_permissions(&root, PermissionsExt::from_mode(self.mode)).map_err(step(&root))?;
        mount(
            Some(root.as_str()),
            root.as_str(),
            NONE,
            MsFlags::MS_BIND,
            NONE,
        )
        .map_err(|err| step(&root)(err.into()))?;
        for entry in fs::read_dir("/").map_err(step("/"))? {
            let from = entry.map_err(step("/"))?.path();
            let to = PathBuf::from(format!("{root}{}", from.display()));
            let Ok(data) = fs::symlink_metadata(&from) else {
                continue;
            };
            if data.is_symlink() {
                let leads = fs::read_link(&from).map_err(step(&from))?;
                symlink(leads, &to).map_err(step(&to))?;
            } else if data.is_dir() {
                fs::create_dir(&to).map_err(step(&to))?;
                if !is_own(&from) {
                    let _ = bind(&from, &root, TREE);
                }
            }
        }
        Ok(root)
    }

    /// Gives the root a `/tmp` of its own, over what the host's holds.
    fn private_tmp(&self, staging: &str, root: &str) -> Result<(), String> {
        let own = format!("{staging}/tmp");
        fs::create_dir(&own).map_err(step(&own))?;
        make("tmpfs", &own, "tmpfs", "mode=0700")?;
        overlay("/tmp", &own, 0o777, &format!("{root}/tmp"))
            .or_else(|_| bind(Path::new("/tmp"), root, TREE))
    }

    /// Makes the file systems that the root is of, below the directory `at`; returns where it is.
    fn lay(&self, at: &str) -> Result<String, String> {
        let options = format!("mode={:04o},size={}", self.mode, self.size);
        overlaid(at, &options, self.mode)
    }

    /// Writes what the runtime's init writes of hosts, below `root`; `spare` is a directory for files to bind
    /// where this user may not replace the root's.
    fn name_hosts(&self, root: &str, spare: &str) -> Result<(), String> {
        for (file, text) in [("hosts", HOSTS), ("resolv.conf", NAMESERVERS)] {
            let path = format!("{root}/etc/{file}");
            // A symbolic link to what the host's network manager writes, on many systems.
            if fs::remove_file(&path)
                .and_then(|()| fs::write(&path, text))
                .is_ok()
            {
                continue;
            }
            let own = format!("{spare}/{file}");
            fs::write(&own, text).map_err(step(&own))?;
            if Path::new(&path).exists() {
                mount(
                    Some(own.as_str()),
                    path.as_str(),
                    NONE,
                    MsFlags::MS_BIND,
                    NONE,
                )
                .map_err(|err| step(&path)(err.into()))?;
            }
        }
        Ok(())
    }
}

/// A directory with its submounts.
const TREE: MsFlags = MsFlags::MS_BIND.union(MsFlags::MS_REC);

/// Shows a directory at the same path below `root`.
fn bind(directory: &Path, root: &str, flags: MsFlags) -> Result<(), String> {
    let to = format!("{root}{}", directory.display());
    mount(Some(directory), to.as_str(), NONE, flags, NONE)
        .map_err(|err| step(format!("binding {}", directory.display()))(err.into()))
}

/// Whether a root gets that directory by itself.
fn is_own(point: &Path) -> bool {
    ["/proc", "/sys", "/dev", "/tmp"]
        .iter()
        .any(|own| point == Path::new(own))
}

/// An overlay of the present root, whose layer of that mode is in a tmpfs at `at` with those options; returns where it is.
fn overlaid(at: &str, options: &str, mode: u32) -> Result<String, String> {
    make("tmpfs", at, "tmpfs", options)?;
    let root = format!("{at}/root");
    fs::create_dir(&root).map_err(step(&root))?;
    overlay("/", at, mode, &root)?;
    Ok(root)
}

/// An overlay at `point` of `lower` under a layer of that mode in the directory `at`.
fn overlay(lower: &str, at: &str, mode: u32, point: &str) -> Result<(), String> {
    for (name, mode) in [("upper", mode), ("work", 0o700)] {
        let path = format!("{at}/{name}");
        fs::create_dir(&path).map_err(step(&path))?;
        // Whatever the umask is.
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).map_err(step(&path))?;
    }
    // Relative to here, as a path with a comma or a colon in it would end the option.
    chdir(at).map_err(|err| step(at)(err.into()))?;
    let layers = format!("lowerdir={lower},upperdir=upper,workdir=work");
    make("overlay", point, "overlay", &layers)
}

/// Gives the root `/tmp` a tmpfs of its own over what the host's holds, since a command may be there. It is the `/tmp`
/// of a second overlay of the whole root: hostfs on 5.10 takes a file's path in the overlay for its path on the host.
fn seen_tmp(staging: &str, root: &str) -> Result<(), String> {
    let own = format!("{staging}/own");
    fs::create_dir(&own).map_err(step(&own))?;
    let whole = overlaid(&own, "mode=0700", 0o755)?;
    let (from, to) = (format!("{whole}/tmp"), format!("{root}/tmp"));
    fs::set_permissions(&from, PermissionsExt::from_mode(0o777)).map_err(step(&from))?;
    mount(
        Some(from.as_str()),
        to.as_str(),
        NONE,
        MsFlags::MS_BIND,
        NONE,
    )
    .map_err(|err| step(&to)(err.into()))
}

/// Makes the directory `root`, which something is mounted on, this process's root.
fn take(root: &str) -> Result<(), String> {
    chdir(root).map_err(|err| step("entering")(err.into()))?;
    mount(Some("."), "/", NONE, MsFlags::MS_MOVE, NONE)
        .map_err(|err| step("moving")(err.into()))?;
    chroot(".").map_err(|err| step("chroot")(err.into()))?;
    chdir("/").map_err(|err| step("entering /")(err.into()))
}

/// Mount points outside of the root's own file system, without those that lie below another.
fn outermost(all: Vec<Mount>) -> Vec<PathBuf> {
    let mut points: Vec<PathBuf> = all.into_iter().map(|mount| mount.point).collect();
    points.sort();
    points.dedup();
    let mut outer: Vec<PathBuf> = Vec::new();
    for point in points {
        if point != Path::new("/") && !outer.iter().any(|above| point.starts_with(above)) {
            outer.push(point);
        }
    }
    outer
}

/// Where passwords are, which root alone may read.
const SHADOW: &str = "/etc/shadow";

/// What a guest's root is to find in that file, when it may not read the host's: an ordinary user serves or runs the guest,
/// and to sshd, cron and su every account would be one that is locked. All of the accounts, without any password, as
/// images of containers have it.
fn accounts_in_place_of(
    shadow: &io::Result<Vec<u8>>,
    accounts: io::Result<String>,
) -> Option<String> {
    let refused = |err: &io::Error| err.kind() == io::ErrorKind::PermissionDenied;
    shadow.as_ref().err().filter(|err| refused(err))?;
    let accounts = accounts.ok()?;
    let names = accounts
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| format!("{name}:*:19000:0:99999:7:::\n"));
    Some(names.collect())
}

/// The runtime starts commands with the variables that their image names, and here is no image that names any.
fn forget_environment() {
    for (name, _) in env::vars_os() {
        // SAFETY: those who change their root have one thread.
        unsafe { env::remove_var(name) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_stand_for_passwords_that_a_guest_may_not_read() {
        let accounts =
            || Ok("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n".into());
        let refused = Err(io::Error::from(io::ErrorKind::PermissionDenied));
        let text = accounts_in_place_of(&refused, accounts()).unwrap();
        assert_eq!(
            text,
            "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n"
        );
        // The host's own is never replaced where it can be read, and none is made where there is none.
        assert_eq!(accounts_in_place_of(&Ok(Vec::new()), accounts()), None);
        let absent = Err(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(accounts_in_place_of(&absent, accounts()), None);
    }

    #[test]
    fn a_mount_is_taken_along_with_what_is_mounted_below_it() {
        let mount = |point: &str| Mount {
            point: point.into(),
            minor: 0,
            fs_type: String::new(),
            source: String::new(),
            options: String::new(),
        };
        let all = [
            "/home/ann",
            "/",
            "/dev/shm",
            "/dev",
            "/home/ann/x",
            "/devices",
            "/dev",
        ];
        let outer = outermost(all.map(mount).into());
        assert_eq!(outer, ["/dev", "/devices", "/home/ann"].map(PathBuf::from));
    }
}
