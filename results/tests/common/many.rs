//! A matrix of the size that the site is made for.

use super::{case, error, ok, remedy, stack, started};
use results::Report;

/// As many results as someone may publish: their mix is that of the operation cases on FUSE, UML and the reference,
/// of which a fifth does not work, nearly all of them alike on every stack.
pub fn many(tools: usize, cases: usize, stacks: usize) -> Vec<Report> {
    let mmap = results::Cause {
        id: "mmap-shared-writable".into(),
        summary: "With cache=none v9fs refuses shared mappings of files that are open for writing."
            .into(),
        evidence: vec![
            "mmap(db-shm, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, offset 0) = EINVAL".into(),
        ],
    };
    let of_case = |tool: usize, number: usize, at: usize| {
        let id = format!("tool-{tool:02}.case_{number:03}");
        let title = format!("keeps what it wrote in step {number} when it is read again");
        let kind = (tool * 7 + number * 13) % 100;
        let bad = match kind {
            0..18 => true,
            18 => at < stacks / 2,
            19 => at.is_multiple_of(4),
            20 => at == stacks - 1,
            _ => false,
        };
        if !bad {
            return case(&id, &title, ok(1.0), ok(2.0));
        }
        let failed = error("mmap", "EINVAL", "disk I/O error");
        let mut case = case(&id, &title, ok(1.0), failed);
        case.cause = Some(mmap.clone());
        if (14..18).contains(&kind) {
            case.remedies = vec![remedy(
                "journal-mode-delete",
                "PRAGMA journal_mode=DELETE instead of WAL",
                true,
                "",
            )];
            case.verdict = results::with_remedies(case.verdict, &case.remedies);
        }
        case
    };
    (0..stacks)
        .map(|at| {
            let cases = (0..tools).flat_map(|tool| (0..cases).map(move |number| (tool, number)));
            let mut all: Vec<_> = cases
                .map(|(tool, number)| of_case(tool, number, at))
                .collect();
            for case in &mut all {
                case.kind = results::CaseKind::Tool;
            }
            let clients = ["qemu", "uml", "fuse"];
            let kernel = if at % 2 == 0 { "5.10" } else { "6.1" };
            let mut stack = stack(clients[at / 4 % 3], kernel);
            stack.server = if at < 2 { "qemu" } else { "server9p" }.into();
            stack.cache = if at % 4 < 2 { "none" } else { "mmap" }.into();
            let mut report = Report::begin(&started(stack, &[]));
            report.run_id = format!("20261123T0601{at:02}Z-{at:04x}");
            report.finished = Some("2026-11-23T07:00:00Z".into());
            report.cases = all;
            report
        })
        .collect()
}
