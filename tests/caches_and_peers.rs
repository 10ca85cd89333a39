//! Cache modes and other servers, on the real v9fs of user-mode Linux and on FUSE. Skipped, with the reason, where user-mode
//! Linux or a server is not installed.

mod common;

use common::{Place, fuse, skipped};
use server9p::stack::{Series, server::Server, uml::kernels};

/// What a host's change, a program's change and a mapping come to.
const CASES: [&str; 6] = [
    "mmap.shared_write",
    "coherence.host_writes",
    "coherence.host_touches",
    "coherence.volume_writes",
    "coherence.volume_syncs",
    "coherence.host_creates",
];

/// Whether this machine has user-mode Linux of this series.
fn uml(test: &str, series: Series) -> bool {
    match kernels::find(series) {
        Ok(_) => true,
        Err(why) => {
            skipped(test, &why.to_string());
            false
        }
    }
}

/// Runs these cases on a stack: those that do not work there.
fn that_fail(stack: &[&str], cases: &[&str]) -> Vec<String> {
    let place = Place::new();
    let chosen = cases.join(",");
    let how = ["run", "--case", &chosen, "--no-explain", "--format", "json"];
    // One at a time: unpfs ends its connection over a name that is not UTF-8, whatever else was under way on it.
    let ran = place.run(&[&how[..], &["--jobs", "1"], stack].concat());
    assert_eq!(ran.code, Some(0), "{stack:?}: {ran:?}");
    let report = ran.json();
    let results = report["cases"].as_array().unwrap();
    assert_eq!(results.len(), cases.len(), "{report:#}");
    let mut bad = Vec::new();
    for case in results {
        match case["verdict"].as_str() {
            Some("works") => {}
            // Whether a case still hears its error, when its server ends, is a race: twice, and it may be unstable.
            Some("fails" | "crashes" | "unstable") => {
                bad.push(case["id"].as_str().unwrap().to_owned())
            }
            _ => panic!("{stack:?}: {case:#}"),
        }
    }
    assert_eq!(place.left(), [""; 0]);
    bad.sort();
    bad
}

/// The kernel's 9p.rst: none caches nothing, mmap caches for mappings alone, loose caches with no intended consistency and
/// writes back when it likes.
fn is_as_documented(stack: &[&str], cache: &str) {
    let stack = [stack, &["--cache", cache]].concat();
    let wanted: &[&str] = match cache {
        "none" => &["mmap.shared_write"],
        "mmap" => &[],
        // A sync writes back, and a name that the host made was never looked for.
        _ => &[
            "coherence.host_touches",
            "coherence.host_writes",
            "coherence.volume_writes",
        ],
    };
    assert_eq!(that_fail(&stack, &CASES), wanted, "{stack:?}");
}

#[test]
fn each_cache_mode_of_linux_6_1_is_as_its_kernel_documents() {
    if uml(
        "each_cache_mode_of_linux_6_1_is_as_its_kernel_documents",
        Series::Linux6_1,
    ) {
        for cache in ["none", "mmap", "loose", "fscache"] {
            is_as_documented(&["--client", "uml", "--kernel", "6.1"], cache);
        }
    }
}

#[test]
fn each_cache_mode_of_linux_5_10_is_as_its_kernel_documents() {
    if uml(
        "each_cache_mode_of_linux_5_10_is_as_its_kernel_documents",
        Series::Linux5_10,
    ) {
        for cache in ["mmap", "loose"] {
            is_as_documented(&["--client", "uml", "--kernel", "5.10"], cache);
        }
        let place = Place::new();
        let run = [
            "run",
            "--client",
            "uml",
            "--kernel",
            "5.10",
            "--case",
            "link.nlink",
        ];
        let ran = place.run(&[&run[..], &["--cache", "readahead"]].concat());
        ran.says(3, "has no cache=readahead, which came with 6.4");
    }
}

/// A program that does not see the host's changes, or whose own are not seen, is told that the cache mode does it.
#[test]
fn what_a_cache_keeps_back_has_its_cause_and_a_remedy_that_works() {
    if !fuse("what_a_cache_keeps_back_has_its_cause_and_a_remedy_that_works") {
        return;
    }
    let place = Place::new();
    let cases = "coherence.host_writes,coherence.volume_writes,coherence.host_removes_open";
    let ran = place.run(&[
        "run", "--client", "fuse", "--cache", "loose", "--case", cases, "--format", "json",
    ]);
    let report = ran.json();
    let told = |id: &str| {
        let cases = report["cases"].as_array().unwrap();
        let case = cases.iter().find(|case| case["id"] == id).unwrap();
        (
            case["verdict"].as_str().unwrap(),
            case["cause"]["id"].as_str(),
        )
    };
    assert_eq!(
        told("coherence.host_writes"),
        ("workaround", Some("cached-without-asking"))
    );
    assert_eq!(
        told("coherence.volume_writes"),
        ("workaround", Some("written-back-later"))
    );
    assert_eq!(told("coherence.host_removes_open"), ("works", None));
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn each_cache_mode_of_fuse_is_as_v9fs_documents() {
    if fuse("each_cache_mode_of_fuse_is_as_v9fs_documents") {
        for cache in ["none", "mmap", "loose", "fscache"] {
            is_as_documented(&["--client", "fuse"], cache);
        }
    }
}

/// A peer serves both clients: what works there and what does not.
fn serves(test: &str, server: Server, bad: &[&str]) {
    if let Err(why) = server.available() {
        return skipped(test, &why.to_string());
    }
    let cases = [
        "link.nlink",
        "coherence.volume_closes",
        "io.append",
        "name.not_utf8",
    ];
    for client in ["fuse", "uml"] {
        let there = match client {
            "uml" => uml(test, Series::Linux6_1),
            _ => fuse(test),
        };
        if there {
            let stack = [
                "--client",
                client,
                "--server",
                server.name(),
                "--profile",
                "posix",
            ];
            assert_eq!(that_fail(&stack, &cases), bad, "{stack:?}");
        }
    }
}

#[test]
fn diod_serves_fuse_and_user_mode_linux() {
    serves("diod_serves_fuse_and_user_mode_linux", Server::Diod, &[]);
}

/// It makes no links, and a name that is not UTF-8 ends its connection: the cases beside and after that one go on.
#[test]
fn unpfs_serves_fuse_and_user_mode_linux() {
    let bad = ["link.nlink", "name.not_utf8"];
    serves("unpfs_serves_fuse_and_user_mode_linux", Server::Unpfs, &bad);
}
