//! Names that go into links, files and other people's programs: stable, and safe wherever they stand.

use sha2::{Digest as _, Sha256};

use crate::Report;

/// The longest that a slug may be, in characters: file systems take 255 bytes with what is put around it.
const LONGEST: usize = 100;

/// A name of a page, an anchor or an id, for a name that anyone may have chosen: letters, digits, dots, underscores
/// and hyphens stay, all else is spelt out (`~2f~`). Different texts have different slugs; one that would be
/// too long ends in a digest.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            // A name that begins with a dot is hidden, or no name at all.
            '.' if out.is_empty() => out += "~2e~",
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => out.push(c),
            other => out += &format!("~{:x}~", u32::from(other)),
        }
    }
    if out.is_empty() {
        return "~".into();
    }
    if out.len() > LONGEST {
        let digest = Sha256::digest(text.as_bytes());
        out.truncate(LONGEST - 18);
        out.push_str("~~");
        out.extend(digest.iter().take(8).map(|byte| format!("{byte:02x}")));
    }
    out
}

/// `uml-server9p-golem-6.1-none-ext4`: what makes two runs runs of one stack.
pub(super) fn stack_id(report: &Report) -> String {
    let (stack, host) = (&report.stack, &report.host);
    slug(&format!(
        "{}-{}-{}-{}-{}-{}",
        stack.client,
        stack.server,
        stack.profile,
        series(&stack.kernel),
        stack.cache,
        host.filesystem
    ))
}

/// The series of a kernel's release: `5.10` of `5.10.0-33-amd64`. A stack stays the same when its kernel is mended.
pub(crate) fn series(release: &str) -> String {
    let number = release.split(['-', '+', ' ']).next().unwrap_or_default();
    number.split('.').take(2).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slugs_say_what_they_name() {
        assert_eq!(slug("sqlite3-cli.wal_2"), "sqlite3-cli.wal_2");
        assert_eq!(slug("../a b"), "~2e~.~2f~a~20~b");
        assert_eq!(slug(""), "~");
        assert_eq!(series("6.1.0-56-amd64"), "6.1");
        assert_eq!(series("5.10"), "5.10");
    }

    proptest! {
        #[test]
        fn slugs_are_short_safe_and_differ(a in "\\PC{0,300}", b in "\\PC{0,300}") {
            let (x, y) = (slug(&a), slug(&b));
            prop_assert!(x.len() <= LONGEST && !x.starts_with('.') && !x.is_empty());
            prop_assert!(x.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-~".contains(&b)));
            prop_assert_eq!(a == b, x == y);
        }
    }
}
