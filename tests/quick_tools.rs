//! The quick tools that `.ci/run` installs, each natively and on a volume: what a recipe expects holds natively, so that
//! its verdicts say something of volumes.

mod common;

use std::collections::BTreeMap;

use common::{Place, fuse, skipped};

/// Cases that take about a second each: databases, services with their users, copying and version control.
const QUICK: &str = "redis.rdb_save,redis.socket_on_volume,redis.own_user,nginx.own_user,nginx.sendfile,nginx.client_body,\
    php-fpm.own_user,memcached.socket_on_volume,logrotate.create,logrotate.copytruncate,cron.job_runs,lmdb.transactions,\
    leveldb.locked,rsyslog.reopened,openssh.agent_socket,e2fsprogs.loop_mount,sqlite.wal";

/// Runs the cases with that client; the verdicts, by case.
fn verdicts(place: &Place, client: &str) -> BTreeMap<String, String> {
    let ran = place.run(&[
        "run", "--client", client, "--case", QUICK, "--format", "json",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = ran.json();
    let cases = report["cases"].as_array().expect("cases");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    for case in cases {
        let verdict = text(&case["verdict"]);
        assert!(!["invalid", "unstable"].contains(&&*verdict), "{case:#}");
        if verdict == "skipped" {
            eprintln!(
                "skipped: {} with client {client}: {}",
                text(&case["id"]),
                text(&case["note"])
            );
        }
    }
    cases
        .iter()
        .map(|case| (text(&case["id"]), text(&case["verdict"])))
        .collect()
}

/// What each case comes to where it could be run at all.
fn expect(seen: &BTreeMap<String, String>) {
    for (id, expected) in [
        ("redis.rdb_save", "works"),
        ("redis.socket_on_volume", "workaround"),
        ("nginx.sendfile", "works"),
        ("memcached.socket_on_volume", "workaround"),
        ("lmdb.transactions", "workaround"),
        ("logrotate.copytruncate", "works"),
        ("leveldb.locked", "works"),
        ("e2fsprogs.loop_mount", "works"),
        ("sqlite.wal", "workaround"),
    ] {
        let verdict = &seen[id];
        assert!(
            verdict == expected || verdict == "skipped",
            "{id}: {seen:#?}"
        );
    }
}

#[test]
fn quick_tools_hold_natively_and_have_their_verdicts_on_fuse() {
    if !fuse("quick_tools_hold_natively_and_have_their_verdicts_on_fuse") {
        return;
    }
    let place = Place::new();
    expect(&verdicts(&place, "fuse"));
    assert_eq!(place.left(), [""; 0], "nothing is left behind");
}

#[test]
fn quick_tools_have_their_verdicts_under_user_mode_linux() {
    let place = Place::new();
    let stacks = place.run(&["list", "stacks", "--format", "json"]).json();
    let stacks = stacks.as_array().expect("stacks");
    let uml = stacks
        .iter()
        .find(|stack| stack["name"] == "uml/server9p/golem");
    if let Some(why) = uml.and_then(|stack| stack["missing"].as_str()) {
        skipped("quick_tools_have_their_verdicts_under_user_mode_linux", why);
        return;
    }
    expect(&verdicts(&place, "uml"));
}
