//! The first root of a QEMU guest: this program, its libraries, and the modules that it needs to reach the
//! host's root.
//!
//! It is built by what it is made of: the same program and kernel have the same file in the user's cache, which
//! then is taken as it is. Where the cache cannot be written, the file is in memory only.

use std::{
    fs,
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest, Sha256};

use super::{cpio::Archive, kernels::Kernel, program::Program};
use crate::stack::{
    StackError, cache,
    guest::{
        modules,
        virtio::{MODULES, ORDER},
    },
};

/// Where the guest's first process is.
pub const INIT: &str = "/init";
/// Where the libraries are; the loader is told so by the environment.
pub const LIBRARIES: &str = "/lib";
/// What a guest needs that has all it works with over virtio. Of the transports, 9pnet_fd was part of 9pnet until
/// 5.17.
const WANTED: [&str; 10] = [
    "virtio_blk",
    // Cases make loop devices; nobody in a guest loads a module when one is opened.
    "loop",
    // What ext4 asks the kernel for by name.
    "crc32c_generic",
    "ext4",
    "virtio_pci",
    "virtio_console",
    "9pnet_virtio",
    "9pnet_fd",
    "9p",
    "overlay",
];
/// Files of the cache that are older than the newest so many are removed.
const KEPT: usize = 6;

/// The file to boot a kernel with, open for reading.
///
/// # Errors
/// [`StackError::Unavailable`] naming what cannot be read.
pub fn open(program: &Path, kernel: &Kernel) -> Result<File, StackError> {
    let failed = |err: io::Error| {
        StackError::Unavailable(format!("the guest's first root cannot be made: {err}"))
    };
    let cached = directory().map(|directory| {
        let name = format!("{}.cpio", fingerprint(program, kernel));
        (directory.clone(), directory.join(name))
    });
    if let Some((_, path)) = &cached
        && let Ok(file) = File::open(path)
    {
        return Ok(file);
    }
    let archive = build(program, kernel).map_err(StackError::Unavailable)?;
    if let Some((directory, path)) = &cached
        && let Ok(file) = keep(directory, path, &archive)
    {
        return Ok(file);
    }
    let mut file = File::from(
        memfd_create("initramfs", MemfdFlags::CLOEXEC).map_err(|err| failed(err.into()))?,
    );
    file.write_all(&archive).map_err(failed)?;
    Ok(file)
}

fn directory() -> Option<PathBuf> {
    Some(cache::directory()?.join("initramfs"))
}

/// Names what goes into the file: both files' sizes, times and places, and the version that builds it.
fn fingerprint(program: &Path, kernel: &Kernel) -> String {
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    for path in [program.to_owned(), kernel.modules.join("modules.dep")] {
        hash.update(path.as_os_str().as_encoded_bytes());
        if let Ok(meta) = fs::metadata(&path) {
            let numbers = [
                meta.dev(),
                meta.ino(),
                meta.size(),
                meta.mtime() as u64,
                meta.mtime_nsec() as u64,
            ];
            numbers
                .iter()
                .for_each(|number| hash.update(number.to_le_bytes()));
        }
    }
    let hash = hash.finalize();
    hash[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Writes it beside the others and gives it its name when it is whole.
fn keep(directory: &Path, path: &Path, archive: &[u8]) -> io::Result<File> {
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(archive)?;
    // QEMU may run as another user, who gets to it by its descriptor.
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path)?;
    forget_old(directory);
    File::open(path)
}

fn forget_old(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    files.reverse();
    for (_, path) in files.into_iter().skip(KEPT) {
        let _ = fs::remove_file(path);
    }
}

fn build(program: &Path, kernel: &Kernel) -> Result<Vec<u8>, String> {
    let program = Program::read(program)?;
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "sys", "tmp", "host"] {
        archive.directory(directory);
    }
    archive.device("dev/console", 0o600, 5, 1);
    archive.file(INIT, 0o755, &program.image);
    if let Some(loader) = &program.loader {
        archive.file(&loader.to_string_lossy(), 0o755, &read(loader)?);
    }
    for library in &program.libraries {
        let name = library.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("{LIBRARIES}/{name}"), 0o755, &read(library)?);
    }
    let files = modules::in_order(&kernel.modules, &WANTED)?;
    for file in &files {
        let content = read(&kernel.modules.join(file))?;
        archive.file(&format!("{MODULES}/{file}"), 0o644, &content);
    }
    archive.file(
        &format!("{MODULES}/{ORDER}"),
        0o644,
        files.join("\n").as_bytes(),
    );
    Ok(archive.finish())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|err| format!("{} cannot be read: {err}", path.display()))
}
