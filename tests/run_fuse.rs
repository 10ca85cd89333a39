//! `probe9p run` on a FUSE mount of our own server: the main job, end to end.

mod common;

use std::{fs, thread, time::Duration};

use common::{Place, Ran, Running, all_end, descendants, fuse, handles, mounts, skipped};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use server9p::stack::kernels::ordered;

fn case<'a>(report: &'a Value, id: &str) -> &'a Value {
    let cases = report["cases"].as_array().unwrap();
    cases
        .iter()
        .find(|case| case["id"] == id)
        .unwrap_or_else(|| panic!("{id} has no result: {cases:?}"))
}

/// A run on FUSE with these arguments, without traces and remedies, that prints its report.
fn brief(place: &Place, arguments: &[&str]) -> Ran {
    let always = [
        "run",
        "--client",
        "fuse",
        "--no-explain",
        "--format",
        "json",
    ];
    place.run(&[&always, arguments].concat())
}

/// Whether FUSE can be mounted here, and the daemon be asked about calls; says that a test is skipped where not.
fn supervised(test: &str) -> bool {
    if !fuse(test) {
        return false;
    }
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let can = actions.contains("user_notif");
    if !can {
        skipped(test, "this kernel's seccomp cannot ask about calls");
    }
    can
}

fn assert_nothing_left(place: &Place, ran: &Ran) {
    assert_eq!(place.left(), [""; 0], "{ran:?}");
    assert_eq!(mounts(place.path()), [""; 0], "{ran:?}");
}

#[test]
fn sqlite_tells_what_works_what_fails_and_what_helps() {
    if !fuse("sqlite_tells_what_works_what_fails_and_what_helps") {
        return;
    }
    let place = Place::new();
    let ran = place.run(&[
        "run",
        "--client",
        "fuse",
        "--case",
        "sqlite.rollback_delete,sqlite.wal",
        "--format",
        "json",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = ran.json();
    for field in [
        "schema_version",
        "run_id",
        "started",
        "finished",
        "host",
        "stack",
        "cases",
    ] {
        assert!(!report[field].is_null(), "{field} is missing");
    }
    let stack = &report["stack"];
    assert_eq!(
        (
            &stack["client"],
            &stack["server"],
            &stack["profile"],
            &stack["cache"],
            &stack["kernel"]
        ),
        (
            &"fuse".into(),
            &"server9p".into(),
            &"golem".into(),
            &"none".into(),
            &"5.10".into()
        )
    );
    assert!(
        stack["mount_options"].as_str().unwrap().contains("msize="),
        "{stack}"
    );
    let works = case(&report, "sqlite.rollback_delete");
    assert_eq!(
        (&works["verdict"], &works["kind"]),
        (&"works".into(), &"tool".into()),
        "{works}"
    );
    let wal = case(&report, "sqlite.wal");
    assert_eq!(wal["verdict"], "workaround", "{wal}");
    assert_eq!(
        (&wal["native"]["outcome"], &wal["volume"]["outcome"]),
        (&"ok".into(), &"error".into())
    );
    assert!(wal["volume"]["errno"].is_string(), "{wal}");
    let evidence = wal["cause"]["evidence"].to_string();
    assert!(
        wal["cause"]["id"].is_string() && evidence.contains("mmap"),
        "{wal}"
    );
    assert_ne!(wal["cause"]["id"], "unmatched", "{wal}");
    let remedies = wal["remedies"].as_array().unwrap();
    assert!(
        remedies.iter().any(|remedy| remedy["verified"] == true),
        "{wal}"
    );
    assert!(
        remedies
            .iter()
            .all(|remedy| remedy["id"].is_string() && remedy["title"].is_string())
    );
    assert_nothing_left(&place, &ran);
}

#[test]
fn calls_that_fuse_decides_are_answered_as_v9fs_does() {
    if !supervised("calls_that_fuse_decides_are_answered_as_v9fs_does") {
        return;
    }
    let place = Place::new();
    let ops = "mmap.shared_write,mmap.shared_read,io.poll,notify.create_delete,notify.many_watches,notify.modify";
    let ran = brief(&place, &["--ops", ops]);
    let report = ran.json();
    let mapped = case(&report, "mmap.shared_write");
    assert_eq!(mapped["volume"]["errno"], "EINVAL", "{mapped}");
    // That epoll refuses files is what this case wants, and that a file open for reading is mapped what the other
    // does; a watch on a file that is held open tells of changes, the others do not.
    let works = ["mmap.shared_read", "io.poll", "notify.modify"];
    let fails = ["notify.create_delete", "notify.many_watches"];
    for (ids, verdict) in [(&works[..], "works"), (&fails[..], "fails")] {
        for id in ids {
            let case = case(&report, id);
            assert_eq!(case["verdict"], verdict, "{case}");
            assert_eq!(case["native"]["outcome"], "ok", "{case}");
        }
    }
    assert_nothing_left(&place, &ran);
}

#[test]
fn a_verdict_crosses_fail_on() {
    if !fuse("a_verdict_crosses_fail_on") {
        return;
    }
    let place = Place::new();
    let run = |threshold| {
        let ran = place.run(&[
            "run",
            "--client",
            "fuse",
            "--ops",
            "mmap.shared_write",
            "--no-explain",
            "--fail-on",
            threshold,
        ]);
        assert_nothing_left(&place, &ran);
        ran.code
    };
    assert_eq!(run("fails"), Some(1));
    assert_eq!(run("hangs"), Some(0));
}

#[test]
fn profiles_differ_where_they_should() {
    if !fuse("profiles_differ_where_they_should") {
        return;
    }
    let place = Place::new();
    let verdict = |profile| {
        let arguments = ["--ops", "special.mkfifo", "--profile", profile];
        case(&brief(&place, &arguments).json(), "special.mkfifo")["verdict"].clone()
    };
    assert_eq!(verdict("golem"), "fails");
    assert_eq!(verdict("qemu"), "works");
    assert_eq!(verdict("posix"), "works");
}

/// Two mounts are clients of one server process, whose locks keep them apart where the profile has real locks.
#[test]
fn two_clients_of_one_server_lock_each_other_out_under_posix_alone() {
    if !fuse("two_clients_of_one_server_lock_each_other_out_under_posix_alone") {
        return;
    }
    let place = Place::new();
    let cases = "lock.two_clients_posix,lock.two_clients_flock,coherence.two_clients";
    let verdicts = |profile| {
        let report = brief(&place, &["--profile", profile, "--case", cases]).json();
        cases
            .split(',')
            .map(|id| case(&report, id)["verdict"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(verdicts("golem"), ["fails", "fails", "works"]);
    assert_eq!(verdicts("posix"), ["works", "works", "works"]);
    assert_eq!(place.left(), [""; 0]);
}

/// As on v9fs, nothing but the server is asked for what a read returns. Older kernels map nothing that they read directly.
#[test]
fn a_read_asks_the_server_whatever_the_file_s_times_say() {
    let test = "a_read_asks_the_server_whatever_the_file_s_times_say";
    if !supervised(test) {
        return;
    }
    let machine = rustix::system::uname();
    let release = machine.release().to_string_lossy();
    if ordered(&release) < vec![6, 6] {
        return skipped(test, &format!("Linux is {release}; it takes 6.6"));
    }
    let place = Place::new();
    let cases = "coherence.host_restores_time,mmap.shared_read,mmap.shared_write,io.uring_read";
    let ran = brief(&place, &["--case", cases]);
    let report = ran.json();
    let verdict = |id: &str| case(&report, id)["verdict"].clone();
    assert_eq!(verdict("coherence.host_restores_time"), "works", "{ran:?}");
    assert_eq!(verdict("mmap.shared_read"), "works", "{ran:?}");
    let errno = &case(&report, "mmap.shared_write")["volume"]["errno"];
    assert_eq!(errno, "EINVAL", "{ran:?}");
    let uring = verdict("io.uring_read");
    assert!(uring == "works" || uring == "skipped", "{ran:?}");
    assert_eq!(place.left(), [""; 0]);
}

/// Starts a run that takes long and returns when its volume is in use.
fn long_run(place: &Place) -> Running {
    // The first case ends soon, and the last does not.
    let args = [
        "run",
        "--client",
        "fuse",
        "--ops",
        "inode,link,io",
        "--repeat",
        "50",
        "--format",
        "jsonl",
    ];
    let mut run = Running::start(place.command(&args));
    run.until("case_finished");
    run
}

#[test]
fn a_kill_of_any_process_leaves_no_mount_and_no_process() {
    if !fuse("a_kill_of_any_process_leaves_no_mount_and_no_process") {
        return;
    }
    let place = Place::new();
    let run = long_run(&place);
    let below = descendants(run.pid());
    let names =
        |pid: &Pid| fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let told: Vec<_> = below
        .iter()
        .map(|pid| String::from_utf8_lossy(&names(pid)).into_owned())
        .collect();
    for helper in ["@serve", "@agent", "@fuse"] {
        assert!(
            told.iter().any(|line| line.contains(helper)),
            "{helper} is not among {told:?}"
        );
    }
    let helpers = handles(&below);
    run.signal(Signal::KILL);
    assert_eq!(run.end().code, None);
    assert!(
        all_end(&helpers, Duration::from_secs(30)),
        "every process ends with the run"
    );
    assert_eq!(mounts(place.path()), [""; 0]);
    // Directories are all that is left, and the next run removes them.
    // One of the run, and one of each volume beside, where a remedy or a second client had one.
    let left = place.left();
    assert!(
        !left.is_empty() && left.iter().all(|name| name.starts_with("probe9p-")),
        "{left:?}"
    );
    let next = place.run(&["run", "--client", "fuse", "--ops", "link.nlink"]);
    assert_eq!(next.code, Some(0), "{next:?}");
    assert_nothing_left(&place, &next);
}

#[test]
fn a_killed_server_does_not_end_the_run() {
    if !fuse("a_killed_server_does_not_end_the_run") {
        return;
    }
    let place = Place::new();
    let mut command = place.command(&[
        "run",
        "--client",
        "fuse",
        "--ops",
        "link,symlink",
        "--repeat",
        "3",
        "--format",
        "jsonl",
    ]);
    command.args(["--out", place.path().join("report.json").to_str().unwrap()]);
    let mut run = Running::start(command);
    run.until("case_finished");
    let server = descendants(run.pid()).into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("@serve")
    });
    rustix::process::kill_process(server.unwrap(), Signal::KILL).unwrap();
    let ran = run.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = fs::read_to_string(place.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["finished"].is_string());
    for case in report["cases"].as_array().unwrap() {
        assert_ne!(
            case["verdict"], "crashes",
            "what was not its fault is not told of it: {case}"
        );
    }
    assert_nothing_left(&place, &ran);
}

#[test]
fn a_signal_keeps_the_results_and_leaves_nothing() {
    if !fuse("a_signal_keeps_the_results_and_leaves_nothing") {
        return;
    }
    let place = Place::new();
    let run = long_run(&place);
    let helpers = handles(&descendants(run.pid()));
    run.signal(Signal::INT);
    let ran = run.end();
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(all_end(&helpers, Duration::from_secs(30)));
    assert_nothing_left(&place, &ran);
}

/// A tool whose script has a service beside it, which ignores what asks it to end, and never ends by itself on paths
/// with that pattern.
fn endless(place: &Place, paths: &str) -> String {
    let file = place.path().join("endless.toml");
    let text = format!(
        r#"name = "endless"
summary = "a service and a script that wait"
[[variants]]
name = "endless"
programs = ["sh", "tail"]
[[services]]
id = "server"
command = "trap '' TERM INT HUP; exec tail -n 0 -f /dev/null /dev/zero.probe9p-service"
ready = "true"
[[cases]]
id = "wait"
title = "waits"
services = ["server"]
script = """
case $PROBE9P_DIR in {paths}) ;; *) exit 0 ;; esac
start server
exec tail -n 0 -f /dev/null /dev/zero.probe9p-script
"""
"#
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn whoever_is_killed_in_mid_service_leaves_no_process_and_no_mount() {
    if !fuse("whoever_is_killed_in_mid_service_leaves_no_process_and_no_mount") {
        return;
    }
    for (paths, signal) in [
        ("*/mnt/*", Signal::KILL),
        ("*/mnt/*", Signal::INT),
        ("*", Signal::KILL),
        ("*", Signal::INT),
    ] {
        let place = Place::new();
        let recipe = endless(&place, paths);
        let args = [
            "run", "--client", "fuse", "--recipe", &recipe, "--format", "jsonl",
        ];
        let mut run = Running::start(place.command(&args));
        run.until("case_started");
        let command = |pid: &Pid| {
            let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            String::from_utf8_lossy(&line.unwrap_or_default()).into_owned()
        };
        // The script goes on once its service runs.
        let all = loop {
            let all = descendants(run.pid());
            let commands: Vec<String> = all.iter().map(command).collect();
            let runs = |name: &str| commands.iter().any(|line| line.contains(name));
            if runs("zero.probe9p-service") && runs("zero.probe9p-script") {
                break all;
            }
            assert!(run.child.try_wait().unwrap().is_none(), "{commands:#?}");
            thread::yield_now();
        };
        let all = handles(&all);
        run.signal(signal);
        let ran = run.end();
        let killed = signal == Signal::KILL;
        assert_eq!(ran.code, if killed { None } else { Some(130) }, "{ran:?}");
        assert!(
            all_end(&all, Duration::from_secs(30)),
            "a process outlives the run: {paths}, {signal:?}"
        );
        assert_eq!(mounts(place.path()), [""; 0]);
        if !killed {
            assert_nothing_left(&place, &ran);
        }
    }
}
