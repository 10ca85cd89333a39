//! Debian's diod: a server in C. It listens on a socket and serves on when a connection ends, so it lives under a keeper
//! ([`super::peer`]).

use std::{ffi::OsString, fs::File, io, path::Path, process::Command};

use super::{Site, Started, peer};
use crate::stack::{StackError, process};

/// Whether it is here.
///
/// # Errors
/// [`StackError::Unavailable`] with what brings it.
pub(super) fn available() -> Result<(), StackError> {
    match process::on_path(program()) {
        Some(_) => Ok(()),
        None => Err(StackError::Unavailable(
            "the 9P server diod is not installed: `apt install diod` brings it".into(),
        )),
    }
}

/// Whether it can serve files of this directory's file system.
///
/// # Errors
/// [`StackError::Unavailable`] where files have another device number than their directory, as on an overlay of several
/// file systems: diod takes them for mount points, looks for their `..`, and answers ENOTDIR (`_statmnt` of its ops.c).
pub(super) fn can_serve(export: &Path) -> Result<(), StackError> {
    let file = export.join("probe9p-device");
    let device = |path: &Path| rustix::fs::lstat(path).map(|stat| stat.st_dev);
    let apart = File::create_new(&file).is_ok_and(|_| device(&file) != device(export));
    let _ = std::fs::remove_file(&file);
    match apart {
        false => Ok(()),
        true => Err(StackError::Unavailable(format!(
            "diod cannot serve {}: the file system there, an overlay, gives files another device number than their \
             directory, so diod takes each for a mount point and answers ENOTDIR; set TMPDIR to a directory of another \
             file system, such as a tmpfs",
            export.display()
        ))),
    }
}

/// Started by root it acts as the user of each request, which is how its package sets it up.
pub(super) fn start(site: &Site) -> io::Result<Started> {
    let directory = peer::directory(site, "diod", None)?;
    let socket = directory.join("socket");
    let mut arguments: Vec<OsString> = [
        ["--foreground", "--no-auth", "--nwthreads", "8"],
        ["--config-file", "/dev/null", "--logdest", "stderr"],
    ]
    .concat()
    .into_iter()
    .map(OsString::from)
    .collect();
    arguments.extend(["--listen".into(), socket.clone().into()]);
    arguments.extend(["--export".into(), site.export.into()]);
    let program = process::on_path(program()).ok_or(io::ErrorKind::NotFound)?;
    peer::connect(
        peer::start("the 9P server diod", &program, arguments, None)?,
        socket,
    )
}

/// Debian keeps it where ordinary users do not look.
fn program() -> &'static str {
    let sbin = "/usr/sbin/diod";
    if Path::new(sbin).exists() {
        sbin
    } else {
        "diod"
    }
}

/// It has no option that tells; its package knows, where it came in one.
pub(super) fn version() -> String {
    let package = Command::new("dpkg-query")
        .args(["--show", "--showformat=diod ${Version}", "diod"])
        .output();
    match package {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        _ => "diod".into(),
    }
}
