//! The path of a fid below the export's root.

/// A path below the root, as bytes: names joined by `/`, empty for the root itself. Never holds `.`, `..` or
/// an empty name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// The root of the export.
    pub fn root() -> RelPath {
        RelPath::default()
    }

    /// Whether this is the export's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry `name` of this directory, or its parent for `..` (the root is its own parent), or itself for `.`.
    pub fn join(&self, name: &[u8]) -> RelPath {
        match name {
            b"." => self.clone(),
            b".." => self.parent(),
            _ if self.is_root() => RelPath(name.to_vec()),
            _ => RelPath([&self.0, b"/".as_slice(), name].concat()),
        }
    }

    /// The directory that holds this entry; the root for the root.
    pub fn parent(&self) -> RelPath {
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        RelPath(self.0[..end].to_vec())
    }

    /// The last name, `.` for the root.
    pub fn name(&self) -> &[u8] {
        if self.is_root() {
            return b".";
        }
        let start = self
            .0
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |at| at + 1);
        &self.0[start..]
    }

    /// The names from the root down.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
    }

    /// The path's bytes, without a leading `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// This path after `old` was renamed to `new`, when it is `old` or lies below it.
    pub fn renamed(&self, old: &RelPath, new: &RelPath) -> Option<RelPath> {
        let rest = self.0.strip_prefix(old.0.as_slice())?;
        match rest.first() {
            None => Some(new.clone()),
            Some(b'/') => Some(RelPath([&new.0, rest].concat())),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        text.split('/')
            .filter(|name| !name.is_empty())
            .fold(RelPath::root(), |dir, name| dir.join(name.as_bytes()))
    }

    #[test]
    fn nothing_leads_above_the_root() {
        assert_eq!(
            path("a").join(b"..").join(b"..").join(b"..").join(b"b"),
            path("b")
        );
    }

    #[test]
    fn a_rename_moves_what_lies_below_and_nothing_beside() {
        let (old, new) = (path("a/b"), path("c"));
        assert_eq!(path("a/b").renamed(&old, &new), Some(path("c")));
        assert_eq!(path("a/b/d/e").renamed(&old, &new), Some(path("c/d/e")));
        assert_eq!(path("a/bd").renamed(&old, &new), None);
        assert_eq!(path("a").renamed(&old, &new), None);
    }

    #[test]
    fn names_and_parents_take_a_path_apart() {
        let deep = path("a/b/c");
        assert_eq!((deep.name(), deep.parent()), (b"c".as_slice(), path("a/b")));
        assert_eq!(
            (RelPath::root().name(), RelPath::root().parent()),
            (b".".as_slice(), RelPath::root())
        );
        assert_eq!(deep.names().collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    }
}
