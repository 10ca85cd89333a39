//! `probe9p exec` through the built program: what it passes through, compares, and says of a difference.

mod common;

use std::fs;

use common::{Place, fuse, has, skipped};
use serde_json::Value;
use server9p::stack::{Series, uml};

const HARD_LINK: &str = "echo hi > a && ln a b && stat -c %h b";

fn facts(report: &Value, side: &str) -> Value {
    report["cases"][0][side]["facts"].clone()
}

#[test]
fn a_command_that_does_the_same_works_and_its_output_is_passed_through() {
    if !fuse("a_command_that_does_the_same_works_and_its_output_is_passed_through") {
        return;
    }
    let place = Place::new();
    let ran = place.run(&[
        "exec",
        "--client",
        "fuse",
        "--",
        "sh",
        "-c",
        &format!("{HARD_LINK}; echo oops >&2"),
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "2", "{ran:?}");
    assert!(
        lines[1].starts_with("✓ works: exit code 0, output and tree are the same"),
        "{ran:?}"
    );
    assert!(lines[1].contains("fuse/server9p/golem"), "{ran:?}");
    assert!(ran.stderr.contains("oops"), "{ran:?}");
    assert_eq!(place.left(), [""; 0], "nothing is left behind");
}

#[test]
fn a_difference_is_named_with_the_call_its_cause_and_what_to_do() {
    if !fuse("a_difference_is_named_with_the_call_its_cause_and_what_to_do") {
        return;
    }
    let place = Place::new();
    let ran = place.run(&[
        "exec",
        "--client",
        "fuse",
        "--format",
        "json",
        "--",
        "sh",
        "-c",
        "echo x > kept; mkfifo pipe",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = ran.json();
    let case = &report["cases"][0];
    assert_eq!(
        (case["id"].as_str(), case["verdict"].as_str()),
        (Some("exec"), Some("fails")),
        "{case:#}"
    );
    assert_eq!(facts(&report, "native")["tree: pipe"], "FIFO, mode 0644");
    assert_eq!(facts(&report, "volume")["tree: pipe"], Value::Null);
    assert_eq!(
        facts(&report, "volume")["tree: kept"],
        Value::Null,
        "what is the same is not listed"
    );
    if has("strace") {
        assert_eq!(case["cause"]["id"], "special-files-refused", "{case:#}");
        let evidence = case["cause"]["evidence"][0].as_str().unwrap();
        assert!(
            evidence.contains("mknodat") && evidence.ends_with("ENXIO"),
            "{evidence}"
        );
    } else {
        skipped("the cause of the difference", "strace is not installed");
    }
    let ran = place.run(&[
        "exec",
        "--client",
        "fuse",
        "--fail-on",
        "fails",
        "--",
        "mkfifo",
        "pipe",
    ]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("tree: pipe"), "{ran:?}");
}

#[test]
fn the_other_profile_gives_the_other_verdict() {
    if !fuse("the_other_profile_gives_the_other_verdict") {
        return;
    }
    let place = Place::new();
    let ran = place.run(&[
        "exec",
        "--client",
        "fuse",
        "--profile",
        "posix",
        "--",
        "mkfifo",
        "pipe",
    ]);
    assert!(ran.stdout.starts_with("✓ works"), "{ran:?}");
}

#[test]
fn a_seed_is_there_before_the_command() {
    if !fuse("a_seed_is_there_before_the_command") {
        return;
    }
    let place = Place::new();
    let seed = place.path().join("seed");
    fs::create_dir_all(seed.join("inner")).unwrap();
    fs::write(seed.join("inner/a"), "seeded").unwrap();
    fs::hard_link(seed.join("inner/a"), seed.join("b")).unwrap();
    let seed = seed.to_str().unwrap();
    let script = "cat inner/a && stat -c ' %h' b && [ \"$PWD\" = \"$PROBE9P_DIR\" ]";
    let ran = place.run(&[
        "exec", "--client", "fuse", "--seed", seed, "--", "sh", "-c", script,
    ]);
    assert!(ran.stdout.starts_with("seeded 2\n✓ works"), "{ran:?}");
    let ran = place.run(&["exec", "--seed", "/nonexistent", "--", "true"]);
    ran.says(3, "the seed /nonexistent cannot be listed");
}

#[test]
fn a_directory_that_is_mounted_already_is_compared_too() {
    let place = Place::new();
    let volume = place.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let volume_path = volume.to_str().unwrap();
    let ran = place.run(&["exec", "--path", volume_path, "--", "sh", "-c", HARD_LINK]);
    assert!(ran.stdout.starts_with("2\n✓ works"), "{ran:?}");
    assert_eq!(
        common::entries(&volume),
        [""; 0],
        "the volume is left as it was"
    );
    // What differs from run to run natively is no difference of the volume's.
    let ran = place.run(&[
        "exec",
        "--path",
        volume_path,
        "--",
        "sh",
        "-c",
        "cat /proc/sys/kernel/random/uuid | tee a",
    ]);
    assert!(ran.stdout.contains("✓ works"), "{ran:?}");
    assert!(
        ran.stdout.contains("varies natively too: output, tree: a"),
        "{ran:?}"
    );
}

#[test]
fn the_volume_alone_is_judged_by_the_exit_code() {
    let place = Place::new();
    let volume = place.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let path = volume.to_str().unwrap();
    let ran = place.run(&["exec", "--volume-only", "--path", path, "--", "true"]);
    assert!(
        ran.stdout.starts_with("✓ works: exit code 0 on the volume"),
        "{ran:?}"
    );
    let ran = place.run(&[
        "exec",
        "--volume-only",
        "--path",
        path,
        "--",
        "sh",
        "-c",
        "exit 3",
    ]);
    assert!(ran.stdout.starts_with("✗ fails: exit code 3"), "{ran:?}");
}

#[test]
fn a_command_that_is_not_there_or_never_ends_says_so() {
    let place = Place::new();
    let volume = place.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let path = volume.to_str().unwrap();
    let ran = place.run(&["exec", "--path", path, "--", "no-such-command"]);
    assert!(
        ran.stdout.contains("invalid: fails natively too"),
        "{ran:?}"
    );
    let ran = place.run(&[
        "exec",
        "--volume-only",
        "--limit",
        "1",
        "--path",
        path,
        "--",
        "sleep",
        "1000",
    ]);
    assert!(
        ran.stdout.contains("hangs: did not end within its limit"),
        "{ran:?}"
    );
    let ran = place.run(&["exec"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn the_volumes_on_which_a_command_works_are_found_by_running_it_there() {
    if !fuse("the_volumes_on_which_a_command_works_are_found_by_running_it_there") {
        return;
    }
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_probe9p");
    // It needs memory that is shared through a file.
    let statements = "PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1);";
    let words = ["@sqlite3", "-bail", "db", statements];
    let exec = [
        "exec",
        "--client",
        "fuse",
        "--try-remedies",
        "--format",
        "json",
        "--",
        program,
    ];
    let ran = place.run(&[&exec[..], &words].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let case = &ran.json()["cases"][0];
    assert_eq!(case["verdict"], "workaround", "{case:#}");
    let remedies = case["remedies"].as_array().expect("remedies");
    let verified = |id: &str| {
        let found = remedies.iter().find(|remedy| remedy["id"] == id);
        found.unwrap_or_else(|| panic!("{id}: {case:#}"))["verified"].clone()
    };
    assert_eq!(verified("cache-mmap"), true, "{case:#}");
    assert_eq!(verified("cache-loose"), true, "{case:#}");
    let refused = place.run(&[
        "exec",
        "--client",
        "fuse",
        "--try-remedies",
        "--",
        "mkfifo",
        "pipe",
    ]);
    // Where it works is no 9p: a ram volume.
    assert!(refused.stdout.contains("↻ workaround: "), "{refused:?}");
    assert!(
        refused
            .stdout
            .contains("✗ does not help: mount with cache=mmap"),
        "{refused:?}"
    );
    assert_eq!(place.left(), [""; 0], "nothing is left behind");
}

#[test]
fn a_user_mode_linux_tries_the_other_volumes_that_it_can_have() {
    let test = "a_user_mode_linux_tries_the_other_volumes_that_it_can_have";
    if let Err(why) = uml::kernels::find(Series::Linux5_10) {
        return skipped(test, &why.to_string());
    }
    let place = Place::new();
    let exec = "exec --client uml --kernel 5.10 --try-remedies --format json -- mkfifo pipe";
    let ran = place.run(&exec.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let case = &ran.json()["cases"][0];
    assert_eq!(case["verdict"], "workaround", "{case:#}");
    assert_eq!(case["cause"]["id"], "special-files-refused", "{case:#}");
    let remedies = case["remedies"].as_array().expect("remedies");
    let tried = remedies.iter().filter(|remedy| {
        !remedy["detail"]
            .as_str()
            .is_some_and(|said| said.starts_with("was not run"))
    });
    let helps: Vec<_> = tried
        .map(|remedy| {
            (
                remedy["id"].as_str().unwrap_or_default(),
                remedy["verified"] == true,
            )
        })
        .collect();
    assert_eq!(
        helps,
        [
            ("cache-mmap", false),
            ("cache-loose", false),
            ("cache-fscache", false),
            ("ram", true),
            ("storage", true)
        ],
        "{case:#}"
    );
    assert_eq!(place.left(), [""; 0], "nothing is left behind");
}
