//! The order of the columns: what behaves most like the runtime first, what is alike side by side, and the same
//! whatever order the reports were given in.

use std::cmp::Reverse;

use super::series;
use crate::Report;

/// What makes two reports reports of one stack, in an order that sorts them.
pub(super) type Key<'a> = (
    Ranked<'a>,
    Ranked<'a>,
    Ranked<'a>,
    Ranked<'a>,
    Reverse<(Vec<u32>, String)>,
    &'a str,
);

type Ranked<'a> = (usize, &'a str);

pub(super) fn key(report: &Report) -> Key<'_> {
    let stack = &report.stack;
    let series = series(&stack.kernel);
    let numbers = series.split('.').map(|n| n.parse().unwrap_or(0)).collect();
    (
        rank(&["qemu", "uml", "kernel", "fuse", "path"], &stack.client),
        rank(
            &["qemu", "server9p", "diod", "unpfs", "ram", "storage"],
            &stack.server,
        ),
        rank(&["golem", "qemu", "posix"], &stack.profile),
        rank(
            &["none", "readahead", "mmap", "loose", "fscache"],
            &stack.cache,
        ),
        Reverse((numbers, series)),
        &report.host.filesystem,
    )
}

/// Known words in the order given, others after them.
fn rank<'a>(known: &[&str], word: &'a str) -> Ranked<'a> {
    let place = known.iter().position(|k| *k == word);
    (place.unwrap_or(known.len()), word)
}
