//! The matrix in a terminal. Stacks are numbered, so that twelve of them fit; a case has a line of its own where it
//! does not work on every stack.

use std::fmt::Write as _;

use crate::{
    Matrix, Verdict,
    matrix::{Placed, Row},
    text::{clean, columns, pad_left, pad_right, shorten},
};

/// The least columns that a stack takes: `12/34`.
const CELL: usize = 7;
/// The most columns that names take.
const NAMES: usize = 34;

pub(super) fn table(matrix: &Matrix<'_>, width: usize) -> String {
    let mut text = String::new();
    for (number, stack) in matrix.stacks.iter().enumerate() {
        let line = format!("{:>3}  {} · {}", number + 1, stack.name(), stack.about());
        let _ = writeln!(text, "{}", shorten(&clean(&line), width));
    }
    let room = width.saturating_sub(CELL * matrix.stacks.len()).max(12);
    let names = matrix.rows().map(|(_, row)| columns(&clean(row.id)) + 2);
    let names = names.max().unwrap_or(0).clamp(12, NAMES.min(room));
    let heads: String = (1..=matrix.stacks.len())
        .map(|n| pad_left(&n.to_string(), CELL))
        .collect();
    let _ = writeln!(text, "\n{}{heads}", " ".repeat(names));
    for group in &matrix.groups {
        let sums = (0..matrix.stacks.len()).map(|at| {
            let cells = group.rows.iter().filter_map(|row| row.cells[at]);
            pad_left(&sum(cells), CELL)
        });
        let name = pad_right(&shorten(&clean(group.name), names), names);
        let _ = writeln!(
            text,
            "{}",
            format!("{name}{}", sums.collect::<String>()).trim_end()
        );
        for row in group.rows.iter().filter(|row| !row.works_everywhere()) {
            let name = pad_right(&shorten(&format!("  {}", clean(row.id)), names), names);
            let _ = writeln!(text, "{}", format!("{name}{}", cells(row)).trim_end());
        }
    }
    let legend: Vec<String> = (Verdict::ALL.iter())
        .map(|verdict| format!("{} {verdict}", verdict.symbol()))
        .collect();
    let _ = write!(
        text,
        "\n{}\nA tool's or family's line says how many of its cases work; cases that work everywhere have none.\n",
        legend.join("  ")
    );
    text
}

fn cells(row: &Row<'_>) -> String {
    let symbol = |placed: &Option<Placed<'_>>| {
        placed.map_or(String::new(), |placed| {
            placed.case.verdict.symbol().to_string()
        })
    };
    row.cells
        .iter()
        .map(|cell| pad_left(&symbol(cell), CELL))
        .collect()
}

fn sum<'a>(cells: impl Iterator<Item = Placed<'a>>) -> String {
    let verdicts: Vec<Verdict> = cells.map(|placed| placed.case.verdict).collect();
    let tried = verdicts
        .iter()
        .filter(|v| !matches!(v, Verdict::Skipped | Verdict::Invalid));
    let works = verdicts
        .iter()
        .filter(|v| matches!(v, Verdict::Works | Verdict::Degraded));
    match tried.count() {
        0 if verdicts.is_empty() => String::new(),
        0 => "–".into(),
        tried => format!("{}/{tried}", works.count()),
    }
}
