//! A run with every verdict, hostile texts included, that the tests of all formats share.
#![allow(dead_code, reason = "each test program uses its own part of it")]

pub mod many;

use std::collections::BTreeMap;

use results::{
    BenchResult, CaseKind, CaseResult, Cause, Event, Host, Observation, Outcome, Remedy, Report,
    ReportBuilder, RunStarted, SCHEMA_VERSION, Samples, Stack, Verdict, judge, with_remedies,
};

pub fn stack(client: &str, kernel: &str) -> Stack {
    Stack {
        client: client.into(),
        server: "server9p".into(),
        profile: "golem".into(),
        cache: "none".into(),
        kernel: kernel.into(),
        mount_options: "trans=fd,version=9p2000.L,access=client,cache=none,msize=512000".into(),
        versions: BTreeMap::from([("server".into(), "0.1.0".into())]),
    }
}

pub fn host() -> Host {
    Host {
        os: "Debian GNU/Linux 12 (bookworm)".into(),
        kernel: "6.1.0-18-amd64".into(),
        arch: "x86_64".into(),
        cpus: 2,
        filesystem: "ext4".into(),
        probe9p: "0.1.0".into(),
    }
}

pub fn started(stack: Stack, planned: &[&str]) -> RunStarted {
    RunStarted {
        schema_version: SCHEMA_VERSION,
        run_id: "20261123T060102Z-9f3a".into(),
        started: "2026-11-23T06:01:02Z".into(),
        host: host(),
        stack,
        planned: planned.iter().map(|id| id.to_string()).collect(),
        part: None,
    }
}

pub fn ok(ms: f64) -> Observation {
    Observation {
        outcome: Outcome::Ok,
        duration_ms: ms,
        ..Observation::default()
    }
}

pub fn with_fact(name: &str, value: &str) -> Observation {
    Observation {
        facts: BTreeMap::from([(name.into(), value.into())]),
        ..ok(1.5)
    }
}

pub fn error(call: &str, errno: &str, detail: &str) -> Observation {
    Observation {
        outcome: Outcome::Error,
        call: Some(call.into()),
        errno: Some(errno.into()),
        detail: detail.into(),
        failed_calls: vec![format!("{call}(…) = {errno}")],
        duration_ms: 2.25,
        ..Observation::default()
    }
}

/// A case as a runner makes it: its verdict and note are judged, never stated.
pub fn case(id: &str, title: &str, native: Observation, volume: Observation) -> CaseResult {
    let (verdict, note) = judge(std::slice::from_ref(&native), std::slice::from_ref(&volume));
    let kind = if id.starts_with("sqlite") {
        CaseKind::Tool
    } else {
        CaseKind::Op
    };
    CaseResult {
        id: id.into(),
        kind,
        title: title.into(),
        native,
        volume,
        verdict,
        note,
        cause: None,
        remedies: vec![],
        runs: 1,
    }
}

fn explained(mut case: CaseResult, cause: Cause, remedies: Vec<Remedy>) -> CaseResult {
    case.verdict = with_remedies(case.verdict, &remedies);
    CaseResult {
        cause: Some(cause),
        remedies,
        ..case
    }
}

pub fn remedy(id: &str, title: &str, verified: bool, detail: &str) -> Remedy {
    Remedy {
        id: id.into(),
        title: title.into(),
        verified,
        detail: detail.into(),
    }
}

pub fn cases() -> Vec<CaseResult> {
    let wal = case(
        "sqlite.wal",
        "A database in write-ahead-log mode",
        ok(31.0),
        Observation {
            exit_code: Some(1),
            ..error("mmap", "EINVAL", "disk I/O error")
        },
    );
    let wal = explained(
        wal,
        Cause {
            id: "mmap-shared-writable".into(),
            summary: "With cache=none, v9fs refuses a shared mapping of a file that was opened for writing; \
                      WAL keeps its index in such a mapping."
                .into(),
            evidence: vec!["mmap(db-shm, 32768, PROT_READ|PROT_WRITE, MAP_SHARED) = EINVAL".into()],
        },
        vec![
            remedy("journal-mode-delete", "PRAGMA journal_mode=DELETE", true, ""),
            remedy("cache-mmap", "Mount with cache=mmap", false, "the FUSE client has no cache=mmap"),
        ],
    );
    let fails = explained(
        case(
            "special.mkfifo",
            "A named pipe can be made",
            ok(0.2),
            error(
                "mknodat",
                "ENXIO",
                "the file is <b>fifo</b>\u{1b}[31m & \"more\"",
            ),
        ),
        Cause {
            id: "special-files-refused".into(),
            summary: "QEMU refuses to open special files.".into(),
            evidence: vec!["mknodat(fifo, S_IFIFO|0644) = ENXIO".into()],
        },
        vec![],
    );
    let timeout = Observation {
        outcome: Outcome::Timeout,
        duration_ms: 10_000.0,
        ..Observation::default()
    };
    let signal = Observation {
        outcome: Outcome::Signal,
        signal: Some("SIGBUS".into()),
        duration_ms: 3.0,
        ..Observation::default()
    };
    let not_run = Observation {
        detail: "this kernel has no O_TMPFILE".into(),
        ..Observation::default()
    };
    let mut unstable = case(
        "lock.flock_between",
        "Two processes never hold one lock",
        ok(4.0),
        ok(4.0),
    );
    (unstable.verdict, unstable.note) = judge(&[ok(4.0)], &[ok(4.0), error("flock", "EIO", "")]);
    unstable.volume = error("flock", "EIO", "");
    unstable.runs = 2;
    vec![
        case(
            "sqlite.rollback_delete",
            "A rollback journal that is deleted",
            ok(12.0),
            ok(1204.0),
        ),
        wal,
        fails,
        case(
            "lock.guarantee",
            "A lock is seen by the host",
            with_fact("guarantee.host_sees_lock", "yes"),
            with_fact("guarantee.host_sees_lock", "no"),
        ),
        case(
            "inode.nlink",
            "A hard link raises st_nlink",
            with_fact("st_nlink", "2"),
            with_fact("st_nlink", "1"),
        ),
        unstable,
        case(
            "mmap.after_truncate",
            "A mapping survives a truncation",
            ok(0.8),
            timeout,
        ),
        case("mmap.exec", "A mapped program runs", ok(0.8), signal),
        case("inode.tmpfile", "O_TMPFILE", ok(0.1), not_run),
        case(
            "perm.chown",
            "chown to another user",
            error("chown", "EPERM", ""),
            error("chown", "EPERM", ""),
        ),
    ]
}

pub fn bench(workload: &str, title: &str, unit: &str, native: f64, volume: f64) -> BenchResult {
    let samples = |median: f64| {
        let rates: Vec<f64> = (0..11)
            .map(|i| median * (0.95 + 0.01 * f64::from(i)))
            .collect();
        Samples {
            rates,
            median,
            low: median * 0.97,
            high: median * 1.04,
        }
    };
    BenchResult {
        workload: workload.into(),
        title: title.into(),
        unit: unit.into(),
        native: samples(native),
        volume: samples(volume),
        native_latency: None,
        volume_latency: None,
        wire: None,
        ratio: volume / native,
        warnings: vec![],
    }
}

pub fn benches() -> Vec<BenchResult> {
    let mut noisy = bench(
        "rand_read_4k",
        "Random reads of 4 KiB",
        "ops/s",
        412_000.0,
        13_100.0,
    );
    noisy
        .warnings
        .push("The native rates scatter by 31 %: stop what else runs and measure again.".into());
    vec![
        bench(
            "seq_read_1m",
            "Sequential reads of 1 MiB",
            "MiB/s",
            6210.0,
            1430.0,
        ),
        bench(
            "seq_write_1m",
            "Sequential writes of 1 MiB",
            "MiB/s",
            2100.0,
            870.0,
        ),
        noisy,
        bench(
            "small_files",
            "Create, stat and unlink small files",
            "ops/s",
            51_200.0,
            2_310.0,
        ),
    ]
}

pub fn run(cases: Vec<CaseResult>, benches: Vec<BenchResult>) -> Vec<Event> {
    let planned: Vec<&str> = cases
        .iter()
        .map(|c| c.id.as_str())
        .chain(benches.iter().map(|b| b.workload.as_str()))
        .collect();
    let mut events = vec![Event::RunStarted(Box::new(started(
        stack("fuse", "5.10"),
        &planned,
    )))];
    for case in cases {
        events.push(Event::CaseStarted {
            id: case.id.clone(),
        });
        events.push(Event::CaseFinished(Box::new(case)));
    }
    events.extend(
        benches
            .into_iter()
            .map(|b| Event::BenchFinished(Box::new(b))),
    );
    events.push(Event::RunFinished {
        finished: "2026-11-23T06:01:09Z".into(),
    });
    events
}

pub fn interrupted(mut events: Vec<Event>, keep: usize) -> Vec<Event> {
    events.truncate(keep);
    events.push(Event::RunInterrupted {
        reason: "SIGINT was received.".into(),
    });
    events
}

pub fn report(events: &[Event]) -> Report {
    let mut builder = ReportBuilder::default();
    for event in events {
        builder.event(event).expect("the events are in order");
    }
    builder.into_report().expect("the run began")
}

pub fn has_every_verdict(cases: &[CaseResult]) -> bool {
    Verdict::ALL
        .iter()
        .all(|v| cases.iter().any(|c| c.verdict == *v))
}

/// Two stacks that differ in one verdict, a second run of the first stack, and the reference.
pub fn reports() -> Vec<Report> {
    let first = report(&run(cases(), vec![]));
    let mut other = report(&run(cases(), benches()));
    other.run_id = "20261124T070000Z-11aa".into();
    other.started = "2026-11-24T07:00:00Z".into();
    other.finished = None;
    other.stack = stack("uml", "6.1.0");
    other.cases.remove(3);
    other.cases[2] = case(
        "special.mkfifo",
        "A named pipe can be made",
        ok(0.2),
        ok(0.4),
    );
    let mut bench = report(&run(vec![], benches()));
    bench.run_id = "20261123T080000Z-77cc".into();
    bench.started = "2026-11-23T08:00:00Z".into();
    let mut again = first.clone();
    again.run_id = "20261125T060102Z-5e5e".into();
    again.started = "2026-11-25T06:01:02Z".into();
    again.cases[2] = case(
        "special.mkfifo",
        "A named pipe can be made",
        ok(0.2),
        ok(0.4),
    );
    let mut reference = report(&run(cases(), vec![]));
    reference.run_id = "20261123T050000Z-0001".into();
    reference.started = "2026-11-23T05:00:00Z".into();
    reference.stack = stack("qemu", "5.10.0-46-amd64");
    reference.stack.server = "qemu".into();
    let mut all = vec![first, other, bench, again, reference];
    for report in &mut all {
        report.integrity = None;
    }
    all
}

/// What someone may have called a file, a program or a host, to break out of wherever it is written.
pub const HOSTILE: &str = r#""'><script>alert(1)</script><img src=x onerror=alert(1)></style></td>--> `|`{{ 7*7 }}{% x %}"#;

/// The reports with every text made hostile; those that the schema restricts stay as they are.
pub fn hostile(reports: Vec<Report>) -> Vec<Report> {
    let mut value = serde_json::to_value(reports).unwrap();
    make_hostile(&mut value);
    serde_json::from_value(value).unwrap()
}

fn make_hostile(value: &mut serde_json::Value) {
    use serde_json::Value;
    const KEPT: [&str; 5] = ["outcome", "verdict", "kind", "started", "finished"];
    match value {
        Value::Array(items) => items.iter_mut().for_each(make_hostile),
        Value::Object(members) => {
            let kept = |key: &String| KEPT.contains(&key.as_str());
            for (_, member) in members.iter_mut().filter(|(key, _)| !kept(key)) {
                make_hostile(member);
            }
        }
        Value::String(text) => text.push_str(HOSTILE),
        _ => {}
    }
}

/// Asserts that a generated file is committed as it is; with UPDATE_SCHEMA it becomes so.
pub fn committed(name: &str, generated: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} is not what the types give; look at what changed for those who read such files, then run \
         `UPDATE_SCHEMA=1 cargo test -p results`",
        path.display()
    );
}
