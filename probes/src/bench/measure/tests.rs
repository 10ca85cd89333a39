use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use server9p::stack::Mounted;

use super::*;
use crate::bench::{
    work::{self, Job},
    workload,
};

/// A world that does each turn in this process, by the arguments that a child would get, so that these tests
/// need no program; `fail_after` turns, all fail.
struct Here {
    dir: PathBuf,
    log: Arc<Mutex<Vec<String>>>,
    name: &'static str,
    fail_after: usize,
}

impl World for Here {
    fn path(&self) -> &Path {
        &self.dir
    }

    fn mounted(&self) -> Mounted {
        Mounted::default()
    }

    fn run(&self, command: &CommandSpec) -> Result<Finished, StackError> {
        let option = |name: &str| {
            let at = command
                .argv
                .iter()
                .position(|a| a == name)
                .expect("the option is given");
            command.argv[at + 1]
                .to_str()
                .expect("the tests' paths are UTF-8")
                .to_owned()
        };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(self.name.to_owned());
        let own = log.iter().filter(|name| *name == self.name).count();
        drop(log);
        let job = Job {
            workload: serde_json::from_str(&option("--workload")).unwrap(),
            dir: option("--dir").into(),
            time: Duration::ZERO,
            file_bytes: option("--file-mib").parse::<u64>().unwrap() << 20,
            seed: option("--seed").parse().unwrap(),
            once: command.argv.iter().any(|a| a == "--once"),
        };
        let (ended, stdout, stderr) = if own > self.fail_after {
            (
                Ended::Code(1),
                String::new(),
                "write of f: No space left on device\n".to_owned(),
            )
        } else {
            work::prepare(&job).unwrap();
            let turn = work::turn(&job).unwrap();
            (
                Ended::Code(0),
                serde_json::to_string(&turn).unwrap() + "\n",
                String::new(),
            )
        };
        Ok(Finished {
            ended,
            stdout: stdout.into(),
            stderr: stderr.into(),
            duration: Duration::ZERO,
            trace: None,
        })
    }

    fn stop(&self) {}
}

struct Ground {
    _dir: tempfile::TempDir,
    log: Arc<Mutex<Vec<String>>>,
    native: Place,
    volume: Place,
}

fn ground(fail_after: usize) -> Ground {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let place = |name: &'static str, fail_after| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        let world = Here {
            dir: path.clone(),
            log: Arc::clone(&log),
            name,
            fail_after,
        };
        Place {
            world: Arc::new(world),
            there: path.clone(),
            here: path,
        }
    };
    let (native, volume) = (place("native", usize::MAX), place("volume", fail_after));
    Ground {
        _dir: dir,
        log,
        native,
        volume,
    }
}

const OPTIONS: Options = Options {
    time: Duration::ZERO,
    file_mib: 2,
    cold: false,
    memory_only: false,
};

fn named(name: &str) -> Workload {
    let all = workload::load(None).unwrap();
    all.into_iter()
        .find(|one| one.name == name)
        .expect("a workload's name")
}

fn measured(ground: &Ground, workload: &Workload) -> BenchResult {
    let volumes = [&ground.volume];
    let results = measure(workload, &ground.native, &volumes, &OPTIONS, &|| false);
    results.unwrap().unwrap().remove(0)
}

#[test]
fn both_sides_have_enough_samples_and_take_turns() {
    for workload in workload::load(None).unwrap() {
        let ground = ground(usize::MAX);
        let result = measured(&ground, &workload);
        for samples in [&result.native, &result.volume] {
            assert_eq!(samples.rates.len(), FEWEST_TURNS as usize);
            assert!(samples.low <= samples.median && samples.median <= samples.high);
        }
        assert!(result.ratio > 0.0);
        assert!(result.native_latency.is_some() && result.volume_latency.is_some());
        let log = ground.log.lock().unwrap();
        for pair in log.chunks(2) {
            assert_ne!(pair[0], pair[1], "a round has one turn of each side");
        }
        let native_first = log.chunks(2).filter(|pair| pair[0] == "native").count();
        assert_eq!(native_first, log.len() / 4);
    }
}

#[test]
fn a_side_that_fails_is_told_of_and_has_no_figures() {
    let result = measured(&ground(4), &named("seq_write_1m"));
    assert!(result.volume.rates.is_empty());
    assert_eq!(result.ratio, 0.0);
    assert_eq!(result.volume_latency, None);
    assert_eq!(
        result.warnings[0],
        "It could not be measured on the volume: write of f: No space left on device. \
         What fails there is shown by `probe9p run --ops all`."
    );
}

#[test]
fn reading_from_memory_is_warned_of() {
    let ground = ground(usize::MAX);
    fs::write(ground.native.here.join("probe"), vec![1; 8192]).unwrap();
    if host_cache::resident(&ground.native.here.join("probe"))
        .unwrap()
        .is_none()
    {
        eprintln!("skipped: the temporary directory's file system does not know RWF_NOWAIT");
        return;
    }
    let result = measured(&ground, &named("rand_read_4k"));
    assert!(
        result
            .warnings
            .iter()
            .any(|w| w.contains("was in the page cache")),
        "{:?}",
        result.warnings
    );
}

#[test]
fn a_bench_that_is_cancelled_has_no_result() {
    let ground = ground(usize::MAX);
    let work = named("seq_read_1m");
    let none = measure(&work, &ground.native, &[&ground.volume], &OPTIONS, &|| true).unwrap();
    assert!(none.is_none());
    assert!(ground.log.lock().unwrap().is_empty());
}

#[test]
fn more_time_makes_turns_longer_and_then_more() {
    let turns = |seconds: f64| {
        Options {
            time: Duration::from_secs_f64(seconds),
            ..OPTIONS
        }
        .turns()
    };
    assert_eq!(turns(0.0), (12, SHORTEST_TURN));
    assert_eq!(turns(2.4), (12, Duration::from_millis(100)));
    assert_eq!(turns(60.0), (120, Duration::from_millis(250)));
}

#[test]
fn how_a_child_ended_is_said() {
    let ended = |ended| {
        let finished = Finished {
            ended,
            stdout: Vec::new(),
            stderr: Vec::new(),
            duration: Duration::ZERO,
            trace: None,
        };
        super::ended(&finished)
            .and_then(|stdout| named("stat").turn(stdout))
            .unwrap_err()
    };
    assert_eq!(ended(Ended::Code(3)), "the child ended with code 3");
    assert_eq!(ended(Ended::Signal(9)), "signal 9 ended the child");
    assert!(ended(Ended::TimedOut).starts_with("one turn did not end within"));
    assert!(ended(Ended::Code(0)).starts_with("what the child printed is no turn"));
}
