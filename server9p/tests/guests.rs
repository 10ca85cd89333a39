//! Guests of user-mode Linux: the real v9fs over our server, and guests that die.
//!
//! Skipped, with the reason, where user-mode Linux is not installed.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use server9p::{
    profile::Profile,
    stack::{
        Cache, CommandSpec, Ended, Series, StackError, VolumeOptions, World, process,
        server::Server,
        uml::{UmlClient, kernels},
        volume::VolumeWorld,
        workdir,
    },
};
use support::{below, hold, kill, wait_gone, wait_until};

/// Set in the process that holds a guest for another test to kill.
const HOLD: &str = "SERVER9P_TEST_HOLDS_A_GUEST";

/// A guest of this series, or the reason why this machine has none.
fn guest(series: Series) -> Option<VolumeWorld> {
    process::use_program(env!("CARGO_BIN_EXE_server9p"));
    let kernel = match kernels::find(series) {
        Ok(kernel) => kernel,
        Err(err) => {
            eprintln!("skipped: {err}");
            return None;
        }
    };
    let options = VolumeOptions {
        series,
        ..VolumeOptions::new(Profile::Golem)
    };
    Some(VolumeWorld::new(&options, Server::Own, Box::new(UmlClient { kernel })).unwrap())
}

fn sh(world: &impl World, script: &str) -> CommandSpec {
    CommandSpec::new(["/bin/sh", "-c", script], world.path())
}

fn output(world: &impl World, script: &str) -> String {
    let done = world.run(&sh(world, script)).unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(
        done.ended,
        Ended::Code(0),
        "{script}: {text}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    text.trim().to_owned()
}

/// What the VM runtime's guests are like, and what its volumes are.
fn is_as_the_runtime(series: Series) {
    let Some(world) = guest(series) else { return };
    assert!(world.mounted().kernel.starts_with(series.name()));
    assert!(output(&world, "uname -r").starts_with(series.name()));
    assert_eq!(output(&world, "id -u; ls -A"), "0");
    assert_eq!(output(&world, "stat -c '%U %a' /"), "root 700");
    assert_eq!(
        output(&world, "stat -f -c %s ."),
        output(&world, "stat -c %o .")
    );
    let table = output(&world, "grep ' 9p ' /proc/mounts");
    assert!(
        table.contains("trans=tcp") && table.contains("access=client"),
        "{table}"
    );
    // QEMU refuses to open what it has just made.
    let strict = "echo text > file; mkfifo fifo 2>&1 | grep -o 'No such device or address'";
    assert_eq!(output(&world, strict), "No such device or address");
    assert_eq!(fs::read(world.export().join("file")).unwrap(), b"text\n");
    // What the host wrote is seen at once.
    fs::write(world.export().join("file"), "changed\n").unwrap();
    assert_eq!(output(&world, "cat file"), "changed");
    // Nobody reaches anything until the root is opened.
    let mut as_nobody = sh(&world, "true");
    as_nobody.user = Some((65534, 65534));
    let done = world.run(&as_nobody).unwrap();
    assert_eq!(done.ended, Ended::Code(126), "{done:?}");
    output(&world, "chmod +x /");
    assert_eq!(world.run(&as_nobody).unwrap().ended, Ended::Code(0));
}

#[test]
fn a_guest_of_linux_6_1_is_as_the_runtime_has_it() {
    is_as_the_runtime(Series::Linux6_1);
}

#[test]
fn a_guest_of_linux_5_10_is_as_the_runtime_has_it() {
    is_as_the_runtime(Series::Linux5_10);
}

#[test]
fn large_files_and_many_messages_at_once_come_through() {
    let Some(world) = guest(Series::Linux6_1) else {
        return;
    };
    let script = "for i in 1 2 3 4; do (head -c 8000000 /dev/urandom | tee f$i | sha256sum > s$i; \
                  sha256sum < f$i | cmp - s$i) & done; wait; ls | wc -l; stat -c %s f3";
    assert_eq!(output(&world, script), "8\n8000000");
}

#[test]
fn a_guests_panic_crashes_its_commands_and_the_next_has_a_new_guest() {
    let Some(world) = guest(Series::Linux6_1) else {
        return;
    };
    let panic = sh(
        &world,
        "echo kept > file; echo c > /proc/sysrq-trigger; sleep 1000",
    );
    let done = world.run(&panic).unwrap();
    assert_eq!(done.ended, Ended::Crashed);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("Kernel panic"), "{said}");
    assert_eq!(output(&world, "cat file"), "kept");
}

#[test]
fn a_killed_server_is_named_and_comes_up_anew_with_another_guest() {
    let Some(world) = guest(Series::Linux6_1) else {
        return;
    };
    let world = Arc::new(world);
    let server = world.processes()[0].1;
    let running = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.run(&sh(&*world, "touch up; sleep 1000")))
    };
    wait_until("the command runs", || world.export().join("up").exists());
    kill(server);
    let lost = running.join().unwrap();
    assert!(
        matches!(&lost, Err(StackError::Lost(why)) if why.contains("9P server") && why.contains("SIGKILL")),
        "{lost:?}"
    );
    assert_eq!(output(&*world, "ls"), "up");
}

#[test]
fn a_command_that_hangs_in_a_guest_is_ended_at_its_limit() {
    let Some(world) = guest(Series::Linux6_1) else {
        return;
    };
    let server = rustix::process::Pid::from_raw(world.processes()[0].1 as i32).unwrap();
    rustix::process::kill_process(server, rustix::process::Signal::STOP).unwrap();
    let stuck = sh(&world, "stat file").limit(Duration::from_millis(300));
    assert_eq!(world.run(&stuck).unwrap().ended, Ended::TimedOut);
    assert_eq!(output(&world, "echo again"), "again");
}

/// Not a test by itself: holds a guest until it is killed, for the tests below.
#[test]
fn holds_a_guest_when_told_to() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let Some(world) = guest(Series::Linux6_1) else {
        return;
    };
    println!("guest in {}", world.workdir().display());
    println!(
        "came to {:?}",
        world.run(&sh(&world, "touch up; sleep 1000"))
    );
}

/// Has a user hold a guest, kills one of that one's processes, and sees that all go.
fn nothing_is_left(user: Option<u32>, victim: impl FnOnce(u32) -> u32) {
    let tmp = tempfile::tempdir().unwrap();
    fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let home = tmp.path().join("tmp");
    fs::create_dir(&home).unwrap();
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", "holds_a_guest_when_told_to", "--nocapture"])
        .env(HOLD, "1")
        .env("TMPDIR", &home)
        .stdout(Stdio::piped());
    if let Some(user) = user {
        std::os::unix::fs::chown(&home, Some(user), Some(user)).unwrap();
        command.uid(user).gid(user);
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.find_map(|line| Some(line.ok()?.split_once("guest in ")?.1.to_owned()));
    let Some(directory) = line else {
        // It said why.
        assert!(child.wait().unwrap().success());
        return;
    };
    let up = std::path::Path::new(&directory).join("export/up");
    wait_until("the command runs", || up.exists());
    if let Some(user) = user {
        assert_eq!(fs::metadata(&up).unwrap().uid(), user);
    }
    let others = hold(below(child.id()));
    // A guest is a kernel's process and one for each of its programs, at the least.
    assert!(others.len() > 5, "{others:?}");
    let killed = victim(child.id());
    kill(killed);
    if killed != child.id() {
        // It goes by itself: its only command is lost.
        assert!(child.wait().unwrap().success());
    }
    wait_gone(&others);
    child.wait().unwrap();
    if killed == child.id() && user.is_none() {
        assert_eq!(workdir::remove_leftovers(&home).len(), 1);
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    }
}

#[test]
fn a_killed_orchestrator_leaves_no_guest() {
    nothing_is_left(None, |orchestrator| orchestrator);
}

#[test]
fn a_killed_keeper_leaves_no_guest() {
    nothing_is_left(None, |orchestrator| support::helper(orchestrator, "@uml"));
}

#[test]
fn an_ordinary_users_killed_orchestrator_leaves_no_guest() {
    if nix::unistd::geteuid().is_root() {
        nothing_is_left(Some(65534), |orchestrator| orchestrator);
    }
}

#[test]
fn an_ordinary_users_killed_guard_leaves_no_guest() {
    if nix::unistd::geteuid().is_root() {
        nothing_is_left(Some(65534), |orchestrator| {
            support::helper(orchestrator, "@uml")
        });
    }
}

#[test]
fn an_ordinary_users_killed_keeper_leaves_no_guest() {
    if nix::unistd::geteuid().is_root() {
        nothing_is_left(Some(65534), |orchestrator| {
            let guard = support::helper(orchestrator, "@uml");
            support::helper(guard, "@uml")
        });
    }
}

/// A volume with this cache mode, on Linux 6.1.
fn cached(cache: Cache) -> Option<Result<VolumeWorld, StackError>> {
    process::use_program(env!("CARGO_BIN_EXE_server9p"));
    let kernel = kernels::find(Series::Linux6_1)
        .inspect_err(|err| eprintln!("skipped: {err}"))
        .ok()?;
    let options = VolumeOptions {
        cache,
        ..VolumeOptions::new(Profile::Qemu)
    };
    Some(VolumeWorld::new(
        &options,
        Server::Own,
        Box::new(UmlClient { kernel }),
    ))
}

#[test]
fn a_cache_mode_is_the_mounts() {
    for cache in [Cache::Mmap, Cache::Loose, Cache::Fscache] {
        let Some(world) = cached(cache) else { return };
        let options = world.unwrap().mounted().options;
        assert!(options.split(',').any(|o| o == cache.name()), "{options}");
    }
}

#[test]
fn a_cache_mode_that_the_kernel_has_not_is_said_to_be_missing() {
    let Some(world) = cached(Cache::Readahead) else {
        return;
    };
    let why = world.unwrap_err().to_string();
    assert!(why.contains("has no cache=readahead"), "{why}");
}
