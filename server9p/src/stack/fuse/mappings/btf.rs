//! The kernel's description of its own types (BTF), as far as it takes to find a function and places in structures.
//!
//! Written after the kernel's `Documentation/bpf/btf.rst`.

/// Kinds of types, `BTF_KIND_…`.
const STRUCT: u32 = 4;
const FUNC: u32 = 12;

/// Length in bytes of a type without what is peculiar to its kind, and of a structure's member.
const TYPE: usize = 12;
const MEMBER: usize = 12;

/// A parsed description.
pub(super) struct Types<'a> {
    types: Vec<Type<'a>>,
    strings: &'a [u8],
}

/// A type; its number is its place, counted from 1.
struct Type<'a> {
    name: usize,
    kind: u32,
    /// A structure's: its members' lengths in bits stand beside their offsets.
    has_bit_fields: bool,
    /// What is peculiar to its kind.
    rest: &'a [u8],
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// Bytes that follow a type of this kind with this many members, values or parameters.
fn length_of_rest(kind: u32, count: usize) -> Option<usize> {
    match kind {
        // Pointers, names for other types, functions, floats.
        2 | 7..=12 | 16 | 18 => Some(0),
        // Integers, variables, tags of declarations.
        1 | 14 | 17 => Some(4),
        // Arrays.
        3 => Some(12),
        // Structures, unions, sections, 64-bit enumerations.
        4 | 5 | 15 | 19 => Some(count * MEMBER),
        // Enumerations, prototypes of functions.
        6 | 13 => Some(count * 8),
        _ => None,
    }
}

impl<'a> Types<'a> {
    /// Of a whole description in this machine's byte order; nothing when it is none, or has kinds that are not known.
    pub fn parse(whole: &'a [u8]) -> Option<Types<'a>> {
        const MAGIC: u16 = 0xeb9f;
        if whole.first_chunk().map(|two| u16::from_ne_bytes(*two)) != Some(MAGIC) {
            return None;
        }
        let field = |index: usize| Some(number(whole, index * 4)? as usize);
        let header = field(1)?;
        let section = |offset: usize, length: usize| whole.get(header + offset..)?.get(..length);
        let mut rest = section(field(2)?, field(3)?)?;
        let strings = section(field(4)?, field(5)?)?;
        let mut types = Vec::new();
        while !rest.is_empty() {
            let (name, info) = (number(rest, 0)? as usize, number(rest, 4)?);
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let (own, others) = rest
                .get(TYPE..)?
                .split_at_checked(length_of_rest(kind, count)?)?;
            types.push(Type {
                name,
                kind,
                has_bit_fields: info >> 31 == 1,
                rest: own,
            });
            rest = others;
        }
        Some(Types { types, strings })
    }

    fn is_called(&self, at: usize, name: &str) -> bool {
        let bytes = self.strings.get(at..).unwrap_or_default();
        bytes
            .strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The number of a function.
    pub fn function(&self, name: &str) -> Option<u32> {
        let is_it = |ty: &Type| ty.kind == FUNC && self.is_called(ty.name, name);
        Some(self.types.iter().position(is_it)? as u32 + 1)
    }

    /// Where a structure's members begin, in bytes: of the first structure of that name which has all of them.
    pub fn members<const N: usize>(&self, structure: &str, members: [&str; N]) -> Option<[u32; N]> {
        self.types
            .iter()
            .filter(|ty| ty.kind == STRUCT && self.is_called(ty.name, structure))
            .find_map(|ty| {
                let mut offsets = [0; N];
                for (offset, member) in offsets.iter_mut().zip(members) {
                    *offset = self.offset(ty, member)?;
                }
                Some(offsets)
            })
    }

    fn offset(&self, structure: &Type, member: &str) -> Option<u32> {
        let (members, _) = structure.rest.as_chunks::<MEMBER>();
        let member = members
            .iter()
            .find(|it| number(*it, 0).is_some_and(|name| self.is_called(name as usize, member)))?;
        let bits = number(member, 8)?;
        let bits = match structure.has_bit_fields {
            true => bits & 0xff_ffff,
            false => bits,
        };
        Some(bits / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A description with these types and strings.
    fn description(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let length = types.len() as u32 * 4;
        let header = [24, 0, length, length, strings.len() as u32];
        let mut bytes = vec![];
        bytes.extend(0xeb9f_u16.to_ne_bytes());
        bytes.extend([1, 0]);
        for word in header.iter().chain(types) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn functions_and_members_are_found_among_types_of_other_kinds() {
        let strings = b"\0file\0mode\0hook\0";
        let (file, mode, hook) = (1, 6, 11);
        #[rustfmt::skip]
        let types = [
            // An integer of that name, a structure without the member, one with a bit field, a function.
            file, 1 << 24, 4, 32,
            file, 4 << 24, 0,
            file, 1 << 31 | 4 << 24 | 2, 16,
            hook, 1, 3 << 24,
            mode, 1, 32 << 24 | 64,
            hook, 12 << 24, 1,
        ];
        let bytes = description(&types, strings);
        let types = Types::parse(&bytes).unwrap();
        assert_eq!(types.function("hook"), Some(4));
        assert_eq!(types.function("file"), None);
        assert_eq!(types.members("file", ["mode", "hook"]), Some([8, 0]));
        assert_eq!(types.members("fil", ["mode"]), None);
        assert_eq!(types.members("file", ["mod"]), None);
    }

    #[test]
    fn what_is_cut_off_or_not_known_is_no_description() {
        let whole = description(&[1, 1 << 24, 4, 32], b"\0int\0");
        assert!(Types::parse(&whole).is_some());
        for length in 0..whole.len() {
            assert!(Types::parse(&whole[..length]).is_none(), "{length}");
        }
        assert!(Types::parse(&description(&[1, 30 << 24, 4], b"\0int\0")).is_none());
    }
}
