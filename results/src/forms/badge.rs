//! Badges: a tool on the volumes of a profile in a dozen words, as an SVG for a README.

use std::collections::BTreeMap;

use unicode_width::UnicodeWidthStr as _;

use crate::{
    CaseKind, CaseResult, Matrix, Verdict,
    forms::helps::least_remedies,
    matrix::{Column, Group, slug},
    pages::escape_html,
    text::{clean, shorten},
};

/// What a badge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    /// Its file, `sqlite-golem.svg`.
    pub file: String,
    /// What it is about: `sqlite on Golem volumes`.
    pub label: String,
    /// How it does: `works with DELETE`.
    pub message: String,
    /// The worst verdict that counts, which gives the colour.
    worst: Verdict,
}

/// A badge for each tool and profile that has a result with nothing cached: of the most faithful stack.
pub fn badges(matrix: &Matrix<'_>) -> Vec<Badge> {
    let mut badges = BTreeMap::new();
    for group in matrix
        .groups
        .iter()
        .filter(|group| group.kind == CaseKind::Tool)
    {
        let results = |at: usize| group.results(at);
        let most = (0..matrix.stacks.len()).map(results).max();
        // Columns are in the order of how faithful they are, so the first one wins; a run of a few of the cases, or
        // one that was interrupted, does not speak for the tool.
        for (at, column) in matrix.stacks.iter().enumerate() {
            let profile = &column.latest().stack.profile;
            if Some(results(at)) != most {
                continue;
            }
            if column.latest().stack.cache != "none" || badges.contains_key(&(group.name, profile))
            {
                continue;
            }
            if let Some(badge) = badge(group, at, column) {
                badges.insert((group.name, profile), badge);
            }
        }
    }
    badges.into_values().collect()
}

fn badge(group: &Group<'_>, at: usize, column: &Column<'_>) -> Option<Badge> {
    let cases = group
        .rows
        .iter()
        .filter_map(|row| row.cells[at].map(|placed| placed.case));
    let says = |case: &&CaseResult| !matches!(case.verdict, Verdict::Skipped | Verdict::Invalid);
    let cases: Vec<&CaseResult> = cases.filter(says).collect();
    let worst = cases
        .iter()
        .map(|case| case.verdict)
        .max_by_key(|v| v.severity())?;
    let profile = &column.latest().stack.profile;
    let volumes = match profile.as_str() {
        "golem" => "Golem volumes".to_owned(),
        "qemu" => "QEMU volumes".to_owned(),
        other => format!("9p volumes ({other})"),
    };
    Some(Badge {
        file: format!("{}.svg", slug(&format!("{}-{profile}", group.name))),
        label: clean(&format!("{} on {volumes}", shorten(group.name, 40))),
        message: clean(&message(&cases, worst)),
        worst,
    })
}

fn message(cases: &[&CaseResult], worst: Verdict) -> String {
    let fine = |case: &&&CaseResult| matches!(case.verdict, Verdict::Works | Verdict::Degraded);
    match worst {
        Verdict::Works => "works".into(),
        Verdict::Degraded => "works, degraded".into(),
        Verdict::Workaround => {
            let mut words: Vec<String> = least_remedies(cases)
                .iter()
                .map(|remedy| short(&remedy.id, &remedy.title))
                .collect();
            words.dedup();
            match words.len() {
                1 | 2 => format!("works with {}", words.join(" and "))
                    .replace("with without ", "without "),
                _ => "works with remedies".into(),
            }
        }
        _ => match cases.iter().filter(fine).count() {
            0 => worst.name().into(),
            works => format!("{works} of {} cases work", cases.len()),
        },
    }
}

/// A remedy in a word or two: the value that it sets, where its title has one (`PRAGMA journal_mode=DELETE instead
/// of WAL` is `DELETE`), the whole setting where that is a number or a path; else its id.
fn short(id: &str, title: &str) -> String {
    let setting = title.split_whitespace().find(|word| word.contains('='));
    let setting = setting.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/'));
    match setting.and_then(|word| word.split_once('=')) {
        Some((_, value))
            if value.len() > 2 && value.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') =>
        {
            value.to_owned()
        }
        Some((name, value)) if !name.is_empty() && !value.is_empty() && !value.contains('\'') => {
            format!("{name}={value}")
        }
        _ => id.replace('-', " "),
    }
}

impl Badge {
    /// The picture: its words stand in it for those who cannot see it, and the verdict never by colour alone.
    pub fn svg(&self) -> String {
        // 11 pixels of a sans serif are about 6.3 wide on the average; textLength makes it fit in any font.
        let wide = |text: &str| (text.width() as f64 * 6.3).ceil() as u32;
        let (label, message) = (wide(&self.label), wide(&self.message));
        let (left, right) = (label + 14, message + 14);
        let whole = left + right;
        let ground = match self.worst {
            Verdict::Works => "#1a7f43",
            Verdict::Degraded | Verdict::Workaround | Verdict::Unstable => "#8a5a00",
            _ => "#b3202c",
        };
        let [about, said] = [&self.label, &self.message].map(|text| escape_html(text));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole}\" height=\"20\" role=\"img\" \
             aria-label=\"{about}: {said}\"><title>{about}: {said}</title>\
             <rect width=\"{whole}\" height=\"20\" rx=\"3\" fill=\"{ground}\"/>\
             <path d=\"M3 0h{inner}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z\" fill=\"#444\"/>\
             <g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">\
             <text x=\"7\" y=\"14\" textLength=\"{label}\">{about}</text>\
             <text x=\"{at}\" y=\"14\" textLength=\"{message}\">{said}</text></g></svg>\n",
            inner = left - 3,
            at = left + 7,
        )
    }
}
