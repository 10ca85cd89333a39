//! What the engine does with worlds that fail in known ways.

use std::{
    path::Path,
    sync::{
        Condvar,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use results::{CaseKind, Verdict};
use server9p::stack::{Cache, CommandSpec, Ended, Finished, Mounted, World, local::Local};

use super::*;
use crate::case::PlannedRemedy;

/// A world in which the program's first argument after our own name says what happens.
struct Scripted {
    volume: bool,
    seen: Mutex<Vec<String>>,
    traced: Mutex<Vec<String>>,
    stopped: AtomicBool,
    company: Company,
    losses: AtomicU64,
}

/// Who is in a world at once.
#[derive(Default)]
struct Company {
    now: Mutex<Vec<String>>,
    changed: Condvar,
    met: Mutex<Vec<(String, String)>>,
}

impl Company {
    /// A stay that begins, and ends when what comes back is dropped.
    fn enter(&self, script: &str) -> impl Drop {
        let mut now = self.now.lock().unwrap();
        for other in &*now {
            let pair = (other.clone(), script.to_owned());
            self.met.lock().unwrap().push(pair);
        }
        now.push(script.to_owned());
        self.changed.notify_all();
        Stay(self, script.to_owned())
    }

    /// Waits until somebody else is there, or was.
    fn wait_for_another(&self, script: &str) {
        let mut now = self.now.lock().unwrap();
        let alone = |now: &[String]| {
            let met = self.met.lock().unwrap();
            now.len() < 2 && !met.iter().any(|(a, b)| a == script || b == script)
        };
        while alone(&now) {
            now = self.changed.wait(now).unwrap();
        }
    }
}

struct Stay<'a>(&'a Company, String);

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        let mut now = self.0.now.lock().unwrap();
        let at = now.iter().position(|script| *script == self.1).unwrap();
        now.remove(at);
        self.0.changed.notify_all();
    }
}

impl Scripted {
    fn new(volume: bool) -> Arc<Self> {
        Arc::new(Scripted {
            volume,
            seen: Mutex::default(),
            traced: Mutex::default(),
            stopped: AtomicBool::new(false),
            company: Company::default(),
            losses: AtomicU64::new(0),
        })
    }

    fn times(&self, script: &str) -> usize {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| *seen == script)
            .count()
    }
}

impl World for Scripted {
    fn path(&self) -> &Path {
        Path::new("/")
    }

    fn mounted(&self) -> Mounted {
        Mounted::default()
    }

    fn run(&self, command: &CommandSpec) -> Result<Finished, StackError> {
        let words: Vec<_> = command
            .argv
            .iter()
            .map(|arg| arg.to_str().unwrap())
            .collect();
        let script = words[1];
        self.seen.lock().unwrap().push(script.to_owned());
        let traced = command.tracer.is_some();
        if traced {
            self.traced.lock().unwrap().push(script.to_owned());
        }
        let _stay = self.company.enter(script);
        if script.starts_with("meets") && self.volume {
            self.company.wait_for_another(script);
        }
        let line = |text: &str| {
            Ok(Finished {
                ended: Ended::Code(0),
                stdout: text.into(),
                stderr: vec![],
                duration: Duration::from_millis(1),
                trace: None,
            })
        };
        let ok = r#"{"outcome":"ok","duration_ms":1}"#;
        let error = r#"{"outcome":"error","call":"mmap","errno":"EINVAL","duration_ms":1}"#;
        match script {
            "fails" | "fails_by_cause" if self.volume && !words.contains(&"mended") => line(error),
            "fails_twice_of_three" if self.volume && self.times(script) != 2 => line(error),
            "fails_untraced" if self.volume && !traced => line(error),
            "fails_of_a_loss" if self.volume && self.times(script) <= 2 => {
                self.losses.fetch_add(1, Ordering::SeqCst);
                line(error)
            }
            "kills" if self.volume => Err(StackError::Lost("the daemon died".into())),
            "is_killed" if self.volume && self.times(script) == 1 => {
                Err(StackError::Lost("the daemon died".into()))
            }
            "gone" if self.volume => Err(StackError::Unavailable("no more mounts".into())),
            _ => line(ok),
        }
    }

    fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

struct Bench {
    native: Arc<Scripted>,
    volume: Arc<Scripted>,
    dir: tempfile::TempDir,
    options: Options,
    cancel: Cancel,
}

impl Bench {
    fn new() -> Self {
        let options = Options {
            jobs: 2,
            repeat: 1,
            timeout_scale: 1.0,
            explain: true,
            retrace: Retrace::Never,
        };
        Bench {
            native: Scripted::new(false),
            volume: Scripted::new(true),
            dir: tempfile::tempdir().unwrap(),
            options,
            cancel: Cancel::default(),
        }
    }

    fn run(&self, cases: &[PlannedCase]) -> (Vec<CaseResult>, Ending) {
        let mut results = Vec::new();
        let ending = self.watch(cases, |event| {
            if let Event::CaseFinished(result) = event {
                results.push((**result).clone());
            }
        });
        results.sort_by(|a, b| a.id.cmp(&b.id));
        (results, ending)
    }

    fn watch(&self, cases: &[PlannedCase], mut see: impl FnMut(&Event)) -> Ending {
        let side = |name, world: &Arc<Scripted>| side(name, world, self.dir.path());
        let (native, volume) = (side("native", &self.native), side("volume", &self.volume));
        let other = |other| match other {
            Other::Cache(Cache::Mmap) | Other::Local(Local::Ram) => {
                Ok(side("volume", &Scripted::new(false)))
            }
            other => Err(StackError::Unavailable(format!(
                "there is no volume {other:?} here"
            ))),
        };
        self.cancel.watch(&volume.world);
        let sides = [Sides {
            native: &native,
            volume: &volume,
        }];
        let engine = Engine::new(
            &sides,
            &other,
            self.options.clone(),
            &|case, _, _| {
                (case.id == "test.fails_by_cause").then(|| Cause {
                    id: "chown-refused".into(),
                    summary: String::new(),
                    evidence: vec![],
                })
            },
            &self.cancel,
        );
        engine.run(cases, &mut see)
    }
}

/// A side whose fresh directories are in one of its name in `dir`.
fn side(name: &'static str, world: &Arc<Scripted>, dir: &Path) -> Side {
    let dir = dir.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    Side::new(name, world.clone() as Arc<dyn World>, &dir)
}

fn case(script: &str) -> PlannedCase {
    PlannedCase {
        id: format!("test.{script}"),
        kind: CaseKind::Op,
        title: script.into(),
        limit: Duration::from_secs(1),
        child_args: vec![script.into()],
        alone: false,
        remedies: vec![],
    }
}

fn remedy(added: Option<&str>, other: Option<Other>) -> PlannedRemedy {
    PlannedRemedy {
        id: added.unwrap_or("cache").into(),
        title: String::new(),
        child_args: added.into_iter().map(Into::into).collect(),
        other,
    }
}

#[test]
fn a_case_that_works_runs_once_and_one_that_fails_runs_again() {
    let bench = Bench::new();
    let (results, ending) = bench.run(&[case("fine"), case("fails")]);
    assert!(matches!(ending, Ending::Complete));
    let verdicts: Vec<_> = results.iter().map(|r| (r.verdict, r.runs)).collect();
    assert_eq!(verdicts, [(Verdict::Fails, 2), (Verdict::Works, 1)]);
    assert_eq!(
        (bench.native.times("fine"), bench.volume.times("fine")),
        (1, 1)
    );
    assert_eq!(
        (bench.native.times("fails"), bench.volume.times("fails")),
        (2, 2)
    );
    assert_eq!(
        std::fs::read_dir(bench.dir.path().join("native"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn repeats_that_disagree_are_unstable() {
    let mut bench = Bench::new();
    bench.options.repeat = 3;
    let (results, _) = bench.run(&[case("fails_twice_of_three")]);
    assert_eq!(
        (results[0].verdict, results[0].runs),
        (Verdict::Unstable, 3)
    );
}

#[test]
fn the_repeat_of_what_fails_is_the_traced_run() {
    let mut bench = Bench::new();
    bench.options.retrace = Retrace::Failing;
    let (results, _) = bench.run(&[case("fails"), case("fine")]);
    assert_eq!((results[0].verdict, results[0].runs), (Verdict::Fails, 2));
    for world in [&bench.native, &bench.volume] {
        assert_eq!((world.times("fails"), world.times("fine")), (2, 1));
        assert_eq!(*world.traced.lock().unwrap(), ["fails"]);
    }
}

#[test]
fn where_strace_changes_what_a_case_does_only_runs_without_it_count() {
    let mut bench = Bench::new();
    bench.options.retrace = Retrace::Failing;
    let (results, _) = bench.run(&[case("fails_untraced")]);
    assert_eq!((results[0].verdict, results[0].runs), (Verdict::Fails, 2));
    assert_eq!(bench.volume.times("fails_untraced"), 3);
    assert_eq!(bench.volume.traced.lock().unwrap().len(), 1);
}

#[test]
fn a_remedy_counts_only_when_it_was_run_and_worked() {
    let bench = Bench::new();
    let mut failing = case("fails");
    failing.remedies = vec![
        remedy(Some("useless"), None),
        remedy(Some("mended"), None),
        remedy(None, Some(Other::Cache(Cache::Mmap))),
        remedy(None, Some(Other::Cache(Cache::Loose))),
    ];
    let (results, _) = bench.run(&[failing]);
    let tried: Vec<_> = results[0]
        .remedies
        .iter()
        .map(|r| (r.verified, r.detail.as_str()))
        .collect();
    assert_eq!(results[0].verdict, Verdict::Workaround);
    assert!(!tried[0].0 && tried[0].1.contains("EINVAL"), "{tried:?}");
    assert_eq!(tried[1..3], [(true, ""), (true, "")]);
    assert_eq!(
        tried[3],
        (false, "was not run: there is no volume Cache(Loose) here")
    );
    assert_eq!(
        bench.native.times("fails"),
        4,
        "natively too, where the remedy changes the case"
    );
}

#[test]
fn a_failing_case_is_run_on_the_volumes_that_may_help_against_its_cause() {
    let bench = Bench::new();
    let (results, _) = bench.run(&[case("fails_by_cause")]);
    let tried: Vec<_> = results[0]
        .remedies
        .iter()
        .map(|remedy| (remedy.id.as_str(), remedy.verified))
        .collect();
    assert_eq!(tried, [("ram", true), ("storage", false)]);
    assert_eq!(results[0].verdict, Verdict::Workaround);
    assert_eq!(
        bench.native.times("fails_by_cause"),
        2,
        "not once more for a remedy that changes nothing"
    );
}

#[test]
fn what_kills_the_volume_crashes_and_its_neighbours_do_not() {
    let bench = Bench::new();
    let (results, ending) = bench.run(&[case("kills"), case("is_killed"), case("fine")]);
    assert!(matches!(ending, Ending::Complete), "{ending:?}");
    let verdicts: Vec<_> = results.iter().map(|r| (r.id.as_str(), r.verdict)).collect();
    assert_eq!(
        verdicts,
        [
            ("test.fine", Verdict::Works),
            ("test.is_killed", Verdict::Works),
            ("test.kills", Verdict::Crashes)
        ]
    );
}

#[test]
fn what_failed_while_the_volume_was_lost_is_tried_alone() {
    let bench = Bench::new();
    let (results, ending) = bench.run(&[case("fails_of_a_loss"), case("fine")]);
    assert!(matches!(ending, Ending::Complete), "{ending:?}");
    let verdicts: Vec<_> = results.iter().map(|r| (r.verdict, r.runs)).collect();
    assert_eq!(verdicts, [(Verdict::Works, 1), (Verdict::Works, 1)]);
}

#[test]
fn a_volume_that_does_not_come_back_ends_the_run() {
    let bench = Bench::new();
    let mut cases = vec![case("gone")];
    cases.extend((0..50).map(|_| case("fine")));
    let (results, ending) = bench.run(&cases);
    assert!(matches!(ending, Ending::Lost(_)), "{ending:?}");
    assert!(results.len() < 51);
    assert!(bench.volume.stopped.load(Ordering::SeqCst));
}

#[test]
fn a_cancelled_run_starts_nothing() {
    let bench = Bench::new();
    bench.cancel.cancel();
    let (results, ending) = bench.run(&[case("fine")]);
    assert!(matches!(ending, Ending::Cancelled), "{ending:?}");
    assert!(results.is_empty() && bench.native.times("fine") == 0);
    assert!(bench.volume.stopped.load(Ordering::SeqCst));
}

/// Each of the two waits in the world until the other is there.
#[test]
fn as_many_cases_run_at_once_as_there_are_jobs() {
    let bench = Bench::new();
    let (results, ending) = bench.run(&[case("meets"), case("meets_too")]);
    assert!(matches!(ending, Ending::Complete), "{ending:?}");
    assert_eq!(results.len(), 2);
}

#[test]
fn a_case_that_wants_to_be_alone_meets_nobody_and_comes_last() {
    let mut bench = Bench::new();
    bench.options.jobs = 4;
    let names: Vec<String> = (0..40).map(|n| format!("case{n}")).collect();
    let mut cases: Vec<PlannedCase> = names.iter().map(|name| case(name)).collect();
    for case in cases.iter_mut().step_by(10) {
        case.alone = true;
    }
    let (results, _) = bench.run(&cases);
    assert_eq!(results.len(), 40);
    let alone = ["case0", "case10", "case20", "case30"];
    for world in [&bench.native, &bench.volume] {
        let met = world.company.met.lock().unwrap();
        let seen = |who: &str| met.iter().any(|(a, b)| a == who || b == who);
        assert!(!alone.iter().any(|who| seen(who)), "{met:?}");
    }
    assert_eq!(bench.volume.seen.lock().unwrap()[36..], alone);
}

#[test]
fn whoever_was_running_when_the_volume_died_is_tried_alone() {
    let mut bench = Bench::new();
    bench.options.jobs = 3;
    let (results, ending) = bench.run(&[
        case("is_killed"),
        case("kills"),
        case("fine"),
        case("fails"),
    ]);
    assert!(matches!(ending, Ending::Complete), "{ending:?}");
    let verdict = |id: &str| results.iter().find(|r| r.id == id).unwrap().verdict;
    assert_eq!(verdict("test.kills"), Verdict::Crashes);
    assert_eq!(verdict("test.is_killed"), Verdict::Works);
    // Once in company, and in the second stage twice, as what does not work is repeated.
    assert_eq!(bench.volume.times("kills"), 3);
    assert_eq!(bench.volume.times("fine"), 1);
}

#[test]
fn cancelling_in_the_middle_keeps_what_is_done_and_starts_nothing_more() {
    let mut bench = Bench::new();
    bench.options.jobs = 2;
    let names: Vec<String> = (0..200).map(|n| format!("case{n}")).collect();
    let cases: Vec<PlannedCase> = names.iter().map(|name| case(name)).collect();
    let mut done = 0;
    let ending = bench.watch(&cases, |event| {
        if let Event::CaseFinished(_) = event {
            done += 1;
            bench.cancel.cancel();
        }
    });
    assert!(matches!(ending, Ending::Cancelled), "{ending:?}");
    assert!((1..200).contains(&done), "{done}");
    assert!(bench.volume.seen.lock().unwrap().len() < 200);
}

/// Whatever the order in which they end, the report has the plan's.
#[test]
fn the_report_of_a_parallel_run_is_that_of_one_job() {
    let report = |jobs| {
        let mut bench = Bench::new();
        bench.options.jobs = jobs;
        let names: Vec<String> = (0..60).map(|n| format!("case{n}")).collect();
        let mut cases: Vec<PlannedCase> = names.iter().map(|name| case(name)).collect();
        cases[7] = case("fails");
        cases[20].alone = true;
        let planned: Vec<String> = cases.iter().map(|case| case.id.clone()).collect();
        let mut builder = results::ReportBuilder::default();
        let started = serde_json::json!({
            "event": "run_started", "schema_version": 1, "run_id": "", "started": "", "planned": planned,
            "host": {"os": "", "kernel": "", "arch": "", "cpus": 1, "filesystem": "", "probe9p": ""},
            "stack": {"client": "", "server": "", "profile": "", "cache": "", "kernel": "", "mount_options": ""},
        });
        builder
            .event(&serde_json::from_value(started).unwrap())
            .unwrap();
        bench.watch(&cases, |event| builder.event(event).unwrap());
        let report = builder.report().unwrap().without_times();
        let order: Vec<String> = report.cases.iter().map(|case| case.id.clone()).collect();
        assert_eq!(order, planned);
        report.to_json()
    };
    assert_eq!(report(1), report(5));
}

#[test]
fn with_several_volumes_a_case_has_both_of_its_sides_in_one_place() {
    let dir = tempfile::tempdir().unwrap();
    let worlds = [(); 2].map(|()| (Scripted::new(false), Scripted::new(true)));
    let places: Vec<(Side, Side)> = worlds
        .iter()
        .enumerate()
        .map(|(number, (native, volume))| {
            let dir = dir.path().join(number.to_string());
            (side("native", native, &dir), side("volume", volume, &dir))
        })
        .collect();
    let sides: Vec<Sides> = places
        .iter()
        .map(|(native, volume)| Sides { native, volume })
        .collect();
    let options = Options {
        jobs: 4,
        ..Bench::new().options
    };
    let cancel = Cancel::default();
    let none = |_| Err(StackError::Unavailable("there is none".into()));
    let engine = Engine::new(&sides, &none, options, &|_, _, _| None, &cancel);
    let names: Vec<String> = (0..40).map(|number| format!("case{number}")).collect();
    let cases: Vec<PlannedCase> = names.iter().map(|name| case(name)).collect();
    let mut finished = 0;
    let ending = engine.run(&cases, &mut |event| {
        finished += usize::from(matches!(event, Event::CaseFinished(_)));
    });
    assert!(matches!(ending, Ending::Complete));
    assert_eq!(finished, cases.len());
    for name in &names {
        let times = worlds
            .each_ref()
            .map(|(native, volume)| (native.times(name), volume.times(name)));
        assert!(
            matches!(times, [(1, 1), (0, 0)] | [(0, 0), (1, 1)]),
            "{name}: {times:?}"
        );
    }
}
