//! Comma-separated values (RFC 4180), a line a result: for spreadsheets.

use crate::{Matrix, text::clean};

const HEAD: &str = "case,kind,stack,client,server,profile,kernel,cache,filesystem,verdict,call,errno,cause,\
                    verified_remedies,note,native_ms,volume_ms,run,since";

pub(super) fn csv(matrix: &Matrix<'_>) -> String {
    let mut text = format!("{HEAD}\r\n");
    for (group, row) in matrix.rows() {
        for (column, placed) in matrix.stacks.iter().zip(&row.cells) {
            let Some(placed) = placed else { continue };
            let (case, run) = (placed.case, placed.run);
            let (stack, host) = (&run.stack, &run.host);
            let remedies = case.remedies.iter().filter(|remedy| remedy.verified);
            let remedies: Vec<&str> = remedies.map(|remedy| remedy.id.as_str()).collect();
            let fields = [
                row.id,
                crate::site::kind(group.kind),
                &column.id,
                &stack.client,
                &stack.server,
                &stack.profile,
                &stack.kernel,
                &stack.cache,
                &host.filesystem,
                case.verdict.name(),
                case.volume.call.as_deref().unwrap_or_default(),
                case.volume.errno.as_deref().unwrap_or_default(),
                case.cause.as_ref().map_or("", |cause| &cause.id),
                &remedies.join(" "),
                &case.note,
                &case.native.duration_ms.to_string(),
                &case.volume.duration_ms.to_string(),
                &run.run_id,
                &placed.since.started,
            ];
            text += &fields.map(field).join(",");
            text += "\r\n";
        }
    }
    text
}

/// A field, quoted where it must be. One that a spreadsheet would take for a formula begins with an apostrophe.
fn field(text: &str) -> String {
    let text = clean(text);
    let text = if text.starts_with(['=', '+', '-', '@']) {
        format!("'{text}")
    } else {
        text
    };
    if text.contains(['"', ',']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}
