//! Debian's diod: a server in C, which takes its connection as a descriptor and ends with it.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::Command,
};

use crate::stack::{StackError, live::Served, process::Helper};

/// Whether it is here.
///
/// # Errors
/// [`StackError::Unavailable`] with what brings it.
pub(super) fn available() -> Result<(), StackError> {
    match crate::stack::process::on_path(program()) {
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
pub(super) fn start(export: &Path, connection: &UnixStream) -> io::Result<Served> {
    let program = program();
    let fd = connection.as_raw_fd().to_string();
    let mut command = Command::new(program);
    command
        .args(["--foreground", "--no-auth", "--nwthreads", "8"])
        .args(["--config-file", "/dev/null", "--logdest", "stderr"])
        .args(["--rfdno", &fd, "--wfdno", &fd])
        .arg("--export")
        .arg(export);
    // It exits with its one connection; there is nothing for a life line to end.
    let (_, life) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let server = Helper::spawn("the 9P server diod", command, &[connection.as_fd()])?;
    Ok((server, life))
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
