//! How nearly each stack behaves as the reference: QEMU's own server with a real guest.

use serde::Serialize;

use super::{
    Context,
    changes::{Side, side},
    links,
};
use crate::{
    Report,
    fidelity::Agreement,
    matrix::{Column, series},
};

#[derive(Serialize)]
pub(super) struct FidelityPage {
    pub references: Vec<Reference>,
}

/// A reference, and the stacks of the same kernel series.
#[derive(Serialize)]
pub(super) struct Reference {
    label: String,
    href: String,
    about: String,
    series: String,
    candidates: Vec<Candidate>,
}

#[derive(Serialize)]
struct Candidate {
    label: String,
    href: String,
    percent: String,
    share: f64,
    agreed: usize,
    compared: usize,
    apart: usize,
    disagreements: Vec<Disagreement>,
}

#[derive(Serialize)]
struct Disagreement {
    id: String,
    href: String,
    reference: Side,
    candidate: Side,
}

pub(super) fn of(context: &Context<'_>) -> FidelityPage {
    let stacks = &context.matrix.stacks;
    let references = stacks.iter().filter(|column| is_reference(column));
    FidelityPage {
        references: references
            .map(|reference| self::reference(context, reference))
            .filter(|reference| !reference.candidates.is_empty())
            .collect(),
    }
}

fn is_reference(column: &Column<'_>) -> bool {
    let stack = &column.latest().stack;
    let name = [&stack.client, &stack.server, &stack.profile, &stack.cache];
    name == ["qemu", "qemu", "golem", "none"]
}

fn reference(context: &Context<'_>, reference: &Column<'_>) -> Reference {
    let kernel = |column: &Column<'_>| series(&column.latest().stack.kernel);
    let whole = whole(context, reference);
    let others = context
        .matrix
        .stacks
        .iter()
        .filter(|column| column.id != reference.id && kernel(column) == kernel(reference));
    Reference {
        label: links::label(reference),
        href: links::stack(&reference.id),
        about: reference.about(),
        series: kernel(reference),
        candidates: others
            .map(|column| candidate(context, &whole, column))
            .filter(|candidate| candidate.compared > 0)
            .collect(),
    }
}

/// One report of all that a stack has a result of.
fn whole(context: &Context<'_>, column: &Column<'_>) -> Report {
    column.whole(context.matrix.rows().map(|(_, row)| row.id))
}

fn candidate(context: &Context<'_>, reference: &Report, column: &Column<'_>) -> Candidate {
    let agreement = Agreement::of(reference, &whole(context, column));
    let disagreements = agreement.disagreements.iter().map(|case| Disagreement {
        href: links::case(context, case.kind, &case.id),
        id: case.id.clone(),
        reference: side(&case.reference),
        candidate: side(&case.candidate),
    });
    Candidate {
        label: links::label(column),
        href: links::stack(&column.id),
        percent: agreement.percent(),
        share: (agreement.share.unwrap_or(0.0) * 1000.0).floor() / 10.0,
        agreed: agreement.agreed,
        compared: agreement.compared,
        apart: agreement.apart.len(),
        disagreements: disagreements.collect(),
    }
}
