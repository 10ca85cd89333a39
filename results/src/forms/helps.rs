//! What makes a tool work, in one line: the fewest remedies, of those that were run, that help all of its cases.

use std::{cmp::Reverse, collections::BTreeSet};

use crate::{CaseResult, Matrix, Remedy, Verdict, matrix::Group, text::clean};

/// The fewest remedies that help every case that has one, the one that helps most first.
///
/// The tool's own come before those that take its files elsewhere or need another mount, which nearly always help.
pub(super) fn least_remedies<'a>(cases: &[&'a CaseResult]) -> Vec<&'a Remedy> {
    let mut left: Vec<&CaseResult> = (cases.iter().copied())
        .filter(|case| case.verdict == Verdict::Workaround)
        .collect();
    let mut chosen: Vec<&Remedy> = Vec::new();
    loop {
        let verified: Vec<&Remedy> = (left.iter())
            .flat_map(|case| &case.remedies)
            .filter(|remedy| remedy.verified)
            .collect();
        let helped = |id: &str| left.iter().filter(|case| helps(case, id)).count();
        // Of those that help as many, the first that a case names.
        let best = verified
            .iter()
            .enumerate()
            .max_by_key(|(place, remedy)| (own(&remedy.id), helped(&remedy.id), Reverse(*place)));
        let Some((_, best)) = best else {
            return chosen;
        };
        chosen.push(best);
        left.retain(|case| !helps(case, &best.id));
    }
}

fn helps(case: &CaseResult, id: &str) -> bool {
    let mut remedies = case.remedies.iter();
    remedies.any(|remedy| remedy.verified && remedy.id == id)
}

/// Whether a remedy is the tool's own.
fn own(id: &str) -> bool {
    !(id == "storage" || id.starts_with("ram") || id.starts_with("cache-"))
}

/// How a tool does on the most faithful stack that has all of its cases, in one line; nothing where none was run.
pub(crate) fn line(matrix: &Matrix<'_>, group: &Group<'_>) -> Option<String> {
    let results = |at: usize| group.results(at);
    let plain = |at: &usize| matrix.stacks[*at].latest().stack.cache == "none";
    // The first of the most, as columns are in the order of how faithful they are.
    let at = (0..matrix.stacks.len())
        .filter(plain)
        .max_by_key(|at| (results(*at), Reverse(*at)))?;
    let cases: Vec<&CaseResult> = (group.rows.iter())
        .filter_map(|row| row.cells[at].map(|placed| placed.case))
        .filter(|case| !matches!(case.verdict, Verdict::Skipped | Verdict::Invalid))
        .collect();
    let number = |verdicts: &[Verdict]| {
        let of = |case: &&&CaseResult| verdicts.contains(&case.verdict);
        cases.iter().filter(of).count()
    };
    let fine = number(&[Verdict::Works, Verdict::Degraded]);
    let mended = number(&[Verdict::Workaround]);
    let mut line = match (fine, mended) {
        _ if cases.is_empty() => return None,
        (fine, 0) if fine == cases.len() => "works".to_owned(),
        (fine, mended) if fine + mended == cases.len() => "works with: ".to_owned(),
        (fine, 0) => format!("{fine} of {} cases work", cases.len()),
        (fine, mended) => {
            let all = cases.len();
            format!("{fine} of {all} cases work, {mended} more with: ")
        }
    };
    let mut told = BTreeSet::new();
    let words: Vec<String> = (least_remedies(&cases).iter())
        .map(|remedy| words(&remedy.title))
        .filter(|words| told.insert(words.clone()))
        .collect();
    line.push_str(&words.join("; "));
    let slow = number(&[Verdict::Degraded]);
    if slow > 0 {
        line.push_str(&format!(
            "; {slow} {} a guarantee or speed",
            if slow == 1 {
                "case loses"
            } else {
                "cases lose"
            }
        ));
    }
    Some(clean(&line))
}

/// A remedy's title without its reasons and its further words.
fn words(title: &str) -> String {
    let short = title.split(" (").next().unwrap_or(title);
    let short = short.split(", so that").next().unwrap_or(short);
    short
        .split(" instead of ")
        .next()
        .unwrap_or(short)
        .trim_end_matches(',')
        .to_owned()
}
