//! From names on the command line to the cases that run.
//!
//! A name is `all`, a family (what stands before an id's first dot: `mmap`, `sqlite`), an id, or a pattern
//! with `*` and `?`. A name that is none of these is an error that says the nearest ones; a pattern that
//! matches nothing selects nothing.

use std::collections::BTreeSet;

use results::CaseKind;

use crate::{case::PlannedCase, catalogue::Catalogue};

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Names of operation cases.
    pub ops: Vec<String>,
    /// Names of tools.
    pub tools: Vec<String>,
    /// Names of cases of either kind.
    pub cases: Vec<String>,
}

/// Why a selection cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No case has this name.
    #[error("there is no {what} {name:?}{}; `probe9p list {listing}` shows all", hint(.nearest))]
    Unknown {
        /// What was asked for, in words.
        what: &'static str,
        /// The name as it was given.
        name: String,
        /// Names like it, the nearest first.
        nearest: Vec<String>,
        /// The listing that has them all.
        listing: &'static str,
    },
    /// The name is one of the other kind.
    #[error("{name:?} is {is}, so select it with `{option} {name}`")]
    OtherKind {
        /// The name as it was given.
        name: String,
        /// What it is, in words.
        is: &'static str,
        /// The option that selects it.
        option: &'static str,
    },
    /// Everything that was named is there, and it comes to nothing.
    #[error(
        "no case is selected; name some with --tool sqlite, --ops all or --case mmap.shared_write \
         (`probe9p list ops` and `probe9p list tools` show what there is)"
    )]
    Nothing,
}

fn hint(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!(" (the nearest: {})", names.join(", ")),
    }
}

/// One of the three options that choose cases.
struct Chooser {
    what: &'static str,
    listing: &'static str,
    kind: Option<CaseKind>,
}

/// The part of an id before its first dot: an operation's family, a tool's name.
pub fn family(id: &str) -> &str {
    id.split_once('.').map_or(id, |(family, _)| family)
}

/// The cases that `selection` names, in the order in which the catalogue lists them.
///
/// # Errors
/// [`SelectError`] for a name that no case has, and for a selection that comes to nothing.
pub fn select(known: &Catalogue, selection: &Selection) -> Result<Vec<PlannedCase>, SelectError> {
    let options = [
        (
            &selection.ops,
            Chooser {
                what: "operation",
                listing: "ops",
                kind: Some(CaseKind::Op),
            },
        ),
        (
            &selection.tools,
            Chooser {
                what: "tool",
                listing: "tools",
                kind: Some(CaseKind::Tool),
            },
        ),
        (
            &selection.cases,
            Chooser {
                what: "case",
                listing: "ops",
                kind: None,
            },
        ),
    ];
    let mut chosen = BTreeSet::new();
    for (names, option) in &options {
        for name in names
            .iter()
            .map(|name| name.trim())
            .filter(|name| !name.is_empty())
        {
            chosen.extend(matches(known, name, option)?);
        }
    }
    if chosen.is_empty() {
        return Err(SelectError::Nothing);
    }
    Ok(chosen
        .into_iter()
        .map(|index| known.cases[index].clone())
        .collect())
}

/// Indices of the cases that one name means.
fn matches(known: &Catalogue, name: &str, option: &Chooser) -> Result<Vec<usize>, SelectError> {
    let group = known
        .groups
        .get(name)
        .filter(|_| option.kind == Some(CaseKind::Tool));
    let means = |case: &PlannedCase| match group {
        Some(ids) => ids.contains(&case.id),
        None => name == "all" || glob(name, &case.id) || glob(name, family(&case.id)),
    };
    let found = |kind: Option<CaseKind>| -> Vec<usize> {
        (known.cases.iter().enumerate())
            .filter(|(_, case)| kind.is_none_or(|kind| case.kind == kind) && means(case))
            .map(|(index, _)| index)
            .collect()
    };
    let here = found(option.kind);
    if !here.is_empty() || name == "all" || name.contains(['*', '?']) {
        return Ok(here);
    }
    if !found(None).is_empty() {
        let (is, option) = match option.kind {
            Some(CaseKind::Op) => (
                "a tool",
                if name.contains('.') {
                    "--case"
                } else {
                    "--tool"
                },
            ),
            _ => ("an operation", "--ops"),
        };
        return Err(SelectError::OtherKind {
            name: name.to_owned(),
            is,
            option,
        });
    }
    Err(SelectError::Unknown {
        what: option.what,
        name: name.to_owned(),
        nearest: nearest(known, name, option.kind),
        listing: option.listing,
    })
}

/// The three names most like `name`, if any are like it at all.
fn nearest(known: &Catalogue, name: &str, kind: Option<CaseKind>) -> Vec<String> {
    let names: BTreeSet<&str> = (known.cases.iter())
        .filter(|case| kind.is_none_or(|kind| case.kind == kind))
        .flat_map(|case| [case.id.as_str(), family(&case.id)])
        .collect();
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .filter(|(score, _)| *score > 0.75)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored
        .into_iter()
        .take(3)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Whether `pattern`, in which `*` stands for anything and `?` for one character, is all of `text`.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // The last star seen, and the place in the text up to which it has eaten so far.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, eaten)) => {
                    star = Some((at, eaten + 1));
                    p = at + 1;
                    t = eaten + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn known() -> Catalogue {
        let case = |id: &str, kind| PlannedCase {
            id: id.into(),
            kind,
            title: String::new(),
            limit: Duration::from_secs(1),
            child_args: vec![],
            alone: false,
            remedies: vec![],
        };
        let cases = vec![
            case("mmap.private", CaseKind::Op),
            case("mmap.shared_write", CaseKind::Op),
            case("rename.exchange", CaseKind::Op),
            case("sqlite.wal", CaseKind::Tool),
            case("sqlite3-cli.wal", CaseKind::Tool),
        ];
        let ids = cases[3..].iter().map(|case| case.id.clone()).collect();
        Catalogue {
            cases,
            groups: [("sqlite".to_owned(), ids)].into(),
        }
    }

    fn ids(selection: Selection) -> Result<Vec<String>, SelectError> {
        select(&known(), &selection).map(|cases| cases.into_iter().map(|case| case.id).collect())
    }

    fn ops(names: &[&str]) -> Selection {
        Selection {
            ops: names.iter().map(|&n| n.into()).collect(),
            ..Selection::default()
        }
    }

    fn tools(names: &[&str]) -> Selection {
        Selection {
            tools: names.iter().map(|&n| n.into()).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn a_family_an_id_a_pattern_and_all_select() {
        assert_eq!(
            ids(ops(&["mmap"])).unwrap(),
            ["mmap.private", "mmap.shared_write"]
        );
        assert_eq!(ids(ops(&["rename.exchange"])).unwrap(), ["rename.exchange"]);
        assert_eq!(ids(ops(&["*.s?ared*"])).unwrap(), ["mmap.shared_write"]);
        assert_eq!(ids(ops(&["all"])).unwrap().len(), 3);
        assert_eq!(ids(tools(&["sqlite3-cli"])).unwrap(), ["sqlite3-cli.wal"]);
        assert_eq!(
            ids(tools(&["sqlite"])).unwrap(),
            ["sqlite.wal", "sqlite3-cli.wal"]
        );
    }

    #[test]
    fn cases_named_twice_run_once_and_in_the_order_of_the_list() {
        assert_eq!(
            ids(ops(&["rename", "mmap.private", "mmap", "mmap"])).unwrap(),
            ["mmap.private", "mmap.shared_write", "rename.exchange"]
        );
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest() {
        let error = ids(tools(&["sqlit"])).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no tool \"sqlit\" (the nearest: sqlite, sqlite.wal, sqlite3-cli); \
             `probe9p list tools` shows all"
        );
        let error = ids(ops(&["qqq"])).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no operation \"qqq\"; `probe9p list ops` shows all"
        );
    }

    #[test]
    fn a_name_of_the_other_kind_is_told_with_its_option() {
        let error = ids(ops(&["sqlite"])).unwrap_err().to_string();
        assert_eq!(
            error,
            "\"sqlite\" is a tool, so select it with `--tool sqlite`"
        );
        let error = ids(tools(&["mmap"])).unwrap_err().to_string();
        assert_eq!(
            error,
            "\"mmap\" is an operation, so select it with `--ops mmap`"
        );
    }

    #[test]
    fn a_pattern_that_matches_nothing_selects_nothing() {
        assert_eq!(ids(ops(&["zzz*"])), Err(SelectError::Nothing));
        assert_eq!(ids(Selection::default()), Err(SelectError::Nothing));
        assert_eq!(ids(ops(&["", " "])), Err(SelectError::Nothing));
    }

    #[test]
    fn patterns_are_anchored_and_stars_try_again() {
        assert!(glob("*ab*c", "xabyabzc"));
        assert!(!glob("ab", "abc"));
        assert!(glob("a**", "a"));
        assert!(!glob("?", ""));
    }
}
