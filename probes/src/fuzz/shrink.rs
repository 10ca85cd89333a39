//! A sequence made as short as it gets while two stacks still part on it.

use super::op::Op;

/// Takes operations out of `ops`, by halves first and then one by one, as long as `parts` says that what is left is
/// still told apart. `parts` gets several candidates at once and says of each whether it is; an error ends it.
///
/// # Errors
/// What `parts` returns.
pub fn shrink<E>(
    ops: Vec<Op>,
    mut parts: impl FnMut(&[Vec<Op>]) -> Result<Vec<bool>, E>,
) -> Result<Vec<Op>, E> {
    let mut ops = ops;
    let mut chunk = (ops.len() / 2).max(1);
    loop {
        let without = |start: usize| {
            let end = (start + chunk).min(ops.len());
            [&ops[..start], &ops[end..]].concat()
        };
        // Later operations first: what is behind the place where they part is not needed.
        let candidates: Vec<Vec<Op>> = (0..ops.len()).step_by(chunk).rev().map(without).collect();
        let candidates: Vec<Vec<Op>> = candidates.into_iter().filter(|c| !c.is_empty()).collect();
        let told = parts(&candidates)?;
        match told.iter().position(|parted| *parted) {
            Some(at) => {
                ops.clone_from(&candidates[at]);
                chunk = chunk.min((ops.len() / 2).max(1));
            }
            None if chunk == 1 => return Ok(ops),
            None => chunk = (chunk / 2).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::op::from_text, *};

    #[test]
    fn what_is_left_is_what_it_takes_in_its_order() {
        let ops = from_text(
            "stat a; open 0 a/x rdwr 0; stat b; fsync 0; unlink a/x; stat a; fstat 0; stat b; lstat a; close 0",
        )
        .unwrap();
        let needed = from_text("open 0 a/x rdwr 0; unlink a/x; fstat 0").unwrap();
        let has_all = |ops: &Vec<Op>| {
            let mut left = ops.iter();
            needed.iter().all(|op| left.any(|other| other == op))
        };
        let parts = |candidates: &[Vec<Op>]| Ok::<_, ()>(candidates.iter().map(has_all).collect());
        assert_eq!(shrink(ops, parts), Ok(needed.clone()));
    }

    #[test]
    fn an_error_ends_it() {
        let ops = from_text("stat a; stat b").unwrap();
        assert_eq!(shrink(ops, |_| Err("lost")), Err("lost"));
    }
}
