//! Throughput: what [`crate::pages`] draws and tabulates, for all stacks.

use serde::Serialize;

use super::Context;
use crate::pages::throughput::{Workload, workloads};

#[derive(Serialize)]
pub(super) struct Throughput {
    pub workloads: Vec<Workload>,
}

pub(super) fn of(context: &Context<'_>) -> Throughput {
    let runs: Vec<_> = context
        .matrix
        .stacks
        .iter()
        .map(|column| column.runs.clone())
        .collect();
    Throughput {
        workloads: workloads(&runs),
    }
}
