//! File names as bytes inside rs9p's `String`s.
//!
//! A name on the wire is any sequence of bytes; rs9p's types hold `String`s. A byte that is not part of valid
//! UTF-8 is carried as the private-use character U+10FF00 + byte. Characters of that block that really occur
//! in a name are carried byte by byte in the same way, so the mapping is one to one.

/// First character of the block that carries single bytes.
const BASE: u32 = 0x10_FF00;

/// The characters that stand for one byte each. Only bytes from 0x80 can occur outside valid UTF-8.
fn carried(c: char) -> Option<u8> {
    let offset = (c as u32).checked_sub(BASE)?;
    u8::try_from(offset).ok().filter(|byte| *byte >= 0x80)
}

/// A name as it came over the wire, as rs9p's types hold it.
pub fn from_wire(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if carried(c).is_some() {
                let mut buffer = [0; 4];
                push_bytes(&mut text, c.encode_utf8(&mut buffer).as_bytes());
            } else {
                text.push(c);
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    text.extend(bytes.iter().map(|byte| {
        char::from_u32(BASE + u32::from(*byte)).expect("the block lies within Unicode's last plane")
    }));
}

/// The bytes that go over the wire for a name that rs9p's types hold.
pub fn to_wire(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match carried(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Whether a name goes over the wire as the very bytes of its string.
pub(super) fn is_plain(text: &str) -> bool {
    // Every character of the carrying block begins with 0xF4 in UTF-8; few names hold that byte at all.
    !text.as_bytes().contains(&0xF4) || text.chars().all(|c| carried(c).is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_ordinary_text_stay_as_they_are() {
        assert_eq!(from_wire("größe 文".as_bytes()), "größe 文");
        assert!(is_plain("größe 文"));
    }

    #[test]
    fn names_that_look_like_carried_bytes_survive() {
        let tricky = "\u{10FF80}\u{10FFFF}\u{10FF00}x";
        assert_eq!(to_wire(&from_wire(tricky.as_bytes())), tricky.as_bytes());
    }

    proptest! {
        #[test]
        fn any_bytes_make_the_round_trip(bytes: Vec<u8>) {
            prop_assert_eq!(to_wire(&from_wire(&bytes)), bytes);
        }

        #[test]
        fn different_bytes_are_different_names(a: Vec<u8>, b: Vec<u8>) {
            prop_assert_eq!(a == b, from_wire(&a) == from_wire(&b));
        }
    }
}
