//! Two traces of one program, natively and on the volume, laid side by side: which calls failed or differ on the
//! volume alone, in the order in which they did.
//!
//! Calls are compared process by process (a process is known by whose which child it is, since pids differ), by a
//! longest common subsequence over their names and the files that they concern. Calls that are in both traces are
//! then compared in full. Where the program went another way, calls are in one trace alone; the first of them that
//! failed, or the call just before, is usually why.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;
use similar::{Algorithm, DiffOp};

use super::{
    line::{Call, End},
    normal,
};

/// How long laying one process's calls side by side may take before a coarser result is taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// A call as it is shown and compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The process, by whose which child it is: `0` the first, `0.2` its second child.
    pub process: String,
    /// The call's name.
    pub call: String,
    /// `openat(AT_FDCWD, "a", O_RDONLY) = a`.
    pub text: String,
    /// Its arguments, as in [`Self::text`].
    pub args: String,
    /// Name of the errno that it failed with.
    pub errno: Option<String>,
    /// When it began and was over at the latest, in seconds by the clock of where it ran.
    pub when: Option<(f64, f64)>,
    /// What it is recognised by in the other trace.
    key: String,
    /// What must be the same there.
    same: String,
}

/// What the volume did that the plain directory did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The call failed on the volume, and succeeded or failed otherwise natively, or was not made there.
    Fails,
    /// The call did not give what it gives natively.
    Differs,
    /// The program made this call on the volume alone.
    OnlyOnVolume,
    /// The program made this call natively alone.
    OnlyNatively,
}

/// A place where the traces are not the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// What it is.
    pub kind: Kind,
    /// The call natively, if it was made there.
    pub native: Option<Step>,
    /// The call on the volume, if it was made there.
    pub volume: Option<Step>,
}

/// The calls that concern files below `dir`, ready to be compared.
pub fn steps(calls: &[Call], dir: &Path) -> Vec<Step> {
    let concern = |call: &Call| normal::concerns(call, dir) && !is_about_the_program_itself(call);
    let concerned: HashSet<u32> = (calls.iter().filter(|call| concern(call)))
        .map(|call| call.pid)
        .collect();
    let names = processes(calls, &concerned);
    let name = |pid| names.get(&pid).cloned().unwrap_or_default();
    let ends = ends(calls);
    calls
        .iter()
        .zip(ends)
        .filter(|(call, _)| concern(call))
        .map(|(call, end)| step(call, end, dir, name(call.pid)))
        .collect()
}

/// When each call was over at the latest: when the next of its process began. What strace says that a call took does
/// not count from the time that it says it began at, but from when it had looked at the arguments.
fn ends(calls: &[Call]) -> Vec<f64> {
    let mut next: HashMap<u32, f64> = HashMap::new();
    let mut ends: Vec<f64> = Vec::with_capacity(calls.len());
    for call in calls.iter().rev() {
        let begun = call.begun.unwrap_or_default();
        let taken = begun + 2.0 * call.spent.unwrap_or_default();
        ends.push(next.insert(call.pid, begun).unwrap_or(taken));
    }
    ends.reverse();
    ends
}

/// Starting, and looking at oneself through /proc: of no interest, and different where the program is reached
/// by another path.
fn is_about_the_program_itself(call: &Call) -> bool {
    call.name == "execve" && matches!(&call.end, End::Value(_))
}

fn step(call: &Call, end: f64, dir: &Path, process: String) -> Step {
    let args = normal::text(&call.args, dir);
    let when = call.begun.map(|begun| (begun, end));
    let (end, errno) = match &call.end {
        End::Value(value) => (format!(" = {}", normal::text(value, dir)), None),
        End::Errno(errno) => (format!(" = {errno}"), Some(errno.clone())),
        End::Unknown => (" = ?".to_owned(), None),
        End::Signal => (String::new(), None),
    };
    let text = match &call.end {
        End::Signal => format!("{} {args}", call.name),
        _ => format!("{}({args}){end}", call.name),
    };
    // A path's length, which is no other's business.
    let end = match &*call.name {
        "getcwd" | "readlink" | "readlinkat" if errno.is_none() => String::new(),
        _ => end,
    };
    Step {
        key: normal::without_unique_names(&format!("{} {}", call.name, files(&args))),
        same: normal::without_unique_names(&format!("{args}{end}")),
        process,
        call: call.name.clone(),
        text,
        args,
        errno,
        when,
    }
}

/// The files among a call's arguments: names and open files, by which a call is known in both traces. What is read
/// or filled in does not count.
fn files(args: &str) -> String {
    let is_number = |piece: &str| {
        piece
            .trim_start_matches('-')
            .chars()
            .all(|c| c.is_ascii_digit())
    };
    let mut pieces = args.split(", ").filter(|piece| !is_number(piece));
    let first = pieces.next().unwrap_or_default();
    match first {
        // The name is what counts, and which flags it is opened with.
        "AT_FDCWD" => pieces.take(2).collect::<Vec<_>>().join(" "),
        // A mapping's file is the last but one.
        "NULL" | "ADDRESS" => pieces.collect::<Vec<_>>().join(" "),
        _ => first.to_owned(),
    }
}

/// What each process is called: `0` is the first, `0.1` its first child. Children are counted that are among `concerned`,
/// or have descendants there: a program may start others that have nothing to do with the directory on one side alone.
fn processes(calls: &[Call], concerned: &HashSet<u32>) -> HashMap<u32, String> {
    // A child's first calls may stand before its parent's `clone` has returned, but not before it began.
    let started: Vec<(u32, u32)> = calls.iter().filter_map(started).collect();
    let mut counted = concerned.clone();
    for (parent, child) in started.iter().rev() {
        if counted.contains(child) {
            counted.insert(*parent);
        }
    }
    let mut names: HashMap<u32, String> = HashMap::new();
    // A case that runs twice has one process after the other.
    let children: HashSet<u32> = started.iter().map(|(_, child)| *child).collect();
    for call in calls.iter().filter(|call| !children.contains(&call.pid)) {
        names.entry(call.pid).or_insert_with(|| "0".to_owned());
    }
    let mut count: HashMap<u32, u32> = HashMap::new();
    for (parent, child) in started {
        if counted.contains(&child) {
            let count = count.entry(parent).or_default();
            *count += 1;
            let parent = names.get(&parent).cloned().unwrap_or_default();
            names.insert(child, format!("{parent}.{count}"));
        }
    }
    names
}

/// The process that started another, and that one, if a call did.
fn started(call: &Call) -> Option<(u32, u32)> {
    let End::Value(value) = &call.end else {
        return None;
    };
    let starts = matches!(&*call.name, "clone" | "clone3" | "fork" | "vfork");
    let child = value.split_whitespace().next().filter(|_| starts)?;
    Some((call.pid, child.parse().ok()?))
}

/// Lays `volume` beside `native` and returns where they differ, oldest first by the volume's own time.
pub fn differences(native: &[Step], volume: &[Step]) -> Vec<Difference> {
    let mut order: Vec<&str> = Vec::new();
    for step in volume.iter().chain(native) {
        if !order.contains(&&*step.process) {
            order.push(&step.process);
        }
    }
    let mut found: Vec<(f64, Difference)> = Vec::new();
    for process in order {
        let of = |steps: &[Step]| -> Vec<Step> {
            let own = steps.iter().filter(|step| step.process == process);
            own.cloned().collect()
        };
        found.extend(of_process(&of(native), &of(volume)));
    }
    found.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    found
        .into_iter()
        .map(|(_, difference)| difference)
        .collect()
}

/// The differences of one process, each with the volume's time at which it stands.
fn of_process(native: &[Step], volume: &[Step]) -> Vec<(f64, Difference)> {
    let keys = |steps: &[Step]| -> Vec<String> { steps.iter().map(|s| s.key.clone()).collect() };
    let ops = similar::capture_diff_slices_deadline(
        Algorithm::Myers,
        &keys(native),
        &keys(volume),
        Some(Instant::now() + PATIENCE),
    );
    let mut found = Vec::new();
    // A process that is not there on the volume was not started, which is a consequence of all that was before.
    let first = volume
        .first()
        .map(|step| step.when.map_or(0.0, |(begun, _)| begun));
    let mut now = first.unwrap_or(f64::INFINITY);
    let mut add = |native: Option<&Step>, volume: Option<&Step>| {
        if let Some((begun, _)) = volume.and_then(|step| step.when) {
            now = begun;
        }
        if let Some(kind) = compared(native, volume) {
            let (native, volume) = (native.cloned(), volume.cloned());
            found.push((
                now,
                Difference {
                    kind,
                    native,
                    volume,
                },
            ));
        }
    };
    for op in ops {
        let (left, right) = (&native[op.old_range()], &volume[op.new_range()]);
        if let DiffOp::Equal { .. } = op {
            for (native, volume) in left.iter().zip(right) {
                add(Some(native), Some(volume));
            }
        } else {
            for step in right {
                add(None, Some(step));
            }
            for step in left {
                add(Some(step), None);
            }
        }
    }
    found
}

fn compared(native: Option<&Step>, volume: Option<&Step>) -> Option<Kind> {
    Some(match (native, volume) {
        (Some(native), Some(volume)) if native.errno == volume.errno => {
            if native.same == volume.same || native.errno.is_some() {
                return None;
            }
            Kind::Differs
        }
        (Some(_), Some(volume)) if volume.errno.is_some() => Kind::Fails,
        (Some(_), Some(_)) => Kind::Differs,
        (None, Some(volume)) if volume.errno.is_some() => Kind::Fails,
        (None, Some(_)) => Kind::OnlyOnVolume,
        (Some(_), None) => Kind::OnlyNatively,
        (None, None) => return None,
    })
}

/// Takes away what is different between two native runs as well: that is chance, and no evidence.
pub fn without_chance(differences: Vec<Difference>, chance: &[Difference]) -> Vec<Difference> {
    let key = |difference: &Difference| {
        let step = difference.volume.as_ref().or(difference.native.as_ref());
        let kind = match difference.kind {
            // Which run made the call once more is chance as well.
            Kind::OnlyOnVolume => Kind::OnlyNatively,
            kind => kind,
        };
        step.map(|step| (kind, step.key.clone(), step.errno.clone()))
    };
    let usual: HashSet<_> = chance.iter().map(key).collect();
    differences
        .into_iter()
        .filter(|difference| !usual.contains(&key(difference)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::line, *};

    fn trace(text: &str, dir: &str) -> Vec<Step> {
        steps(&line::read(text), Path::new(dir))
    }

    fn shown(found: &[Difference]) -> Vec<String> {
        let side = |step: &Option<Step>| step.as_ref().map_or("-".into(), |s| s.text.clone());
        found
            .iter()
            .map(|d| format!("{:?}: {} | {}", d.kind, side(&d.native), side(&d.volume)))
            .collect()
    }

    #[test]
    fn the_call_that_fails_on_the_volume_alone_is_found_whatever_its_numbers_are() {
        let native = trace(
            "10 1.0 openat(AT_FDCWD</n/1>, \"a\", O_RDWR|O_CREAT, 0644) = 3</n/1/a> <0.1>\n\
             10 1.2 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</n/1/a>, 0) = 0x7f1200000000 <0.1>\n\
             10 1.4 close(3</n/1/a>) = 0 <0.1>\n",
            "/n/1",
        );
        let volume = trace(
            "812 7.0 openat(AT_FDCWD</v/9>, \"a\", O_RDWR|O_CREAT, 0644) = 5</v/9/a> <0.1>\n\
             812 7.2 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 5</v/9/a>, 0) = -1 EINVAL (Invalid argument) <0.1>\n\
             812 7.4 close(5</v/9/a>) = 0 <0.1>\n",
            "/v/9",
        );
        assert_eq!(
            shown(&differences(&native, &volume)),
            [
                "Fails: mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, a, 0) = ADDRESS \
              | mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, a, 0) = EINVAL"
            ]
        );
        assert_eq!(differences(&native, &native), []);
    }

    #[test]
    fn what_a_program_does_otherwise_is_told_as_such() {
        let native = trace(
            "1 1.0 fstat(3</n/a>, {st_mode=S_IFREG|0644, st_size=5, ...}) = 0\n\
             1 1.1 rename(\"a\", \"b\") = 0\n\
             1 1.2 unlink(\"c\") = 0\n",
            "/n",
        );
        let volume = trace(
            "1 1.0 fstat(3</v/a>, {st_mode=S_IFREG|0600, st_size=5, ...}) = 0\n\
             1 1.1 link(\"a\", \"b\") = -1 EPERM (Operation not permitted)\n\
             1 1.2 unlink(\"c\") = 0\n",
            "/v",
        );
        assert_eq!(
            shown(&differences(&native, &volume)),
            [
                "Differs: fstat(a, {st_mode=S_IFREG|0644, st_size=5, ...}) = 0 \
                 | fstat(a, {st_mode=S_IFREG|0600, st_size=5, ...}) = 0",
                "Fails: - | link(\"a\", \"b\") = EPERM",
                "OnlyNatively: rename(\"a\", \"b\") = 0 | -",
            ]
        );
    }

    #[test]
    fn processes_are_known_by_whose_children_they_are() {
        let native = trace(
            "5 1.0 vfork( <unfinished ...>\n6 1.1 mkdir(\"x\", 0777) = 0\n5 1.2 <... vfork resumed>) = 6\n\
             5 1.3 vfork() = 7\n7 1.4 mkdir(\"y\", 0777) = 0\n",
            "/n",
        );
        // The second child was scheduled first.
        let volume = trace(
            "90 1.0 vfork() = 93\n90 1.1 vfork() = 92\n92 1.2 mkdir(\"y\", 0777) = -1 EIO (I/O)\n\
             93 1.3 mkdir(\"x\", 0777) = 0\n",
            "/v",
        );
        assert_eq!(native[0].process, "0.1");
        assert_eq!(
            shown(&differences(&native, &volume)),
            ["Fails: mkdir(\"y\", 0777) = 0 | mkdir(\"y\", 0777) = EIO"]
        );
    }

    #[test]
    fn a_process_that_has_nothing_to_do_with_the_directory_is_not_counted() {
        let native = trace(
            "5 1.0 vfork() = 6\n6 1.1 getpid() = 6\n5 1.3 vfork() = 7\n7 1.4 mkdir(\"y\", 0777) = 0\n",
            "/n",
        );
        let volume = trace("90 1.0 vfork() = 93\n93 1.3 mkdir(\"y\", 0777) = 0\n", "/v");
        assert_eq!(native[0].process, "0.1");
        assert_eq!(differences(&native, &volume), []);
    }

    #[test]
    fn what_differs_between_two_native_runs_is_chance() {
        let run = |n: u32| {
            let text = format!("1 1.0 read(3</n/r>, \"{n}\", 9) = 1\n1 1.1 unlink(\"a\") = 0\n");
            trace(&text, "/n")
        };
        let volume = trace(
            "1 1.0 read(3</v/r>, \"7\", 9) = 1\n1 1.1 unlink(\"a\") = -1 EPERM (x)\n",
            "/v",
        );
        let chance = differences(&run(1), &run(2));
        assert_eq!(chance.len(), 1);
        let found = without_chance(differences(&run(1), &volume), &chance);
        assert_eq!(
            shown(&found),
            ["Fails: unlink(\"a\") = 0 | unlink(\"a\") = EPERM"]
        );
    }
}
