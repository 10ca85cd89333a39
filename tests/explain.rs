//! `probe9p explain`: from a failing case to the call, the messages and the cause.

mod common;

use common::Place;
use serde_json::Value;

fn has_strace() -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("strace").is_file()))
}

/// Why this machine cannot run the tests here, if so.
fn lacking() -> Option<&'static str> {
    if std::fs::File::open("/dev/fuse").is_err() {
        return Some("/dev/fuse cannot be opened");
    }
    (!has_strace()).then_some("strace is not installed")
}

#[test]
fn the_refused_mapping_is_shown_with_its_cause_and_its_verified_remedy() {
    if let Some(why) = lacking() {
        println!(
            "skipped: the_refused_mapping_is_shown_with_its_cause_and_its_verified_remedy: {why}"
        );
        return;
    }
    let ran = Place::new().run(&[
        "explain",
        "mmap.shared_write",
        "--client",
        "fuse",
        "--calls",
        "1",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // Which other volumes can be had to try is the machine's matter.
    let (shown, tried) = ran
        .stdout
        .split_once("\nTried:\n")
        .expect("remedies were tried");
    assert!(tried.contains("✓ mount with cache=mmap"), "{tried}");
    insta::assert_snapshot!(shown);
}

#[test]
fn messages_stand_by_the_call_that_they_were_sent_for() {
    if let Some(why) = lacking() {
        println!("skipped: messages_stand_by_the_call_that_they_were_sent_for: {why}");
        return;
    }
    let place = Place::new();
    let args = [
        "explain",
        "inode.unlinked_ftruncate",
        "--client",
        "fuse",
        "--format",
        "json",
    ];
    let explained = place.run(&args).json();
    let call = &explained["calls"][0];
    assert_eq!(call["kind"], "fails", "{explained:#}");
    assert_eq!(call["volume"], "ftruncate(data (deleted), 4) = ENOENT");
    assert_eq!(call["native"], "ftruncate(data (deleted), 4) = 0");
    let messages = call["messages"].as_array().unwrap();
    let refused = |m: &&Value| m["type"] == "Tsetattr" && m["result"] == "ENOENT";
    assert!(messages.iter().any(|m| refused(&m)), "{explained:#}");
    assert_eq!(explained["cause"]["fault"], "server");
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn without_strace_the_server_s_trace_says_what_was_refused() {
    if std::fs::File::open("/dev/fuse").is_err() {
        println!(
            "skipped: without_strace_the_server_s_trace_says_what_was_refused: /dev/fuse cannot be opened"
        );
        return;
    }
    let place = Place::new();
    let ran = Place::command(
        &place,
        &[
            "explain",
            "special.mkfifo",
            "--client",
            "fuse",
            "--format",
            "json",
        ],
    )
    .env("PATH", "/nowhere")
    .output()
    .unwrap();
    let explained: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let remark = explained["remarks"][0].as_str().unwrap();
    assert!(remark.contains("strace is not installed"), "{explained:#}");
    let messages = explained["messages"].as_array().unwrap();
    let refused = |m: &Value| m["type"] == "Tmknod" && m["result"] == "ENXIO";
    assert!(messages.iter().any(refused), "{explained:#}");
    let marks = |m: &Value| {
        m["detail"]
            .as_str()
            .is_some_and(|d| d.contains("probe9p-mark"))
    };
    assert!(!messages.iter().any(marks), "{explained:#}");
    assert_eq!(explained["cause"]["id"], "special-files-refused");
}

#[test]
fn a_run_shows_the_refused_call_unasked_and_says_where_it_cannot() {
    let name = "a_run_shows_the_refused_call_unasked_and_says_where_it_cannot";
    if let Some(why) = lacking() {
        println!("skipped: {name}: {why}");
        return;
    }
    let place = Place::new();
    let args = [
        "run",
        "--case",
        "special.mkfifo",
        "--client",
        "fuse",
        "--format",
        "json",
    ];
    let shows = |report: &Value| {
        let evidence = report["cases"][0]["cause"]["evidence"].as_array().unwrap();
        let refused = |line: &Value| line.as_str().unwrap().starts_with("mknodat(AT_FDCWD, ");
        assert_eq!(report["cases"][0]["cause"]["id"], "special-files-refused");
        evidence.iter().any(refused)
    };
    assert!(shows(&place.run(&args).json()));
    let without = place
        .command(&[&args[..], &["--explain"]].concat())
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&without.stderr);
    assert!(said.contains("strace is not installed"), "{said}");
    assert!(!shows(&serde_json::from_slice(&without.stdout).unwrap()));
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn what_works_needs_no_explanation_and_several_cases_are_too_many() {
    let place = Place::new();
    let dir = place.path().join("plain");
    std::fs::create_dir(&dir).unwrap();
    let ran = place.run(&["explain", "link.nlink", "--path", dir.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("nothing to explain"), "{ran:?}");
    place
        .run(&["explain", "mmap.*"])
        .says(2, "one is explained at a time");
    place.run(&["explain", "no.such"]).says(2, "no.such");
}

#[test]
fn every_case_of_a_long_run_that_fails_shows_the_call_that_fails_on_the_volume() {
    let name = "every_case_of_a_long_run_that_fails_shows_the_call_that_fails_on_the_volume";
    if let Some(why) = lacking() {
        println!("skipped: {name}: {why}");
        return;
    }
    let place = Place::new();
    let families = "mmap,xattr,rename,lock,permission";
    let args = [
        "run", "--ops", families, "--client", "fuse", "--format", "json",
    ];
    let report = place.run(&args).json();
    let cases = report["cases"].as_array().unwrap();
    assert!(cases.len() > 100, "{}", cases.len());
    let refused = cases.iter().filter_map(|case| {
        let errno = case["volume"]["errno"].as_str()?;
        (!case["cause"].is_null()).then(|| {
            (
                &case["id"],
                &case["cause"]["evidence"],
                format!(" = {errno}"),
            )
        })
    });
    let mut count = 0;
    for (id, evidence, errno) in refused {
        let shows = |line: &Value| line.as_str().unwrap().contains(&errno);
        assert!(
            evidence.as_array().unwrap().iter().any(shows),
            "{id}: {evidence:#}"
        );
        count += 1;
    }
    assert!(count > 20, "{count}");
    assert_eq!(place.left(), [""; 0]);
}
