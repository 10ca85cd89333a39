//! A cpio archive in the format that Linux unpacks as its first root (`newc`, see
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::fmt::Write as _;

const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const DEVICE: u32 = 0o020_000;

/// An archive in the making. All in it is root's.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: Vec<String>,
}

impl Archive {
    /// Adds a directory of mode 0755 and those above it, unless they are there already.
    pub fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.directories.iter().any(|known| known == path) {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above);
        }
        self.directories.push(path.to_owned());
        self.entry(path, DIRECTORY | 0o755, (0, 0), b"");
    }

    /// Adds a file, and the directories above it.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parent(path);
        self.entry(path, FILE | mode, (0, 0), content);
    }

    /// Adds a character device, and the directories above it.
    pub fn device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.parent(path);
        self.entry(path, DEVICE | mode, (major, minor), b"");
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), b"");
        self.bytes
    }

    fn parent(&mut self, path: &str) {
        if let Some((above, _)) = path.trim_start_matches('/').rsplit_once('/') {
            self.directory(above);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let name = path.trim_start_matches('/');
        let fields = [
            self.entries,
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // mtime
            u32::try_from(content.len()).expect("no file of a guest's first root has 4 GiB"),
            0, // device of the file system, major and minor
            0,
            device.0,
            device.1,
            u32::try_from(name.len() + 1).expect("paths are short"),
            0, // checksum, which this format has not
        ];
        let mut header = String::from("070701");
        for field in fields {
            // Writing to a string does not fail.
            let _ = write!(header, "{field:08x}");
        }
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let whole = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(whole, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_and_content_begins_at_a_multiple_of_four() {
        let mut archive = Archive::default();
        archive.file("a/b", 0o644, b"12345");
        archive.device("c", 0o600, 5, 1);
        let bytes = archive.finish();
        let headers = bytes
            .windows(6)
            .enumerate()
            .filter(|(_, w)| *w == b"070701");
        let starts: Vec<usize> = headers.map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 4, "a, a/b, c and the trailer");
        assert!(starts.iter().all(|start| start % 4 == 0));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn a_directory_is_there_once_and_before_what_is_in_it() {
        let mut archive = Archive::default();
        archive.file("a/b/c", 0o644, b"");
        archive.file("a/b/d", 0o644, b"");
        archive.directory("/a/b/");
        let text = String::from_utf8(archive.finish()).unwrap();
        assert_eq!(text.matches("a/b\0").count(), 1);
        assert!(text.find("a/b\0") < text.find("a/b/c\0"));
    }
}
