//! Causes: the mechanism, who is at fault, what helps, and every case that it breaks.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{CauseWords, Context, class, links};
use crate::{CaseKind, Cause};

pub(super) struct Causes {
    pub causes: Vec<CausePage>,
}

#[derive(Serialize)]
pub(super) struct CausePage {
    pub id: String,
    words: CauseWords,
    references: Vec<Reference>,
    /// Evidence seen, each piece once, the first few.
    evidence: Vec<String>,
    victims: Vec<Victims>,
    count: usize,
}

/// The cases of one tool or family that it breaks.
#[derive(Serialize)]
struct Victims {
    group: String,
    href: String,
    cases: Vec<Victim>,
}

#[derive(Serialize)]
struct Victim {
    name: String,
    href: String,
    class: char,
    verdict: &'static str,
    stacks: usize,
}

/// Where it is documented, with a link where the text names one.
#[derive(Serialize)]
struct Reference {
    text: String,
    href: String,
}

#[derive(Serialize)]
pub(super) struct CauseList {
    causes: Vec<CauseLine>,
}

#[derive(Serialize)]
struct CauseLine {
    id: String,
    href: String,
    summary: String,
    fault: String,
    cases: usize,
}

/// How many pieces of evidence a page shows.
const EVIDENCE: usize = 8;

/// The causes with their victims, those with the most victims first.
pub(super) fn of(context: &Context<'_>) -> Causes {
    let mut found: BTreeMap<&str, (&Cause, CausePage)> = BTreeMap::new();
    for (group, row) in context.matrix.rows() {
        // By cause: its worst verdict, and on how many stacks.
        let mut here: BTreeMap<&str, (&Cause, crate::Verdict, usize)> = BTreeMap::new();
        for placed in row.cells.iter().flatten() {
            let Some(cause) = &placed.case.cause else {
                continue;
            };
            let entry = here
                .entry(&cause.id)
                .or_insert((cause, placed.case.verdict, 0));
            entry.2 += 1;
            if placed.case.verdict.severity() > entry.1.severity() {
                entry.1 = placed.case.verdict;
            }
        }
        for (id, (cause, verdict, stacks)) in here {
            let (_, page) = found
                .entry(id)
                .or_insert_with(|| (cause, page(context, cause)));
            page.see(cause);
            page.count += 1;
            let victim = Victim {
                name: crate::matrix::name_in_family(row.id).to_owned(),
                href: links::case(context, group.kind, row.id),
                class: class(verdict),
                verdict: verdict.name(),
                stacks,
            };
            match page
                .victims
                .last_mut()
                .filter(|known| known.group == group.name)
            {
                Some(known) => known.cases.push(victim),
                None => page.victims.push(victims(group.kind, group.name, victim)),
            }
        }
    }
    let mut causes: Vec<CausePage> = found.into_values().map(|(_, page)| page).collect();
    causes.sort_by_key(|page| std::cmp::Reverse(page.count));
    Causes { causes }
}

fn victims(kind: CaseKind, group: &str, first: Victim) -> Victims {
    Victims {
        group: group.to_owned(),
        href: links::group(kind, group),
        cases: vec![first],
    }
}

fn page(context: &Context<'_>, cause: &Cause) -> CausePage {
    let mut words = (context.background.causes.get(&cause.id).cloned()).unwrap_or_default();
    if words.summary.is_empty() {
        words.summary.clone_from(&cause.summary);
    }
    CausePage {
        id: cause.id.clone(),
        references: words
            .references
            .iter()
            .map(|text| reference(text))
            .collect(),
        words,
        evidence: Vec::new(),
        victims: Vec::new(),
        count: 0,
    }
}

impl CausePage {
    fn see(&mut self, cause: &Cause) {
        for piece in &cause.evidence {
            if self.evidence.len() < EVIDENCE && !self.evidence.contains(piece) {
                self.evidence.push(piece.clone());
            }
        }
    }
}

/// Every cause, as the list shows it.
pub(super) fn list(context: &Context<'_>) -> CauseList {
    let line = |page: CausePage| CauseLine {
        href: links::cause(&page.id),
        id: page.id,
        summary: page.words.summary,
        fault: page.words.fault,
        cases: page.count,
    };
    CauseList {
        causes: of(context).causes.into_iter().map(line).collect(),
    }
}

/// `owner/repo#7` is an issue on GitHub, what begins with `https://` a link; all else is text.
fn reference(text: &str) -> Reference {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let issue = text.split_once('#').and_then(|(repository, number)| {
        let (owner, name) = repository.split_once('/')?;
        let number = number.parse::<u64>().ok()?;
        (plain(owner) && plain(name))
            .then(|| format!("https://github.com/{owner}/{name}/issues/{number}"))
    });
    let address = text.starts_with("https://").then(|| text.to_owned());
    Reference {
        text: text.to_owned(),
        href: issue.or(address).unwrap_or_default(),
    }
}
