//! Commands end when they should, with all that they started.

mod support;

use std::{path::Path, sync::Arc, thread, time::Duration};

use server9p::stack::{CommandSpec, Ended, SELF, StackError, World, path::PathWorld, process};
use support::{hold, mark, marked, wait_gone, wait_until};

fn world(directory: &Path) -> PathWorld {
    process::use_program(env!("CARGO_BIN_EXE_server9p"));
    PathWorld::new(directory).unwrap()
}

fn sh(directory: &Path, script: &str) -> CommandSpec {
    CommandSpec::new(["sh", "-c", script], directory)
}

#[test]
fn a_commands_end_and_output_are_told() {
    let tmp = tempfile::tempdir().unwrap();
    let world = world(tmp.path());
    let done = world
        .run(&sh(tmp.path(), "pwd; echo \"$A\" >&2; exit 3").env("A", "b c"))
        .unwrap();
    assert_eq!(done.ended, Ended::Code(3));
    let pwd = String::from_utf8(done.stdout).unwrap();
    assert_eq!(Path::new(pwd.trim()), tmp.path().canonicalize().unwrap());
    assert_eq!(done.stderr, b"b c\n");

    let killed = world.run(&sh(tmp.path(), "kill -SEGV $$")).unwrap();
    assert_eq!(killed.ended, Ended::Signal(libc::SIGSEGV));
}

#[test]
fn a_command_that_cannot_start_ends_as_a_shell_would_say_it() {
    let tmp = tempfile::tempdir().unwrap();
    let world = world(tmp.path());
    let missing = CommandSpec::new(["no-such-program"], tmp.path());
    let done = world.run(&missing).unwrap();
    assert_eq!(done.ended, Ended::Code(127));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("cannot run no-such-program"), "{said}");
    let nowhere = CommandSpec::new(["true"], "/no/such/directory");
    let done = world.run(&nowhere).unwrap();
    assert_eq!(done.ended, Ended::Code(126));
}

#[test]
fn our_own_program_runs_wherever_it_lies() {
    let tmp = tempfile::tempdir().unwrap();
    let done = world(tmp.path())
        .run(&CommandSpec::new([SELF, "--no-such-option"], tmp.path()))
        .unwrap();
    // It says itself that it knows no such option, as programs of clap do.
    assert_eq!(done.ended, Ended::Code(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("--no-such-option"));
}

#[test]
fn a_tracer_sees_every_call_and_one_that_is_missing_is_told() {
    let name = "a_tracer_sees_every_call_and_one_that_is_missing_is_told";
    let tmp = tempfile::tempdir().unwrap();
    let world = world(tmp.path());
    let traced = |spec: CommandSpec, words: &[&str]| {
        let tracer = words.iter().map(Into::into).collect();
        let tracer = Some(tracer);
        world.run(&CommandSpec { tracer, ..spec }).unwrap()
    };
    let script = sh(tmp.path(), "mkdir first; echo out; (mkdir second)");
    let missing = traced(script.clone(), &["no-such-tracer", "-f"]);
    assert_eq!(
        (missing.ended, &*missing.stdout),
        (Ended::Code(0), &b"out\n"[..])
    );
    let why = missing.trace.unwrap().unwrap_err();
    // Which of both it is depends on whether a directory of this user's PATH is closed to him.
    let known = [
        "no-such-tracer is not installed there",
        "no-such-tracer is not installed where this user may run it",
    ];
    assert!(known.contains(&&*why), "{why}");
    if process::on_path("strace").is_none() {
        println!("skipped: {name}: strace is not installed");
        return;
    }
    std::fs::remove_dir(tmp.path().join("first")).unwrap();
    std::fs::remove_dir(tmp.path().join("second")).unwrap();
    let done = traced(script, &["strace", "-f"]);
    assert_eq!((done.ended, &*done.stdout), (Ended::Code(0), &b"out\n"[..]));
    let trace = String::from_utf8(done.trace.unwrap().unwrap()).unwrap();
    for call in ["execve(", "mkdir(\"first\"", "mkdir(\"second\""] {
        assert!(trace.contains(call), "{call} is not in {trace}");
    }
    // One that ends by itself is no tracer of anything.
    let none = traced(sh(tmp.path(), "exit 3"), &["sh", "-c", "echo no >&2"]);
    assert_eq!(none.ended, Ended::Code(3));
    assert_eq!(
        none.trace.unwrap().unwrap_err(),
        "sh could not be attached: no"
    );
    let limit = Duration::from_millis(300);
    let hangs = traced(
        sh(tmp.path(), "mkdir third; sleep 60").limit(limit),
        &["strace", "-f"],
    );
    assert_eq!(hangs.ended, Ended::TimedOut);
    let trace = String::from_utf8(hangs.trace.unwrap().unwrap()).unwrap();
    assert!(trace.contains("\"third\""), "{trace}");
}

#[test]
fn at_its_limit_a_command_dies_with_its_daemons() {
    let tmp = tempfile::tempdir().unwrap();
    let world = world(tmp.path());
    let mark = mark(1);
    // Out of the session, and with its parent gone: neither group nor ancestry shows whose it is.
    let script =
        format!("(setsid sh -c 'sleep {mark} & exec sleep {mark}' &) ; echo up; sleep {mark}");
    let limit = Duration::from_millis(700);
    let done = world.run(&sh(tmp.path(), &script).limit(limit)).unwrap();
    assert_eq!(done.ended, Ended::TimedOut);
    assert_eq!(done.stdout, b"up\n");
    assert!(done.duration >= limit);
    assert_eq!(marked(&mark), Vec::<u32>::new());
}

#[test]
fn what_a_command_leaves_dies_with_it() {
    let tmp = tempfile::tempdir().unwrap();
    let world = world(tmp.path());
    let mark = mark(2);
    let script = format!("setsid sleep {mark} </dev/null & echo done");
    let done = world.run(&sh(tmp.path(), &script)).unwrap();
    assert_eq!(
        (done.ended, done.stdout),
        (Ended::Code(0), b"done\n".to_vec())
    );
    assert_eq!(marked(&mark), Vec::<u32>::new());
}

#[test]
fn output_beyond_the_cap_is_dropped_and_holds_nobody_up() {
    let tmp = tempfile::tempdir().unwrap();
    let done = world(tmp.path())
        .run(&sh(tmp.path(), "head -c 3000000 /dev/zero; echo end >&2"))
        .unwrap();
    assert_eq!(done.ended, Ended::Code(0));
    assert_eq!(done.stdout.len(), 1 << 20);
    assert_eq!(done.stderr, b"end\n");
}

#[test]
fn many_commands_run_at_once() {
    let tmp = tempfile::tempdir().unwrap();
    let world = Arc::new(world(tmp.path()));
    let fifo = tmp.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Each waits for the other, so that one after the other would never end.
    let ends = [
        sh(tmp.path(), "cat fifo"),
        sh(tmp.path(), "echo met > fifo"),
    ]
    .map(|command| {
        let world = Arc::clone(&world);
        thread::spawn(move || world.run(&command).unwrap())
    })
    .map(|thread| thread.join().unwrap());
    assert_eq!(ends[0].stdout, b"met\n");
}

#[test]
fn stopping_a_world_ends_its_commands() {
    let tmp = tempfile::tempdir().unwrap();
    let world = Arc::new(world(tmp.path()));
    let mark = mark(3);
    let running = {
        let (world, command) = (Arc::clone(&world), sh(tmp.path(), &format!("sleep {mark}")));
        thread::spawn(move || world.run(&command))
    };
    wait_until("the command runs", || !marked(&mark).is_empty());
    let pids = hold(marked(&mark));
    world.stop();
    assert!(matches!(
        running.join().unwrap(),
        Err(StackError::Cancelled)
    ));
    wait_gone(&pids);
    assert!(matches!(
        world.run(&sh(tmp.path(), "true")),
        Err(StackError::Cancelled)
    ));
}

#[test]
fn a_killed_supervisor_leaves_nothing_of_its_command() {
    let tmp = tempfile::tempdir().unwrap();
    let world = Arc::new(world(tmp.path()));
    let mark = mark(4);
    let script = format!("setsid sleep {mark} & echo $PPID > supervisor; sleep {mark}");
    let running = {
        let (world, command) = (Arc::clone(&world), sh(tmp.path(), &script));
        thread::spawn(move || world.run(&command))
    };
    wait_until("both sleep", || marked(&mark).len() >= 2);
    let pids = hold(marked(&mark));
    let killer = format!("kill -9 $(cat {}/supervisor)", tmp.path().display());
    world.run(&sh(tmp.path(), &killer)).unwrap();
    let done = running.join().unwrap().unwrap();
    assert_eq!(done.ended, Ended::Signal(libc::SIGKILL));
    wait_gone(&pids);
}

#[test]
fn a_supervisor_serves_command_after_command_until_it_is_killed() {
    let tmp = tempfile::tempdir().unwrap();
    let world = Arc::new(world(tmp.path()));
    let fifo = tmp.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let start = |script: &str| {
        let (world, command) = (Arc::clone(&world), sh(tmp.path(), script));
        thread::spawn(move || {
            let done = world.run(&command).unwrap();
            assert_eq!(done.ended, Ended::Code(0));
            String::from_utf8(done.stdout).unwrap()
        })
    };
    // It has a supervisor of its own, as long as it waits.
    let killer = start("read pid < fifo; kill -9 $pid");
    let mark = mark(5);
    let leave = format!("setsid sleep {mark} >/dev/null 2>&1 & echo $PPID");
    let first = start(&leave).join().unwrap();
    assert_eq!(marked(&mark), Vec::<u32>::new());
    assert_eq!(start("echo $PPID").join().unwrap(), first);
    std::fs::write(&fifo, &first).unwrap();
    killer.join().unwrap();
    // Two at once, so that there is use for both.
    let ends = [start("cat fifo"), start("echo met > fifo")].map(|end| end.join().unwrap());
    assert_eq!(ends[0], "met\n");
}
