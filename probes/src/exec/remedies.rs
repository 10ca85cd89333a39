//! Remedies that need no knowledge of the command: the same client with another cache mode, or another kind of volume.

use results::{Observation, Remedy, Verdict, verdict::judge};
use server9p::stack::{Cache, StackError, local::Local};

use super::{Ran, Request, observations};
use crate::{
    case::Other,
    runner::{cancel::Cancel, volume::Wanted},
};

/// Runs the command on every other volume that the client can have, and says which of them helps.
///
/// `native` are the runs that the volume's own was compared with.
///
/// # Errors
/// [`StackError::Cancelled`] when the run was stopped; a volume that cannot be had is a remedy that was not run.
pub fn try_all(
    wanted: &Wanted,
    request: &Request,
    native: &[Ran],
    cancel: &Cancel,
) -> Result<Vec<Remedy>, StackError> {
    let caches = Cache::ALL
        .into_iter()
        .filter(|cache| *cache != wanted.cache && *cache != Cache::None);
    let locals = [Local::Ram, Local::Storage].map(Other::Local);
    let others = caches.map(Other::Cache).chain(locals);
    others
        .map(|other| {
            let tried = match wanted.other(other) {
                Ok(side) => {
                    cancel.watch(&side.world);
                    super::run(&side, request)
                }
                Err(error) => Err(error),
            };
            let (verified, detail) = match tried {
                Ok(ran) => {
                    let (natively, there) = observations(native, &ran);
                    helps(&natively, &there)
                }
                Err(StackError::Cancelled) => return Err(StackError::Cancelled),
                Err(why) => (false, format!("was not run: {why}")),
            };
            let remedy = other.remedy();
            Ok(Remedy {
                id: remedy.id,
                title: remedy.title,
                verified,
                detail,
            })
        })
        .collect()
}

fn helps(natively: &Observation, there: &Observation) -> (bool, String) {
    let (verdict, note) = judge(std::slice::from_ref(natively), std::slice::from_ref(there));
    (matches!(verdict, Verdict::Works | Verdict::Degraded), note)
}
