//! From how a case's process ended to what it saw.

use std::time::Duration;

use nix::sys::signal::Signal;
use results::{Observation, Outcome};
use server9p::stack::{Ended, Finished};

/// What a child's end says: its own observation if it came to write one, else how it ended.
pub fn observation(finished: &Finished, limit: Duration) -> Observation {
    let duration_ms = finished.duration.as_secs_f64() * 1e3;
    let ended_by = |outcome, signal, detail: String| Observation {
        outcome,
        signal,
        detail: format!("{detail}{}", said(&finished.stderr)),
        duration_ms,
        ..Observation::default()
    };
    match finished.ended {
        Ended::TimedOut => ended_by(
            Outcome::Timeout,
            None,
            format!("did not end within {:.0} s", limit.as_secs_f64()),
        ),
        Ended::Crashed => ended_by(Outcome::Signal, None, "the kernel it ran on died".into()),
        Ended::Signal(number) => {
            let name = Signal::try_from(number)
                .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string());
            ended_by(
                Outcome::Signal,
                Some(name.clone()),
                format!("ended by {name}"),
            )
        }
        Ended::Code(code) => match last_line(&finished.stdout) {
            Some(observation) => Observation {
                // A child that measured nothing is measured from outside.
                duration_ms: if observation.duration_ms > 0.0 {
                    observation.duration_ms
                } else {
                    duration_ms
                },
                ..observation
            },
            None => Observation {
                exit_code: Some(code),
                ..ended_by(
                    Outcome::Error,
                    None,
                    format!("the case's process ended with code {code} and told nothing"),
                )
            },
        },
    }
}

/// The observation that a child printed last.
pub fn last_line(stdout: &[u8]) -> Option<Observation> {
    let line = stdout
        .trim_ascii_end()
        .rsplit(|&byte| byte == b'\n')
        .next()?;
    serde_json::from_slice(line).ok()
}

/// The last lines of a child's standard error, to follow a sentence.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    match lines.as_slice() {
        [] => String::new(),
        lines => format!(
            "; it said: {}",
            lines[lines.len().saturating_sub(3)..].join(" / ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(ended: Ended, stdout: &str, stderr: &str) -> Finished {
        Finished {
            ended,
            stdout: stdout.into(),
            stderr: stderr.into(),
            duration: Duration::from_millis(1500),
            trace: None,
        }
    }

    #[test]
    fn a_child_s_own_observation_is_the_last_line() {
        let text = "noise\n{\"outcome\":\"ok\",\"duration_ms\":2.5}\n";
        let seen = observation(&finished(Ended::Code(0), text, "x"), Duration::from_secs(9));
        assert_eq!((seen.outcome, seen.duration_ms), (Outcome::Ok, 2.5));
    }

    #[test]
    fn a_child_that_tells_nothing_is_an_error_with_its_last_words() {
        let seen = observation(
            &finished(Ended::Code(101), "", "a\n\nb\n"),
            Duration::from_secs(9),
        );
        assert_eq!((seen.outcome, seen.exit_code), (Outcome::Error, Some(101)));
        assert_eq!(
            seen.detail,
            "the case's process ended with code 101 and told nothing; it said: a / b"
        );
    }

    #[test]
    fn signals_and_limits_count_even_when_something_was_printed() {
        let text = "{\"outcome\":\"ok\",\"duration_ms\":2.5}\n";
        let seen = observation(
            &finished(Ended::Signal(7), text, ""),
            Duration::from_secs(9),
        );
        assert_eq!(
            (seen.outcome, seen.signal.as_deref()),
            (Outcome::Signal, Some("SIGBUS"))
        );
        let seen = observation(&finished(Ended::TimedOut, text, ""), Duration::from_secs(9));
        assert_eq!(
            (seen.outcome, seen.detail.as_str()),
            (Outcome::Timeout, "did not end within 9 s")
        );
    }
}
