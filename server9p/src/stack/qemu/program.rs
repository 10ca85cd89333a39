//! This program as a guest's first process: its file without what only a debugger reads, and what its loader
//! needs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A program and the files that it does not start without.
#[derive(Debug)]
pub struct Program {
    /// Its ELF file, up to the last byte that is loaded.
    pub image: Vec<u8>,
    /// Its loader, where it has one.
    pub loader: Option<PathBuf>,
    /// Its libraries.
    pub libraries: Vec<PathBuf>,
}

impl Program {
    /// Reads a program of ours and asks its loader what it needs.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(path: &Path) -> Result<Program, String> {
        let unreadable = |err: io::Error| format!("{} cannot be read: {err}", path.display());
        let mut image = fs::read(path).map_err(unreadable)?;
        let Elf { end, loader } = Elf::of(&image)
            .ok_or_else(|| format!("{} is not a 64-bit ELF program", path.display()))?;
        image.truncate(end);
        forget_sections(&mut image);
        let libraries = match &loader {
            Some(_) => libraries(path).map_err(unreadable)?,
            None => Vec::new(),
        };
        Ok(Program {
            image,
            loader,
            libraries,
        })
    }
}

/// What of an ELF file matters to start it.
#[derive(Debug, PartialEq, Eq)]
struct Elf {
    /// Where its last loaded segment ends in the file.
    end: usize,
    loader: Option<PathBuf>,
}

const SEGMENT_LOADED: u32 = 1;
const SEGMENT_LOADER: u32 = 3;
/// Where in an ELF header it says where the sections' headers are, and where of what kind and how many.
const SECTIONS_AT: std::ops::Range<usize> = 0x28..0x30;
const SECTIONS: std::ops::Range<usize> = 0x3a..0x40;

impl Elf {
    /// Reads the program headers (`man 5 elf`); `None` when it is something else, or cut short.
    fn of(file: &[u8]) -> Option<Elf> {
        if file.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let table = usize::try_from(number::<8>(file, 0x20)?).ok()?;
        let size = usize::try_from(number::<2>(file, 0x36)?).ok()?;
        let count = usize::try_from(number::<2>(file, 0x38)?).ok()?;
        let mut end = table + size * count;
        let mut loader = None;
        for index in 0..count {
            let header = table + index * size;
            let offset = usize::try_from(number::<8>(file, header + 0x08)?).ok()?;
            let length = usize::try_from(number::<8>(file, header + 0x20)?).ok()?;
            match u32::try_from(number::<4>(file, header)?).ok()? {
                SEGMENT_LOADED => end = end.max(offset + length),
                SEGMENT_LOADER => {
                    let path = file.get(offset..offset + length)?;
                    let path = path.strip_suffix(b"\0").unwrap_or(path);
                    loader = Some(PathBuf::from(std::str::from_utf8(path).ok()?));
                }
                _ => {}
            }
        }
        (end <= file.len()).then_some(Elf { end, loader })
    }
}

/// A little-endian number of `N` bytes.
fn number<const N: usize>(file: &[u8], at: usize) -> Option<u64> {
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(file.get(at..at + N)?);
    Some(u64::from_le_bytes(bytes))
}

/// Sections come after the segments and are cut off, so nothing may say that they are there.
fn forget_sections(image: &mut [u8]) {
    image[SECTIONS_AT].fill(0);
    image[SECTIONS].fill(0);
}

/// The files that the loader of a program of ours would load: it says so itself, as `ldd` has it do.
fn libraries(program: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = Command::new(program)
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    Ok(listed_libraries(&String::from_utf8_lossy(&listed.stdout)))
}

fn listed_libraries(list: &str) -> Vec<PathBuf> {
    let found = list.lines().filter_map(|line| line.split_once(" => "));
    found
        .filter_map(|(_, found)| found.split_whitespace().next())
        .filter(|path| path.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_its_sections_still_starts() {
        let own = std::env::current_exe().unwrap();
        let program = Program::read(&own).unwrap();
        assert!(program.image.len() <= fs::metadata(&own).unwrap().len() as usize);
        let tmp = tempfile::tempdir().unwrap();
        let cut = tmp.path().join("cut");
        fs::write(&cut, &program.image).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&cut, mode).unwrap();
        let output = Command::new(&cut).arg("--list").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert_eq!(Elf::of(b"#!/bin/sh\n"), None);
        assert_eq!(Elf::of(b"\x7fELF\x02\x01"), None);
    }

    #[test]
    fn the_kernels_own_library_is_no_file() {
        let list =
            "\tlinux-vdso.so.1 (0x0)\n\tlibm.so.6 => /lib/libm.so.6 (0x1)\n\t/lib64/ld.so (0x2)\n";
        assert_eq!(listed_libraries(list), [PathBuf::from("/lib/libm.so.6")]);
    }
}
