//! A failing case once more under strace, on both sides: which calls failed on the volume alone.

use std::{fs, io, path::Path, time::Duration};

use results::{Observation, Outcome};

use super::{Run, texts};
use crate::{
    strace::failing,
    tools::{
        calls::{self, FailedCall},
        find,
    },
};

/// How long a script may take under strace: so long, and so many times what it took without.
const TRACED_LEAST: Duration = Duration::from_secs(30);
const TRACED_TIMES: u32 = 15;

impl Run<'_> {
    /// Looks with strace at what fails on the volume alone, and adds it to the observation.
    pub(super) fn trace(&self, observation: &mut Observation) {
        if !find::on_path("strace") {
            observation
                .detail
                .push_str(" (strace would show the call that failed: apt-get install -y strace)");
            return;
        }
        // Programs with timers may get nowhere under strace in a guest, whose processor is slow.
        let usual = Duration::from_secs_f64(observation.duration_ms / 1e3);
        let limit = self.limit().min(TRACED_LEAST + usual * TRACED_TIMES);
        let traced = |dir: &Path| -> io::Result<(Observation, Vec<FailedCall>)> {
            fs::create_dir(dir)?;
            let done = self.script(dir, limit, Some("trace"))?;
            Ok((
                self.judge(&done.ran, &done.scratch, dir),
                failing::parse(&done.trace, dir),
            ))
        };
        let both = tempfile::Builder::new()
            .prefix("probe9p-native-")
            .tempdir()
            .and_then(|native| {
                let (again, volume) = traced(&self.dir.join("probe9p-traced"))?;
                let (_, native) = traced(&native.path().join("probe9p-traced"))?;
                Ok((again, failing::only_on_volume(volume, &native)))
            });
        match both {
            Ok((again, calls)) => {
                let remark = match again.outcome {
                    Outcome::Ok => " (it passed when it was run again under strace)",
                    Outcome::Timeout => {
                        " (under strace it did not get to its end within its limit)"
                    }
                    Outcome::Error | Outcome::Signal | Outcome::NotRun => "",
                };
                observation.detail.push_str(remark);
                // Only a run that came to the same end can tell which call led there.
                if again.outcome == observation.outcome
                    && let Some(call) = calls::complained_of(&calls, &observation.detail)
                {
                    observation.call = Some(call.call.clone());
                    observation.errno = Some(call.errno.clone());
                }
                observation.failed_calls = texts(calls, None);
            }
            Err(error) => {
                observation.detail.push_str(&format!(
                    " (it could not be run again under strace: {error})"
                ));
            }
        }
    }
}
