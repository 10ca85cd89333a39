//! `--client kernel` where there is a kernel with 9p and a root who may mount it: in a guest of user-mode Linux, in
//! which the program itself runs. Skipped, with the reason, where user-mode Linux is not installed.

mod common;

use std::time::Duration;

use common::skipped;
use serde_json::Value;
use server9p::{
    profile::Profile,
    stack::{
        CommandSpec, Ended, Series, VolumeOptions, World, process,
        server::Server,
        uml::{UmlClient, kernels},
        volume::VolumeWorld,
    },
};

const PROBE9P: &str = env!("CARGO_BIN_EXE_probe9p");

/// A guest in which other users may pass the root, as the server's must.
fn guest(test: &str) -> Option<VolumeWorld> {
    process::use_program(PROBE9P);
    match kernels::find(Series::Linux6_1) {
        Ok(kernel) => {
            let options = VolumeOptions::new(Profile::Posix);
            let client = Box::new(UmlClient { kernel });
            Some(VolumeWorld::new(&options, Server::Own, client).unwrap())
        }
        Err(why) => {
            skipped(test, &why.to_string());
            None
        }
    }
}

/// What a script in the guest prints; `$P` is the program.
fn said(guest: &VolumeWorld, script: &str) -> String {
    let command = CommandSpec::new(["/bin/sh", "-c", script], "/tmp")
        .env("P", PROBE9P)
        .env("NO_COLOR", "1")
        .limit(Duration::from_secs(120));
    let done = guest.run(&command).unwrap();
    let text = [&done.stdout[..], &done.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(done.ended, Ended::Code(0), "{script}: {text}");
    text
}

#[test]
fn the_host_s_own_v9fs_mounts_the_volume_and_is_what_auto_takes() {
    let Some(guest) = guest("the_host_s_own_v9fs_mounts_the_volume_and_is_what_auto_takes") else {
        return;
    };
    let run = "$P run --client kernel --case link.nlink,mmap.shared_write --no-explain --format json 2>/dev/null";
    let text = said(&guest, run);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}"));
    let stack = &report["stack"];
    assert_eq!(
        (&stack["client"], &stack["server"]),
        (&"kernel".into(), &"server9p".into())
    );
    assert!(
        stack["kernel"].as_str().unwrap().starts_with("6.1."),
        "{stack}"
    );
    let options = stack["mount_options"].as_str().unwrap();
    assert!(
        options.contains("trans=fd") && options.contains("access=client"),
        "{options}"
    );
    let verdict = |id: &str| {
        let cases = report["results"]
            .as_array()
            .or(report["cases"].as_array())
            .unwrap();
        cases.iter().find(|case| case["id"] == id).unwrap()["verdict"].clone()
    };
    assert_eq!(verdict("link.nlink"), "works");
    assert_eq!(verdict("mmap.shared_write"), "fails");
    let text = said(&guest, "$P exec -- true 2>&1");
    assert!(
        text.contains("client kernel, this host's own v9fs"),
        "{text}"
    );
    let text = said(
        &guest,
        "$P exec --client kernel --kernel 5.10 -- true 2>&1; true",
    );
    assert!(text.contains("which is Linux 6.1"), "{text}");
    assert_eq!(
        said(&guest, "grep -c ' 9p ' /proc/mounts"),
        "1\n",
        "only the guest's own"
    );
}

#[test]
fn a_server_that_does_not_answer_is_given_up_at_the_limit() {
    let Some(guest) = guest("a_server_that_does_not_answer_is_given_up_at_the_limit") else {
        return;
    };
    // The guest's /tmp is laid over the host's.
    let script = "export TMPDIR=/tmp/inner; mkdir $TMPDIR; $P exec --client kernel --volume-only --limit 2 -- \
                    sh -c 'touch up; while :; do ls >/dev/null; done' & \
                  while ! ls $TMPDIR/probe9p-*/export/*/up >/dev/null 2>&1; do :; done; \
                  pkill -STOP -f '[@]serve'; wait; ls $TMPDIR; pgrep -f '[@]serve' && echo probe9p-serve-is-left; true";
    let text = said(&guest, script);
    assert!(text.contains("hangs"), "{text}");
    assert!(!text.contains("probe9p-"), "nothing is left: {text}");
}
