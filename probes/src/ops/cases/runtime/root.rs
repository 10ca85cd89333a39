//! The root file system, and the directory that a volume is mounted on.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use server9p::stack::root::IMAGE_FILE;

use super::super::prelude::*;
use crate::ops::case::{Remedy, Side};

submit!(
    Case::new(
        "runtime.root_permissions",
        "a process of another user reads and runs what the modes of files allow it",
        root_permissions
    )
    .source("golemfactory/ya-runtime-vm runtime/init-container/src/init.c: the root's tmpfs has mode=0700")
    .needed_by(&[
        "nginx and other servers whose workers drop root (404 for every file)",
        "postgres and mysqld, which refuse to run as root",
        "apt (its user _apt), sshd, sudo -u, cron jobs of users"
    ])
    .needs(&[Need::Runtime, Need::SecondUser])
    .remedies(&[Remedy::by_case("chmod-root", "run `chmod +x /` first, as root")])
    .alone()
);

fn root_permissions(ctx: &mut Ctx) -> CaseOutcome {
    let _opened = match ctx.remedy() {
        Some(_) => Some(OpenRoot::new(ctx.side)?),
        None => None,
    };
    as_user(OTHER, || {
        let users = fs::read("/etc/passwd").call("open", "/etc/passwd, O_RDONLY")?;
        ensure("open", !users.is_empty(), "/etc/passwd is empty")?;
        let ran = Command::new("/bin/sh").args(["-c", "exit 7"]).status();
        let code = ran.call("execve", "/bin/sh")?.code();
        expect("execve", "the exit code of /bin/sh", code, Some(7))
    })
}

/// The root directory while everybody may pass it; of a guest's or a namespace's own root only.
struct OpenRoot(Option<fs::Permissions>);

impl OpenRoot {
    fn new(side: Side) -> CaseOutcome<Self> {
        if side == Side::Native {
            return Ok(OpenRoot(None));
        }
        let was = fs::metadata("/").call("stat", "/")?.permissions();
        let open = fs::Permissions::from_mode(was.mode() | 0o111);
        fs::set_permissions("/", open).call("chmod", "/, +x")?;
        Ok(OpenRoot(Some(was)))
    }
}

impl Drop for OpenRoot {
    fn drop(&mut self) {
        if let Some(was) = self.0.take() {
            // Other cases find the root as the runtime has it.
            let _ = fs::set_permissions("/", was);
        }
    }
}

submit!(
    Case::new(
        "runtime.volume_hides_image_content",
        "what an image holds in a directory is there when the program starts",
        volume_hides_image_content
    )
    .source("mount(2): what a directory held is hidden while something is mounted on it; volumes of ya-runtime-vm start empty")
    .needed_by(&[
        "images with defaults in a VOLUME directory (/var/lib/mysql, /var/www/html)",
        "docker run, which copies them to a new volume"
    ])
    .needs(&[Need::Runtime])
    .remedies(&[Remedy::by_case(
        "copy-in",
        "keep the content elsewhere in the image, and copy it to the volume first (cp -a)"
    )])
    .alone()
);

fn volume_hides_image_content(ctx: &mut Ctx) -> CaseOutcome {
    let seen = format!("../{IMAGE_FILE}");
    let elsewhere = Path::new("/").join(IMAGE_FILE);
    let copied = ctx.remedy().is_some() && elsewhere.exists();
    if copied {
        fs::copy(&elsewhere, &seen).call("copy_file_range", elsewhere.display())?;
    }
    let held = fs::read(&seen).call("open", format_args!("{IMAGE_FILE}, which the image holds"));
    if copied {
        // The directory is the volume's own, where later cases run.
        fs::remove_file(&seen).call("unlink", &seen)?;
    }
    ensure(
        "open",
        !held?.is_empty(),
        format_args!("{IMAGE_FILE} is empty"),
    )
}

/// More than the runtime's root has room for, in bytes.
const MUCH: usize = 144 << 20;

submit!(
    Case::new(
        "runtime.small_root",
        "the root file system takes 144 MiB more",
        small_root
    )
    .source("golemfactory/ya-runtime-vm runtime/init-container/src/init.c: the root's tmpfs has size=128M")
    .needed_by(&[
        "apt, pip, npm install into the image",
        "compilers' and models' caches in the home directory",
        "programs that put large temporary files in /var/tmp"
    ])
    .needs(&[Need::Runtime])
    .remedies(&[
        Remedy::by_case("on-the-volume", "put large data on the volume"),
        Remedy::by_case("on-ram", "put large data on a ram volume").on_ram(),
        Remedy::by_case("on-storage", "put large data on a storage volume").on_storage(),
    ])
    .alone()
);

fn small_root(ctx: &mut Ctx) -> CaseOutcome {
    let place = match ctx.remedy() {
        Some(_) => ".".to_owned(),
        None => root_directory()?,
    };
    let name = format!("{place}/probe9p-{}", std::process::id());
    let mut file = fs::File::create_new(&name).call("open", &name)?;
    // Without a name nothing is left of it, whatever happens to this process.
    fs::remove_file(&name).call("unlink", &name)?;
    // As programs do that make sure of their room first; it is at once told that there is not enough.
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, MUCH as u64) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        made => {
            return made.call("fallocate", format_args!("a file in {place}, {MUCH} bytes"));
        }
    }
    let chunk = vec![b'.'; 1 << 20];
    for _ in 0..MUCH / chunk.len() {
        file.write_all(&chunk)
            .call("write", format_args!("a file in {place}"))?;
    }
    Ok(())
}

/// A directory on the root file system that this user may write to.
fn root_directory() -> CaseOutcome<String> {
    let root = stat("/")?.st_dev;
    let writable = |dir: &&&str| {
        let name = format!("{dir}/probe9p-{}-try", std::process::id());
        let made = fs::File::create_new(&name).is_ok();
        let _ = fs::remove_file(&name);
        made
    };
    let places = ["/var/tmp", "/root", ""];
    let of_root = places
        .iter()
        .filter(|dir| rustix::fs::stat(format!("{dir}/")).is_ok_and(|stat| stat.st_dev == root));
    of_root
        .chain(&places)
        .find(writable)
        .map(|dir| (*dir).to_owned())
        .ok_or_else(|| {
            Stop::NotRun(
                "needs a directory of the root file system that this user may write to".into(),
            )
        })
}
