//! Users and groups that a user namespace does not know.
//!
//! The kernel refuses every change to a file whose owner has no number in the namespace (`HAS_UNMAPPED_ID` in
//! `fs/namei.c`), even to the namespace's root. An ordinary user without subordinate ids has a namespace of one
//! user, so there the server's user must be that one: root.

use std::{fs, sync::OnceLock};

struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    fn read(map: &str) -> Ranges {
        let text = fs::read_to_string(map).unwrap_or_default();
        Ranges::parse(&text)
    }

    fn parse(text: &str) -> Ranges {
        let range = |line: &str| {
            let mut numbers = line.split_whitespace().map(str::parse);
            let first = numbers.next()?.ok()?;
            let many = numbers.nth(1)?.ok()?;
            Some((first, many))
        };
        Ranges(text.lines().filter_map(range).collect())
    }

    fn show(&self, id: u32) -> u32 {
        // A kernel without user namespaces has no map and knows every number.
        let known = self.0.is_empty()
            || self
                .0
                .iter()
                .any(|&(first, many)| id.checked_sub(first).is_some_and(|at| at < many));
        if known { id } else { 0 }
    }
}

/// The user as which this process's namespace can show `uid`: itself, or root.
pub fn shown_uid(uid: u32) -> u32 {
    static USERS: OnceLock<Ranges> = OnceLock::new();
    USERS
        .get_or_init(|| Ranges::read("/proc/self/uid_map"))
        .show(uid)
}

/// The group as which this process's namespace can show `gid`: itself, or root's.
pub fn shown_gid(gid: u32) -> u32 {
    static GROUPS: OnceLock<Ranges> = OnceLock::new();
    GROUPS
        .get_or_init(|| Ranges::read("/proc/self/gid_map"))
        .show(gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_mapped_is_root() {
        let one = Ranges::parse("         0       1000          1\n");
        assert_eq!((one.show(0), one.show(1000)), (0, 0));
        let many = Ranges::parse("0 1000 1\n1 100000 65536\n");
        assert_eq!((many.show(1000), many.show(65536)), (1000, 65536));
        assert_eq!(many.show(65537), 0);
        let all = Ranges::parse("0 0 4294967295\n");
        assert_eq!(all.show(65534), 65534);
    }
}
