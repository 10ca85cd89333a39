//! Pages of this program that a forked process finds mapped.
//!
//! A fork copies no page table of what is mapped from a file and was never written: the child faults each page in anew,
//! which costs next to nothing on hardware. A user-mode kernel handles a fault by three stops of a traced process, and
//! what a short case executes is some two hundred pages; that takes longer than all else of it. Where one page of a mapping is
//! private to the process the whole page table is copied (`vma_needs_copy`), and a user-mode kernel maps all that is in
//! it at once when the child first runs (`force_flush_all`).

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
};

/// Lets processes that are forked from now on have this program's and its libraries' text and constants mapped.
///
/// # Errors
/// The system's, where a process may not write its own memory by /proc; nothing is worse then.
pub fn map_for_children() -> io::Result<()> {
    let memory = File::options()
        .read(true)
        .write(true)
        .open("/proc/self/mem")?;
    let mut buffer = vec![0; 64 << 10];
    for (start, end) in fs::read_to_string("/proc/self/maps")?
        .lines()
        .filter_map(constant)
    {
        // A read by /proc maps every page that it takes, without a stop for any.
        for place in (start..end).step_by(buffer.len()) {
            let length = buffer.len().min((end - place) as usize);
            memory.read_exact_at(&mut buffer[..length], place)?;
        }
        // What is there already: the page is a copy of the file's afterwards, and equal to it.
        let byte = &mut buffer[..1];
        memory.read_exact_at(byte, start)?;
        memory.write_all_at(byte, start)?;
    }
    Ok(())
}

/// Where a line of /proc/self/maps says that a file is mapped, privately and not to be written.
fn constant(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?;
    let of_file = words.nth(3)?.starts_with('/');
    let constant = rights.starts_with("r-") && rights.ends_with('p');
    let address = |text| u64::from_str_radix(text, 16).ok();
    (of_file && constant).then_some((address(start)?, address(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_constants_of_files_are_taken_and_nothing_else() {
        let maps = "\
            552aab0000-552b194000 r--p 00000000 00:01 5 /usr/bin/probe9p\n\
            552b194000-552bb8a000 r-xp 006e4000 00:01 5 /usr/bin/probe9p\n\
            552bc00000-552bc10000 rw-p 01108000 00:01 5 /usr/bin/probe9p\n\
            552bd00000-552bd10000 rw-p 00000000 00:00 0 [heap]\n\
            7f0000-7f1000 r--s 00000000 00:01 9 /a/shared\n\
            7ffd000-7ffe000 r-xp 00000000 00:00 0 [vdso]\n";
        let found: Vec<_> = maps.lines().filter_map(constant).collect();
        assert_eq!(
            found,
            [
                (0x55_2aab_0000, 0x55_2b19_4000),
                (0x55_2b19_4000, 0x55_2bb8_a000)
            ]
        );
    }

    #[test]
    fn the_program_is_as_it_was_afterwards() {
        let text = || {
            let maps = fs::read_to_string("/proc/self/maps").unwrap();
            let (start, end) = maps.lines().find_map(constant).unwrap();
            let mut bytes = vec![0; (end - start) as usize];
            let memory = File::open("/proc/self/mem").unwrap();
            memory.read_exact_at(&mut bytes, start).unwrap();
            bytes
        };
        let before = text();
        // A system may forbid it.
        let _ = map_for_children();
        assert!(before == text());
    }
}
