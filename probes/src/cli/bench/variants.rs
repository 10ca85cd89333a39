//! The volumes of one bench: the one that is asked for, several by name, or one with an option swept.

use std::str::FromStr;

use probes::runner::{stack_name::StackName, volume::Wanted};
use server9p::{
    stack::Cache,
    wire::{MSIZE_MAX, MSIZE_MIN},
};

/// A volume, by the name that tells it from the others.
#[derive(Debug, Clone)]
pub struct Variant {
    /// `fuse/server9p/golem`, `msize=65536`; empty where there is but one.
    pub name: String,
    /// What to bring up.
    pub wanted: Wanted,
}

/// An option of the mount with the values that it takes one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sweep {
    /// Sizes of messages, bytes.
    Msize(Vec<u32>),
    /// Ways to cache.
    Cache(Vec<Cache>),
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("msize", values)) => sizes(values).map(Sweep::Msize),
            Some(("cache", values)) => {
                let values: Result<Vec<Cache>, _> =
                    values.split(',').map(Cache::from_str).collect();
                values.map(Sweep::Cache).map_err(|error| error.to_string())
            }
            _ => Err(format!(
                "{text:?} cannot be swept; write msize=8k..1M, msize=64k,512k or cache=none,mmap,loose"
            )),
        }
    }
}

/// `8k..1M`, which doubles from the first to the last, or a list.
fn sizes(text: &str) -> Result<Vec<u32>, String> {
    let Some((first, last)) = text.split_once("..") else {
        return text.split(',').map(size).collect();
    };
    let (first, last) = (size(first)?, size(last)?);
    if first > last {
        return Err(format!(
            "{text:?} ends before it begins; write the smaller size first"
        ));
    }
    let mut sizes: Vec<u32> = std::iter::successors(Some(first), |size| size.checked_mul(2))
        .take_while(|size| *size < last)
        .collect();
    sizes.push(last);
    Ok(sizes)
}

/// A size of messages: `8192`, `8k`, `1M`.
fn size(text: &str) -> Result<u32, String> {
    let wrong = || {
        format!(
            "{text:?} is no size of messages; write one from 4k to 1M, such as 65536, 64k or 1M"
        )
    };
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let number: u32 = digits.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(unit).ok_or_else(wrong)?;
    if (MSIZE_MIN..=MSIZE_MAX).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(wrong())
    }
}

/// The volumes: `base`, or those of these names, each with every combination of what is swept.
pub fn variants(base: &Wanted, stacks: &[StackName], sweeps: &[Sweep]) -> Vec<Variant> {
    let mut variants: Vec<Variant> = match stacks {
        [] => vec![Variant {
            name: String::new(),
            wanted: base.clone(),
        }],
        _ => stacks.iter().map(|stack| named(base, *stack)).collect(),
    };
    for sweep in sweeps {
        variants = variants
            .iter()
            .flat_map(|variant| swept(variant, sweep))
            .collect();
    }
    variants
}

fn named(base: &Wanted, stack: StackName) -> Variant {
    let wanted = stack.wanted();
    Variant {
        name: stack.to_string(),
        wanted: Wanted {
            client: wanted.client,
            server: wanted.server,
            profile: wanted.profile,
            ..base.clone()
        },
    }
}

fn swept(variant: &Variant, sweep: &Sweep) -> Vec<Variant> {
    let with = |value: String, wanted: Wanted| Variant {
        name: match variant.name.as_str() {
            "" => value,
            name => format!("{name} {value}"),
        },
        wanted,
    };
    let base = &variant.wanted;
    match sweep {
        Sweep::Msize(sizes) => sizes
            .iter()
            .map(|size| {
                let wanted = Wanted {
                    msize: Some(*size),
                    ..base.clone()
                };
                with(format!("msize={size}"), wanted)
            })
            .collect(),
        Sweep::Cache(modes) => modes
            .iter()
            .map(|cache| {
                let wanted = Wanted {
                    cache: *cache,
                    ..base.clone()
                };
                with(format!("cache={}", cache.name()), wanted)
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_sizes_doubles_and_ends_where_it_is_told() {
        let sweep = |text: &str| text.parse::<Sweep>();
        let sizes = |text: &str| match sweep(text) {
            Ok(Sweep::Msize(sizes)) => sizes,
            other => panic!("{other:?}"),
        };
        assert_eq!(sizes("msize=8k..64k"), [8192, 16384, 32768, 65536]);
        assert_eq!(sizes("msize=8k..20k"), [8192, 16384, 20480]);
        assert_eq!(sizes("msize=4096,1M"), [4096, 1 << 20]);
        assert_eq!(
            sweep("cache=none,loose"),
            Ok(Sweep::Cache(vec![Cache::None, Cache::Loose]))
        );
        for (text, said) in [
            ("msize=1k..8k", "from 4k to 1M"),
            ("msize=8k..2M", "from 4k to 1M"),
            ("msize=64k..8k", "the smaller size first"),
            ("msize", "cannot be swept"),
            ("depth=1", "cannot be swept"),
        ] {
            let error = sweep(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(sweep("cache=always").is_err());
    }

    #[test]
    fn every_stack_has_every_value() {
        let stacks: Vec<StackName> = ["fuse/server9p/golem", "uml/diod/posix"]
            .map(|name| name.parse().unwrap())
            .into();
        let sweeps = ["msize=8k..16k", "cache=none,mmap"].map(|text| text.parse().unwrap());
        let all = variants(&stacks[0].wanted(), &stacks, &sweeps);
        let names: Vec<&str> = all.iter().map(|variant| variant.name.as_str()).collect();
        assert_eq!(names.len(), 8);
        assert_eq!(names[1], "fuse/server9p/golem msize=8192 cache=mmap");
        assert_eq!(all[7].wanted.msize, Some(16384));
        assert_eq!(all[7].wanted.cache, Cache::Mmap);
        assert_eq!(variants(&stacks[0].wanted(), &[], &[])[0].name, "");
    }
}
