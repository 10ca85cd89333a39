//! How a timed case's speed on the volume compares with that of a local directory.

use std::{fs, io, path::Path, time::Duration};

use results::{Observation, Outcome};

use super::{Run, Side, last_lines};
use crate::tools::{emulated, pace};

impl Run<'_> {
    /// Measures how the case's time on this side compares with a local directory's on the same machine. Where this kernel
    /// cannot tell, neither side says anything of its speed.
    pub(super) fn pace(&self, side: Side, observation: &mut Observation) {
        if let Some(why) = emulated::why() {
            return add(observation, &format!("its speed was not judged: {why}"));
        }
        let fact = |kept: bool| if kept { "kept" } else { "lost" }.to_owned();
        let name = results::verdict::SPEED.to_owned();
        if side == Side::Native {
            observation.facts.insert(name, fact(true));
            return;
        }
        let timed = |dir: &Path| -> io::Result<Duration> {
            fs::create_dir(dir)?;
            let ran = self.script(dir, self.limit(), None)?.ran;
            match ran.status.and_then(|status| status.code()) {
                code if code == Some(self.case.expect.exit) => {
                    Ok(ran.timed.unwrap_or(ran.duration))
                }
                _ => Err(io::Error::other(format!(
                    "a run failed: {}",
                    last_lines(&ran.output, 2)
                ))),
            }
        };
        let local = tempfile::Builder::new().prefix("probe9p-native-").tempdir();
        let measured = local.and_then(|local| {
            pace::by_turns(|place, round| {
                let base = match place {
                    pace::Place::Local => local.path(),
                    pace::Place::Here => self.dir,
                };
                timed(&base.join(format!("probe9p-timed-{round}")))
            })
        });
        match measured {
            Ok(pace) => {
                observation.facts.insert(name, fact(!pace.is_slow()));
                if pace.seems_slow() {
                    add(observation, &pace.to_string());
                }
            }
            Err(error) => {
                observation.outcome = Outcome::Error;
                observation.detail = format!("its time could not be measured: {error}");
            }
        }
    }
}

/// Says more of what was seen.
fn add(observation: &mut Observation, words: &str) {
    let words = [&*observation.detail, words];
    observation.detail = words.join(" ").trim().to_owned();
}
