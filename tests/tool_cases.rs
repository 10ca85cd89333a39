//! Tool cases, run natively through the built program: every recipe's own expectations hold on a plain directory,
//! and what a script leaves behind is ended.

mod common;

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output},
};

use results::{Observation, Outcome};

const PROGRAM: &str = env!("CARGO_BIN_EXE_probe9p");

fn run(arguments: &[&str], dir: &Path) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .current_dir(dir)
        .output()
        .expect("the program starts")
}

fn observe(recipe: &str, case: &str, dir: &Path) -> Observation {
    let dir = dir.to_str().expect("a UTF-8 directory");
    let output = run(
        &[
            "@tool-case",
            "--recipe",
            recipe,
            "--case",
            case,
            "--side",
            "native",
            "--dir",
            dir,
        ],
        Path::new("/"),
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    serde_json::from_str(text.lines().last().expect("a line")).expect("an observation")
}

/// A recipe of one case, written to `dir`.
fn recipe(dir: &Path, case: &str) -> String {
    let file = dir.join("mine.toml");
    let text = format!(
        "name = \"mine\"\nsummary = \"a test\"\n[[variants]]\nname = \"mine\"\nprograms = [\"sh\"]\n[[cases]]\nid = \"it\"\ntitle = \"it\"\n{case}"
    );
    std::fs::write(&file, text).expect("a writable directory");
    file.to_str().expect("a UTF-8 directory").to_owned()
}

fn observe_script(case: &str) -> Observation {
    let dirs = tempfile::tempdir().expect("a temporary directory");
    let volume = dirs.path().join("volume");
    std::fs::create_dir(&volume).expect("a directory");
    observe(&recipe(dirs.path(), case), "mine.it", &volume)
}

fn all_pass(variant: &str) {
    let cases = probes::tools::planned(&[variant.to_owned()])
        .expect("good recipes")
        .expect("a known tool");
    let mut ran = 0;
    for case in cases
        .iter()
        .filter(|case| case.id.starts_with(&format!("{variant}.")))
    {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let seen = observe("sqlite", &case.id, dir.path());
        if seen.outcome == Outcome::NotRun {
            eprintln!("skipped: {}", seen.detail);
            return;
        }
        assert_eq!(seen.outcome, Outcome::Ok, "{}: {seen:#?}", case.id);
        assert_eq!(
            seen.facts.get("integrity").map(String::as_str),
            Some("ok"),
            "{}: {seen:#?}",
            case.id
        );
        ran += 1;
    }
    assert!(ran >= 19, "only {ran} cases ran");
}

#[test]
fn every_sqlite_case_passes_natively_in_the_built_in_shell() {
    all_pass("sqlite");
}

#[test]
fn every_sqlite_case_passes_natively_in_the_systems_shell() {
    all_pass("sqlite3-cli");
}

/// A write beyond RLIMIT_FSIZE fails with EFBIG, as root too: a real failing call without a special filesystem.
#[test]
fn the_built_in_shell_records_the_call_that_sqlite_gave_up_on() {
    let dirs = tempfile::tempdir().expect("a temporary directory");
    let case = "script = '''\ntrap '' XFSZ\nulimit -f 32\nsqlite3 db 'CREATE TABLE t(v); INSERT INTO t VALUES (zeroblob(500000));'\n'''\n";
    let file = recipe(dirs.path(), case);
    let text = std::fs::read_to_string(&file).expect("the recipe");
    std::fs::write(
        &file,
        text.replace("programs = [\"sh\"]", "builtin = \"sqlite3\""),
    )
    .expect("a writable directory");
    let volume = dirs.path().join("volume");
    std::fs::create_dir(&volume).expect("a directory");
    let seen = observe(&file, "mine.it", &volume);
    assert_eq!(seen.outcome, Outcome::Error, "{seen:#?}");
    assert_eq!(
        (seen.call.as_deref(), seen.errno.as_deref()),
        (Some("pwrite"), Some("EFBIG")),
        "{seen:#?}"
    );
    assert_eq!(
        seen.facts.get("gave_up").map(String::as_str),
        Some("SQLITE_IOERR_WRITE"),
        "{seen:#?}"
    );
    assert!(
        seen.failed_calls
            .iter()
            .any(|call| call.starts_with("pwrite(db, ")),
        "{seen:#?}"
    );
    assert!(
        seen.detail
            .contains("disk I/O error (10) [SQLITE_IOERR_WRITE: pwrite(db, "),
        "{seen:#?}"
    );
}

#[test]
fn what_a_script_leaves_running_is_ended() {
    let seen = observe_script(
        "script = '''\n(setsid sh -c 'exec sleep 1000' & echo started)\nsetsid sleep 1000 & fact pid $!\n'''\n",
    );
    assert_eq!(seen.outcome, Outcome::Ok, "{seen:#?}");
    assert!(
        !Path::new("/proc").join(&seen.facts["pid"]).exists(),
        "{seen:#?}"
    );
}

#[test]
fn a_script_is_stopped_at_its_limit() {
    let seen = observe_script("limit = 1\nscript = '''\necho waiting\nexec sleep 1000\n'''\n");
    assert_eq!(seen.outcome, Outcome::Timeout, "{seen:#?}");
    assert!(
        seen.detail.contains("did not end within 1 s") && seen.detail.contains("waiting"),
        "{seen:#?}"
    );
}

#[test]
fn unmet_expectations_are_named() {
    let seen = observe_script("script = 'echo hello; exit 3'\n");
    assert_eq!((seen.outcome, seen.exit_code), (Outcome::Error, Some(3)));
    assert_eq!(seen.detail, "exit code 3: hello");
    let seen = observe_script("script = 'fact a 1'\nexpect.facts = { a = \"2\" }\n");
    assert_eq!(seen.detail, "`a` is `1` instead of `2`");
    let seen = observe_script("script = 'echo x'\nexpect.output = [\"hello\"]\n");
    assert_eq!(seen.detail, "the output lacks `hello`: x");
    let seen = observe_script("script = 'sh -c \"kill -SEGV \\$\\$\"; true'\n");
    assert_eq!(
        (seen.outcome, seen.signal.as_deref()),
        (Outcome::Signal, Some("SIGSEGV")),
        "{seen:#?}"
    );
}

#[test]
fn what_a_script_must_leave_is_looked_at() {
    let script = "script = 'umask 027; printf abc >a; mkdir d; ln -s a l; echo one; echo two'\n";
    let good = "expect.patterns = ['^two$']\nexpect.files.a = { mode = \"0640\", content = \"abc\", size = 3 }\n\
        expect.files.d = { kind = \"directory\" }\nexpect.files.l = { kind = \"symlink\", content = \"a\" }\n\
        expect.files.b = { kind = \"absent\" }\n";
    let seen = observe_script(&format!("{script}{good}"));
    assert_eq!(seen.outcome, Outcome::Ok, "{seen:#?}");
    for (expect, says) in [
        (
            "patterns = ['^tw$']",
            "nothing in the output matches `^tw$`",
        ),
        (
            "files.a.mode = \"0600\"",
            "`a` has mode 0640 instead of 0600",
        ),
        ("files.a.content = \"abd\"", "`a` holds `abc` instead of"),
        ("files.a.size = 4", "`a` has 3 bytes instead of 4"),
        ("files.a.pattern = '^x'", "nothing in `a` matches `^x`"),
        ("files.a.kind = \"directory\"", "`a` is not a directory"),
        ("files.a.kind = \"absent\"", "`a` is not absent"),
        ("files.b = {}", "`b` is not there"),
    ] {
        let seen = observe_script(&format!("{script}expect.{expect}\n"));
        assert_eq!(seen.outcome, Outcome::Error, "{expect}: {seen:#?}");
        assert!(seen.detail.starts_with(says), "{expect}: {seen:#?}");
    }
}

/// A service that is ready once its FIFO is there, and says how it was stopped.
const SERVICE: &str = r#"services = ["queue"]
[[services]]
id = "queue"
command = "trap 'echo stopped >>how; exit' TERM; echo $$ >pid; while [ -e pid ]; do sleep 0.05; done"
ready = "[ -f pid ] && [ -s pid ]"
"#;

fn observe_with_service(script: &str) -> Observation {
    observe_script(&format!("script = '''\n{script}\n'''\n{SERVICE}"))
}

#[test]
fn a_service_is_waited_for_and_stopped_by_its_script_or_for_it() {
    let stopped = "start queue\nfact pid $(cat pid)\nstop queue\nfact how \"$(cat how)\"";
    let seen = observe_with_service(stopped);
    assert_eq!(seen.outcome, Outcome::Ok, "{seen:#?}");
    assert_eq!(seen.facts["how"], "stopped");
    // A killed one is gone, not a zombie, so that it can be started again at once.
    let killed = "start queue\nkill9 queue\n! kill -0 $(cat pid) || fail alive\n[ ! -e how ]\n\
        rm pid; start queue\nfact pid $(cat pid)";
    let left = observe_with_service(killed);
    assert_eq!(left.outcome, Outcome::Ok, "{left:#?}");
    for (seen, script) in [
        (left, "the script ended"),
        (
            observe_with_service("start queue\nfact pid $(cat pid)\nfalse"),
            "the script failed",
        ),
    ] {
        let process = Path::new("/proc").join(&seen.facts["pid"]);
        assert!(!process.exists(), "{script}: {seen:#?}");
    }
}

#[test]
fn a_service_that_does_not_come_up_says_why() {
    let seen = observe_with_service("echo nothing >how; mkdir pid; start queue");
    assert_eq!(seen.outcome, Outcome::Error);
    assert!(
        seen.detail
            .contains("the service queue ended before it was ready: ")
            && seen.detail.contains("pid"),
        "{seen:#?}"
    );
    let seen = observe_with_service("start cue");
    assert!(
        seen.detail.contains("has no service cue in its `services`"),
        "{seen:#?}"
    );
}

#[test]
fn users_that_are_not_there_skip_a_case() {
    let seen = observe_script("script = 'true'\nusers = [\"no-such-user\"]\n");
    assert_eq!(seen.outcome, Outcome::NotRun, "{seen:#?}");
    assert!(
        seen.detail
            .contains("no-such-user, whom this system does not have"),
        "{seen:#?}"
    );
    let seen = observe_script("script = 'fact id $(run_as nobody id -u)'\nusers = [\"nobody\"]\n");
    if seen.outcome == Outcome::NotRun {
        eprintln!(
            "skipped: users_that_are_not_there_skip_a_case: {}",
            seen.detail
        );
    } else {
        assert_eq!(seen.facts["id"], "65534", "{seen:#?}");
    }
}

#[test]
fn a_recipe_with_a_mistake_is_refused_with_its_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (case, says) in [
        (
            "script = 'true'\nlimits = 3\n",
            "is broken at line 10, column 1: unknown field `limits`",
        ),
        (
            "script = 'true'\nexpect.files.a.mode = \"9\"\n",
            "at line 10, column 23: the mode `9`",
        ),
        (
            "script = 'true'\nservices = [\"x\"]\n",
            "at line 10, column 13: case `it` names the service `x`",
        ),
        ("script = 'true\n", "at line 9, column"),
    ] {
        let file = recipe(dir.path(), case);
        let ran = run(&["run", "--recipe", &file, "--path", "/tmp"], dir.path());
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(
            said.contains("mine.toml") && said.contains(says),
            "{says}: {said}"
        );
    }
}

/// Whoever mends a built-in recipe runs his own file, whatever of it has the built-in one's names.
#[test]
fn a_users_recipe_takes_the_place_of_the_built_in_one() {
    let place = common::Place::new();
    let own = "script = 'fact whose mine'\nexpect.facts.whose = \"mine\"\n";
    let file = recipe(place.path(), own);
    let text = std::fs::read_to_string(&file).expect("the recipe");
    let text = text.replace("\"mine\"\nsummary", "\"sqlite\"\nsummary");
    let text = text.replace("name = \"mine\"\nprograms", "name = \"sqlite\"\nprograms");
    std::fs::write(&file, text.replace("id = \"it\"", "id = \"wal\""))
        .expect("a writable directory");
    for option in [&["--case", "sqlite.wal"][..], &[]] {
        let fixed = ["run", "--recipe", &file, "--format", "json", "--path"];
        let directory = place.path().to_str().expect("a UTF-8 directory");
        let ran = place.run(&[&fixed[..], &[directory], option].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let report = ran.json();
        let cases = report["cases"].as_array().expect("cases");
        let wal = cases
            .iter()
            .find(|case| case["id"] == "sqlite.wal")
            .expect("the case");
        assert_eq!(wal["native"]["facts"]["whose"], "mine", "{wal:#}");
        assert_eq!(wal["verdict"], "works", "{wal:#}");
    }
}

#[test]
fn a_missing_program_is_not_run_and_its_package_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = recipe(dir.path(), "script = 'true'\n");
    let text = std::fs::read_to_string(&file).expect("the recipe");
    let text = text.replace(
        "[\"sh\"]",
        "[\"no-such-program\"]\npackages.debian = [\"no-such-package\"]",
    );
    std::fs::write(&file, text).expect("a writable directory");
    let seen = observe(&file, "mine.it", dir.path());
    assert_eq!(seen.outcome, Outcome::NotRun);
    assert!(
        seen.detail.contains("no-such-program")
            && seen.detail.contains("apt-get install -y no-such-package")
    );
}

#[test]
fn the_built_in_shell_ends_as_sqlite3_does() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ends = |arguments: &[&str]| {
        let output = run(&[&["@sqlite3"], arguments].concat(), dir.path());
        assert_eq!(output.status.signal(), None);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    assert_eq!(
        ends(&["db", "SELECT 1, 'a', NULL, 1.5;"]),
        (Some(0), "1|a||1.5\n".to_owned(), String::new())
    );
    assert_eq!(
        ends(&["-header", "-csv", "db", "SELECT 1 AS a, 2 AS b;"]).1,
        "a,b\n1,2\n"
    );
    let (code, _, problem) = ends(&["db", "SELECT * FROM nowhere;"]);
    assert_eq!(
        (code, problem.contains("no such table: nowhere (1)")),
        (Some(1), true),
        "{problem}"
    );
    assert_eq!(ends(&["db", ".exit 7"]).0, Some(7));
    assert!(
        ends(&["db", ".frobnicate"])
            .2
            .contains("no command `.frobnicate`")
    );
}

/// The main job, end to end, for the cases whose verdicts a user of the VM runtime meets first.
#[test]
fn sqlite_on_a_volume_works_or_is_explained() {
    if !common::fuse("sqlite_on_a_volume_works_or_is_explained") {
        return;
    }
    let place = common::Place::new();
    let cases = "sqlite.rollback_delete,sqlite.wal,sqlite.temp_store_on_volume,sqlite.mmap_size";
    let ran = place.run(&[
        "run", "--client", "fuse", "--case", cases, "--format", "json",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = ran.json();
    let case = |id: &str| {
        let all = report["cases"].as_array().expect("cases");
        all.iter()
            .find(|case| case["id"] == id)
            .unwrap_or_else(|| panic!("{id}: {report:#}"))
    };
    assert_eq!(case("sqlite.rollback_delete")["verdict"], "works");
    let wal = case("sqlite.wal");
    assert_eq!(
        (&wal["verdict"], &wal["volume"]["call"]),
        (&"workaround".into(), &"mmap".into()),
        "{wal:#}"
    );
    assert_eq!(wal["cause"]["id"], "mmap-shared-writable");
    let evidence = wal["cause"]["evidence"][0].as_str().expect("evidence");
    assert!(
        evidence.starts_with("mmap(db-shm, ") && evidence.contains("MAP_SHARED"),
        "{evidence}"
    );
    let remedies = wal["remedies"].as_array().expect("remedies");
    for id in [
        "journal-mode-delete",
        "locking-mode-exclusive",
        "cache-mmap",
    ] {
        let found = remedies.iter().find(|remedy| remedy["id"] == id);
        assert_eq!(
            found.map(|remedy| &remedy["verified"]),
            Some(&true.into()),
            "{id}: {wal:#}"
        );
    }
    assert_eq!(
        case("sqlite.temp_store_on_volume")["cause"]["id"],
        "setattr-by-path-after-unlink"
    );
    assert_eq!(case("sqlite.mmap_size")["verdict"], "degraded");
    assert!(
        place.left().is_empty(),
        "nothing is left behind: {:?}",
        place.left()
    );
}
