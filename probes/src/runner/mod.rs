//! Running cases natively and on a volume, side by side.
//!
//! In the order of a run: [`select`] turns names into cases ([`partition`]: a part of them), [`volume`] brings the volume up
//! ([`given`]: or takes one that is mounted already; [`stack_name`]: or one by its name; [`slowness`]: and how slow
//! it is), [`whole`] begins the run,
//! [`engine`] runs the cases on both sides ([`side`] is one execution, [`hand`] what the host does in it, [`observed`] what came of it) and emits the events of the `results` crate,
//! [`cancel`] ends it early. What the events become (a table, a file) is no matter of this module.

pub mod auto;
pub mod cancel;
pub mod clock;
pub mod engine;
pub mod given;
pub mod hand;
pub mod host;
mod observed;
pub mod partition;
mod prepare;
pub mod select;
pub mod side;
pub mod slowness;
pub mod stack_name;
pub mod volume;
pub mod whole;

use std::thread;

use results::CaseKind;

use self::volume::Client;
use crate::case::PlannedCase;

/// How many of these cases run at once unless someone says: one a processor in a guest, which has one of its own. Else one
/// more, since a case waits for the volume's processes about as long as it computes; and of operations, which do nothing
/// but wait, three a processor.
pub fn jobs(client: Client, cases: &[PlannedCase]) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let operations = cases.iter().all(|case| case.kind == CaseKind::Op);
    match client {
        Client::Uml | Client::Qemu => processors,
        Client::Auto | Client::Fuse | Client::Kernel if operations => 3 * processors,
        Client::Auto | Client::Fuse | Client::Kernel => processors + 1,
    }
}
