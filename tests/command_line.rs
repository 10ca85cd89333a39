//! Exit codes and sentences: what scripts and people who mistype rely on.

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use common::{Place, entries, skipped};

#[test]
fn help_lists_commands_and_exit_codes() {
    let ran = Place::new().run(&["--help"]);
    assert_eq!(ran.code, Some(0));
    for part in [
        "run",
        "list",
        "doctor",
        "Exit codes:",
        "70  a fault of probe9p's own",
    ] {
        assert!(ran.stdout.contains(part), "{part} is not in {}", ran.stdout);
    }
}

#[test]
fn no_arguments_show_help_and_are_a_usage_error() {
    let ran = Place::new().run(&[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("Usage: probe9p"), "{ran:?}");
}

#[test]
fn an_unknown_name_is_told_with_the_nearest_ones() {
    let place = Place::new();
    place.run(&["run", "--ops", "mmap.share_write"]).says(
        2,
        "there is no operation \"mmap.share_write\" (the nearest: mmap.shared_write",
    );
    place
        .run(&["run", "--tool", "sqlit"])
        .says(2, "there is no tool \"sqlit\" (the nearest: sqlite");
    place.run(&["run", "--case", "sqlite.wall"]).says(
        2,
        "there is no case \"sqlite.wall\" (the nearest: sqlite.wal",
    );
    place
        .run(&["run", "--ops", "all", "--profile", "golm"])
        .says(2, "there is no profile \"golm\"");
    place
        .run(&["run", "--ops", "all", "--cache", "some"])
        .says(2, "there is no cache mode \"some\"");
    place
        .run(&["run", "--ops", "all", "--run-as", "no-such-user"])
        .says(2, "there is no user \"no-such-user\"");
    place
        .run(&["run", "--ops", "all", "--timeout-scale", "0"])
        .says(2, "\"0\" is no factor");
    place
        .run(&["run", "--ops", "all", "--jobs", "0"])
        .says(2, "0 is not in 1..");
    place
        .run(&["run", "--ops", "all", "--fail-on", "works"])
        .says(2, "\"works\" is not a threshold");
    assert_eq!(place.left(), [""; 0], "nothing is left behind");
}

#[test]
fn a_tool_named_as_an_operation_is_told_so() {
    let ran = Place::new().run(&["run", "--ops", "sqlite"]);
    ran.says(2, "\"sqlite\" is a tool, so select it with `--tool sqlite`");
}

#[test]
fn nothing_selected_has_its_own_code() {
    let place = Place::new();
    for args in [
        &["run"][..],
        &["run", "--ops", "zzz*"],
        &["run", "--tool", ""],
    ] {
        place
            .run(args)
            .says(4, "no case is selected; name some with --tool sqlite");
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named_with_the_remedy() {
    let place = Place::new();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let run = |path: &str| place.run(&["run", "--ops", "link", "--path", path]);
    run("/no/such/dir").says(
        3,
        "/no/such/dir cannot be opened (No such file or directory",
    );
    run(file.to_str().unwrap()).says(3, "give --path a directory, not a file");
    if nix::unistd::geteuid().is_root() {
        // Root may write everywhere but on what nobody may.
        run("/proc").says(3, "/proc cannot be written");
    } else {
        let closed = place.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        run(closed.to_str().unwrap()).says(3, "cannot be written (Permission denied");
    }
    assert_eq!(place.left(), [""; 0], "nothing is left behind");
}

#[test]
fn a_temporary_directory_that_cannot_be_used_is_named_with_the_remedy() {
    let place = Place::new();
    let mut command = place.command(&["run", "--ops", "link", "--path", "."]);
    let output = command.env("TMPDIR", "/no/such").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("/no/such") && said.contains("set TMPDIR to"),
        "{said}"
    );
}

#[test]
fn files_that_cannot_be_written_end_the_run_before_it_begins() {
    let place = Place::new();
    let volume = place.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let run = |option: &str, file: &str| {
        place.run(&[
            "run",
            "--ops",
            "link",
            "--path",
            volume.to_str().unwrap(),
            option,
            file,
        ])
    };
    run("--out", "/no/such/report.json")
        .says(3, "/no/such/report.json cannot be written: No such file");
    run("--out", "/tmp").says(3, "/tmp cannot be written: it is a directory; name a file");
    run("--jsonl", "/no/such/events").says(3, "make its directory first");
    assert_eq!(entries(&volume), [""; 0]);
}

#[test]
fn a_full_disk_is_one_sentence_and_leaves_no_half_report() {
    let test = "a_full_disk_is_one_sentence_and_leaves_no_half_report";
    let place = Place::new();
    let (volume, full) = (place.path().join("volume"), place.path().join("full"));
    fs::create_dir(&volume).unwrap();
    fs::create_dir(&full).unwrap();
    let run = |out: &str| {
        place.run(&[
            "run",
            "--ops",
            "link",
            "--path",
            volume.to_str().unwrap(),
            "--out",
            out,
        ])
    };
    run("/dev/full").says(3, "/dev/full cannot be written: No space left on device");
    // A disk of 8 KiB: the first results fit, all do not.
    let tiny = Some("size=8k");
    let made = nix::mount::mount(
        Some("tmpfs"),
        &full,
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        tiny,
    );
    if let Err(error) = made {
        return skipped(
            test,
            &format!("a small file system cannot be mounted here ({error})"),
        );
    }
    let out = full.join("report.json");
    let ran = run(out.to_str().unwrap());
    let (kept, names) = (fs::read_to_string(&out), entries(&full));
    nix::mount::umount2(&full, nix::mount::MntFlags::MNT_DETACH).unwrap();
    ran.says(3, "free space there or name a file elsewhere");
    let report: serde_json::Value = serde_json::from_str(&kept.unwrap()).unwrap();
    assert!(
        report.get("finished").is_none(),
        "it is not said to be complete"
    );
    assert_eq!(names, ["report.json"], "no half-written file is left");
}

#[test]
fn a_reader_that_leaves_early_is_no_fault() {
    let place = Place::new();
    let mut child = place
        .command(&["list", "ops"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn lists_and_findings_are_json_on_request() {
    let place = Place::new();
    let ops = place.run(&["list", "ops", "--format", "json"]).json();
    let ids: Vec<_> = ops
        .as_array()
        .unwrap()
        .iter()
        .map(|op| op["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"mmap.shared_write"), "{ids:?}");
    let tools = place.run(&["list", "tools", "--format", "json"]).json();
    assert!(
        tools
            .as_array()
            .unwrap()
            .iter()
            .any(|tool| tool["name"] == "sqlite"),
        "{tools}"
    );
    let stacks = place.run(&["list", "stacks", "--format", "json"]).json();
    assert!(
        stacks
            .as_array()
            .unwrap()
            .iter()
            .any(|s| s["name"] == "fuse/server9p/golem"),
        "{stacks}"
    );
    let findings = place.run(&["doctor", "--format", "json"]).json();
    let fuse = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["id"] == "fuse")
        .unwrap();
    assert!(["ready", "missing", "forbidden"].contains(&fuse["state"].as_str().unwrap()));
}
