//! Two runs of a command as observations: the facts of both, made so that what differs can be read.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use results::{Observation, Outcome};
use server9p::stack::{Ended, Finished};

use super::{Ran, Tree, tree::short_digest};

/// How many differing names are given one by one.
const NAMED: usize = 50;
/// Longest output that is given in full, in bytes.
const QUOTED: usize = 16 * 1024;

/// The observation of a run that is compared with nothing.
pub fn alone(ran: &Ran) -> Observation {
    let mut seen = ended(ran);
    if seen.outcome == Outcome::Ok && seen.exit_code != Some(0) {
        seen.outcome = Outcome::Error;
    }
    seen
}

/// The observations of a command natively, once or twice, and on the volume.
///
/// Where two native runs were made, what differs between those is left out on all sides and named in the volume's
/// detail: the command itself is not the same each time.
pub fn observations(native: &[Ran], volume: &Ran) -> (Observation, Observation) {
    let Some(first) = native.first() else {
        return (Observation::default(), alone(volume));
    };
    let (mut natively, mut on_volume) = (ended(first), ended(volume));
    // A command that could not be started, or that its shell could not find, proves nothing.
    if matches!(natively.exit_code, Some(126 | 127)) {
        natively.outcome = Outcome::Error;
        natively.detail = last_line(first);
    }
    let mut varies = BTreeSet::new();
    let mut compare = |name: &str, of: &dyn Fn(&Ran) -> Option<String>| {
        let (left, right) = (of(first), of(volume));
        if native.iter().any(|again| of(again) != left) {
            varies.insert(name.to_owned());
            return;
        }
        natively
            .facts
            .extend(left.map(|value| (name.to_owned(), value)));
        on_volume
            .facts
            .extend(right.map(|value| (name.to_owned(), value)));
    };
    let streams: [(&str, Stream); 2] = [
        ("output", |finished| &finished.stdout),
        ("error output", |finished| &finished.stderr),
    ];
    for (name, stream) in streams {
        compare(name, &|ran| output(ran, stream, None));
    }
    let names: BTreeSet<String> = native.iter().chain([volume]).flat_map(names).collect();
    let differing: Vec<&String> = names
        .iter()
        .filter(|name| entry(first, name) != entry(volume, name))
        .collect();
    for name in differing.iter().take(NAMED) {
        compare(&format!("tree: {name}"), &|ran| entry(ran, name));
    }
    if differing.len() > NAMED {
        let rest: BTreeSet<&String> = differing[NAMED..].iter().copied().collect();
        compare(&format!("tree: {} other names", rest.len()), &|ran| {
            let parts: Vec<String> = rest.iter().filter_map(|name| entry(ran, name)).collect();
            Some(format!(
                "sha256 {}",
                short_digest(parts.join("\n").as_bytes())
            ))
        });
    }
    for (name, stream) in streams {
        // What is too long to be told whole is told by where it begins to differ.
        if natively.facts.get(name) != on_volume.facts.get(name)
            && let (Some(left), Some(right)) = (text(first, stream), text(volume, stream))
        {
            let at = Some(lines_alike(&left, &right));
            for (ran, seen) in [(first, &mut natively), (volume, &mut on_volume)] {
                seen.facts
                    .extend(output(ran, stream, at).map(|value| (name.to_owned(), value)));
            }
        }
    }
    if !varies.is_empty() && on_volume.outcome == Outcome::Ok {
        let varies: Vec<String> = varies.into_iter().collect();
        on_volume.detail = format!(
            "not compared, because it varies natively too: {}",
            varies.join(", ")
        );
    }
    (natively, on_volume)
}

fn tree(ran: &Ran) -> Option<&Tree> {
    match ran {
        Ran::Ended { tree, .. } => tree.as_ref(),
        Ran::NotSeeded(_) => None,
    }
}

fn names(ran: &Ran) -> Vec<String> {
    tree(ran)
        .map(|tree| tree.entries.keys().cloned().collect())
        .unwrap_or_default()
}

fn entry(ran: &Ran, name: &str) -> Option<String> {
    tree(ran)?.entries.get(name).cloned()
}

/// How a run ended, without its facts.
fn ended(ran: &Ran) -> Observation {
    let finished = match ran {
        Ran::NotSeeded(refused) => {
            return Observation {
                outcome: Outcome::Error,
                call: Some(refused.call.clone()),
                errno: Some(refused.errno.clone()),
                detail: format!(
                    "the seed could not be copied in: {}({}) failed: {}",
                    refused.call, refused.name, refused.errno
                ),
                ..Observation::default()
            };
        }
        Ran::Ended { finished, .. } => finished,
    };
    let mut seen = Observation {
        outcome: Outcome::Ok,
        duration_ms: finished.duration.as_secs_f64() * 1e3,
        ..Observation::default()
    };
    match finished.ended {
        Ended::Code(code) => seen.exit_code = Some(code),
        Ended::Signal(number) => {
            seen.outcome = Outcome::Signal;
            let name = Signal::try_from(number)
                .map_or_else(|_| format!("signal {number}"), |s| s.to_string());
            seen.detail = last_line(ran);
            seen.signal = Some(name);
        }
        Ended::TimedOut => {
            seen.outcome = Outcome::Timeout;
            seen.detail = last_line(ran);
        }
        Ended::Crashed => {
            seen.outcome = Outcome::Signal;
            seen.detail = "the kernel it ran on died".to_owned();
        }
    }
    seen
}

fn last_line(ran: &Ran) -> String {
    let Ran::Ended { finished, .. } = ran else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&finished.stderr);
    text.lines()
        .rfind(|line| !line.trim().is_empty())
        .map(|line| format!("its last words: {line}"))
        .unwrap_or_default()
}

/// How many lines two texts have in common before they differ.
pub fn lines_alike(one: &str, other: &str) -> usize {
    let pairs = one.lines().zip(other.lines());
    pairs.take_while(|(a, b)| a == b).count()
}

/// One of a command's outputs.
type Stream = fn(&Finished) -> &Vec<u8>;

/// An output, in words that two directories do not make different.
fn text(ran: &Ran, of: Stream) -> Option<String> {
    let Ran::Ended { finished, dir, .. } = ran else {
        return None;
    };
    let text = String::from_utf8_lossy(of(finished));
    Some(text.replace(&dir.display().to_string(), "$PROBE9P_DIR"))
}

/// An output as it is told: whole, or by its size, digest, and the line after the first `alike` ones.
fn output(ran: &Ran, of: Stream, alike: Option<usize>) -> Option<String> {
    let text = text(ran, of)?;
    Some(match text.trim_end() {
        "" => "empty".to_owned(),
        short if short.len() <= QUOTED => short.to_owned(),
        long => {
            let (lines, digest) = (long.lines().count(), short_digest(text.as_bytes()));
            let mut told = format!("{lines} lines, {} bytes, sha256 {digest}", text.len());
            if let Some(alike) = alike {
                let line = long.lines().nth(alike).unwrap_or("(no more)");
                let line: String = line.chars().take(200).collect();
                told += &format!("; line {}: {line}", alike + 1);
            }
            told
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use results::{Verdict, verdict::judge};

    use super::*;

    fn ran(ended: Ended, stdout: &str, tree: &[(&str, &str)]) -> Ran {
        let entries = tree
            .iter()
            .map(|(name, what)| ((*name).to_owned(), (*what).to_owned()))
            .collect();
        Ran::Ended {
            finished: Finished {
                ended,
                stdout: stdout.into(),
                stderr: Vec::new(),
                duration: Duration::from_millis(5),
                trace: None,
            },
            dir: PathBuf::from("/volume/1-exec"),
            tree: Some(Tree { entries }),
        }
    }

    fn verdict(native: &[Ran], volume: &Ran) -> (Verdict, String) {
        let (native, volume) = observations(native, volume);
        judge(&[native], &[volume])
    }

    #[test]
    fn the_same_is_works_whatever_the_exit_code() {
        for code in [0, 3] {
            let one = ran(Ended::Code(code), "x", &[("a", "file")]);
            assert_eq!(verdict(std::slice::from_ref(&one), &one).0, Verdict::Works);
        }
    }

    #[test]
    fn exit_code_output_and_tree_are_compared() {
        let plain = ran(Ended::Code(0), "x", &[("a", "file")]);
        for other in [
            ran(Ended::Code(1), "x", &[("a", "file")]),
            ran(Ended::Code(0), "y", &[("a", "file")]),
            ran(Ended::Code(0), "x", &[("a", "directory")]),
            ran(Ended::Code(0), "x", &[]),
        ] {
            assert_eq!(
                verdict(std::slice::from_ref(&plain), &other).0,
                Verdict::Fails,
                "{other:?}"
            );
        }
        let (_, note) = verdict(&[plain], &ran(Ended::Code(0), "x", &[("a", "directory")]));
        assert!(
            note.contains("tree: a is directory on the volume, file natively"),
            "{note}"
        );
    }

    #[test]
    fn what_varies_natively_is_not_held_against_the_volume() {
        let run = |text| ran(Ended::Code(0), text, &[]);
        assert_eq!(
            verdict(&[run("pid 1"), run("pid 2")], &run("pid 3")).0,
            Verdict::Works
        );
        assert_eq!(
            verdict(&[run("pid 1"), run("pid 1")], &run("pid 3")).0,
            Verdict::Fails
        );
    }

    #[test]
    fn a_command_that_is_not_there_says_nothing_of_the_volume() {
        let missing = ran(Ended::Code(127), "", &[]);
        assert_eq!(
            verdict(std::slice::from_ref(&missing), &missing).0,
            Verdict::Invalid
        );
    }

    #[test]
    fn directories_have_different_names_on_both_sides() {
        let mut native = ran(Ended::Code(0), "in /native/1-exec/a", &[]);
        if let Ran::Ended { dir, .. } = &mut native {
            *dir = PathBuf::from("/native/1-exec");
        }
        let volume = ran(Ended::Code(0), "in /volume/1-exec/a", &[]);
        assert_eq!(verdict(&[native], &volume).0, Verdict::Works);
    }
}
