//! Whichever process of a volume is killed, nothing is left of the volume, and whoever waits is told.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::{Mode, SFlag, mknod},
};
use server9p::{
    profile::Profile,
    stack::{
        CommandSpec, Ended, StackError, VolumeOptions, World, fuse_world::FuseClient, process,
        server::Server, volume::VolumeWorld, workdir,
    },
};
use support::{
    below, helper, hold, kill, mark, marked, mounts_under, servers, wait_gone, wait_until,
};

/// Set in the process that holds a volume for another test to kill: the number to sleep for.
const HOLD: &str = "SERVER9P_TEST_HOLDS_A_VOLUME";

/// A volume, or the reason why this machine has none.
fn volume() -> Option<VolumeWorld> {
    process::use_program(env!("CARGO_BIN_EXE_server9p"));
    match VolumeWorld::new(
        &VolumeOptions::new(Profile::Golem),
        Server::Own,
        Box::new(FuseClient),
    ) {
        Ok(world) => Some(world),
        Err(StackError::Unavailable(why)) if why.contains("/dev/fuse") => {
            eprintln!("skipped: {why}");
            None
        }
        Err(err) => panic!("{err}"),
    }
}

fn sh(world: &(impl World + ?Sized), script: &str) -> CommandSpec {
    CommandSpec::new(["sh", "-c", script], world.path())
}

/// Kills what `victim` chooses while a command sleeps on the volume; gives what the command came to.
fn killed_under_a_command(
    mark: &str,
    victim: impl FnOnce(u32, u32) -> u32,
) -> Option<(String, VolumeWorld)> {
    let world = Arc::new(volume()?);
    let running = {
        let (world, command) = (Arc::clone(&world), format!("sleep {mark} & sleep {mark}"));
        thread::spawn(move || world.run(&sh(&*world, &command)))
    };
    wait_until("both sleep", || marked(mark).len() >= 2);
    let [server, agent] = world.processes()[..] else {
        panic!("{:?}", world.processes())
    };
    let (server, agent) = (server.1, agent.1);
    let others = hold(below(agent).into_iter().chain([server, agent]));
    kill(victim(server, agent));
    let lost = running.join().unwrap();
    let Err(StackError::Lost(why)) = lost else {
        panic!("the command came to {lost:?}");
    };
    wait_gone(&others);
    let world = Arc::into_inner(world).expect("nobody else has it");
    Some((why, world))
}

fn comes_up_anew(world: VolumeWorld) {
    let done = world
        .run(&sh(&world, "echo again > file; cat file"))
        .unwrap();
    assert_eq!(done.stdout, b"again\n", "{:?}", done);
    let directory = world.workdir().to_owned();
    assert_eq!(mounts_under(&directory), Vec::<String>::new());
    drop(world);
    assert!(!directory.exists());
}

#[test]
fn a_killed_server_is_named_and_replaced() {
    if let Some((why, world)) = killed_under_a_command(&mark(1), |server, _| server) {
        assert!(
            why.contains("9P server") && why.contains("SIGKILL"),
            "{why}"
        );
        comes_up_anew(world);
    }
}

#[test]
fn a_killed_agent_is_named_and_replaced() {
    if let Some((why, world)) = killed_under_a_command(&mark(2), |_, agent| agent) {
        assert!(why.contains("agent") && why.contains("SIGKILL"), "{why}");
        comes_up_anew(world);
    }
}

#[test]
fn a_killed_first_process_of_the_namespace_is_noticed_and_replaced() {
    let first = |_, agent| helper(agent, "@agent");
    if let Some((why, world)) = killed_under_a_command(&mark(3), first) {
        assert!(why.contains("agent"), "{why}");
        comes_up_anew(world);
    }
}

#[test]
fn a_killed_fuse_daemon_is_named_and_replaced() {
    let daemon = |_, agent| helper(agent, "@fuse");
    if let Some((why, world)) = killed_under_a_command(&mark(4), daemon) {
        assert!(
            why.contains("FUSE daemon") && why.contains("SIGKILL"),
            "{why}"
        );
        comes_up_anew(world);
    }
}

#[test]
fn two_clients_have_one_server_process_and_both_come_up_anew_when_it_dies() {
    let Some(world) = volume() else { return };
    for round in ["first", "second"] {
        let twin = world.twin().unwrap();
        assert_ne!(twin.path(), world.path());
        let wrote = format!("echo {round} > shared");
        assert_eq!(twin.run(&sh(&*twin, &wrote)).unwrap().ended, Ended::Code(0));
        let read = world.run(&sh(&world, "cat shared")).unwrap();
        assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), round);
        let [server] = servers(world.export())[..] else {
            panic!("server processes: {:?}", servers(world.export()));
        };
        // The agent is told to end when the loss was seen.
        let held = hold(world.processes().into_iter().map(|(_, pid)| pid));
        kill(server);
        wait_gone(&held);
    }
}

#[test]
fn a_killed_case_is_a_case_that_was_killed() {
    let Some(world) = volume() else { return };
    let world = Arc::new(world);
    let mark = mark(5);
    let running = {
        let (world, command) = (Arc::clone(&world), format!("exec sleep {mark}"));
        thread::spawn(move || world.run(&sh(&*world, &command)))
    };
    wait_until("it sleeps", || marked(&mark).len() == 1);
    kill(marked(&mark)[0]);
    let done = running.join().unwrap().unwrap();
    assert_eq!(done.ended, Ended::Signal(libc::SIGKILL));
    comes_up_anew(Arc::into_inner(world).unwrap());
}

/// Not a test by itself: holds a volume until it is killed, for the tests below.
#[test]
fn holds_a_volume_when_told_to() {
    let Some(mark) = std::env::var_os(HOLD) else {
        return;
    };
    let mark = mark.into_string().unwrap();
    let Some(world) = volume() else { return };
    println!("volume in {}", world.workdir().display());
    let script = format!("id -u; touch file; sleep {mark} & sleep {mark}");
    println!("came to {:?}", world.run(&sh(&world, &script)));
}

/// Starts this test program again to hold a volume under `tmp`; gives its process and the volume's directory.
fn orchestrator(
    tmp: &Path,
    mark: &str,
    prepare: impl Fn() -> std::io::Result<()> + Send + Sync + 'static,
) -> Option<(std::process::Child, PathBuf)> {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", "holds_a_volume_when_told_to", "--nocapture"])
        .env(HOLD, mark)
        .env("TMPDIR", tmp)
        .stdout(Stdio::piped());
    // SAFETY: system calls only.
    unsafe { command.pre_exec(prepare) };
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.find_map(|line| {
        let line = line.unwrap();
        // On the same line as the harness's own words.
        Some(line.split_once("volume in ")?.1.to_owned())
    });
    let Some(directory) = line else {
        child.wait().unwrap();
        return None;
    };
    wait_until("both sleep", || marked(mark).len() >= 2);
    Some((child, directory.into()))
}

fn nothing_is_left_of(mut child: std::process::Child, directory: &Path, tmp: &Path) {
    let others = hold(below(child.id()));
    let names = |name: &str| {
        let has = |(pid, _): &&(u32, _)| support::command_line(*pid).iter().any(|a| a == name);
        others.iter().filter(has).count()
    };
    assert!(names("@serve") >= 1 && names("@agent") >= 1 && names("@fuse") >= 1);
    // Seen by nobody outside, not even while it is up.
    assert_eq!(mounts_under(directory), Vec::<String>::new());
    assert_eq!(workdir::remove_leftovers(tmp), Vec::<PathBuf>::new());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_gone(&others);
    assert_eq!(mounts_under(directory), Vec::<String>::new());
    assert!(directory.join("export/file").exists());
    assert_eq!(workdir::remove_leftovers(tmp), vec![directory.to_owned()]);
    assert_eq!(fs::read_dir(tmp).unwrap().count(), 0);
}

#[test]
fn a_killed_orchestrator_leaves_directories_alone_and_the_next_run_removes_them() {
    let tmp = tempfile::tempdir().unwrap();
    if let Some((child, directory)) = orchestrator(tmp.path(), &mark(6), || Ok(())) {
        nothing_is_left_of(child, &directory, tmp.path());
    }
}

const NOBODY: u32 = 65534;

/// A device node that everybody may open, as /dev/fuse on most systems.
fn open_device(at: &Path) -> Option<PathBuf> {
    let device = at.join("fuse");
    let number = nix::sys::stat::makedev(10, 229);
    let mode = Mode::from_bits_truncate(0o666);
    if let Err(err) = mknod(&device, SFlag::S_IFCHR, mode, number) {
        eprintln!("skipped: no device can be made here: {err}");
        return None;
    }
    // Whatever the umask took away.
    fs::set_permissions(&device, fs::Permissions::from_mode(0o666)).unwrap();
    Some(device)
}

/// Puts that device in the place of /dev/fuse, for this process alone.
fn with_device(device: &Path) -> std::io::Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some(device), "/dev/fuse", none, MsFlags::MS_BIND, none)?;
    Ok(())
}

fn become_user(user: u32) -> std::io::Result<()> {
    nix::unistd::setgroups(&[])?;
    nix::unistd::setgid(user.into())?;
    Ok(nix::unistd::setuid(user.into())?)
}

/// A directory where nobody may make others, in one that everybody may enter.
fn homes() -> (tempfile::TempDir, PathBuf) {
    let tmp = tempfile::tempdir().unwrap();
    fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let home = tmp.path().join("tmp");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    (tmp, home)
}

/// An ordinary user has a volume by a user namespace, where /dev/fuse has the mode it has on most systems.
#[test]
fn an_ordinary_user_has_a_volume_too() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: the test above is this one when root does not run it");
        return;
    }
    let (tmp, home) = homes();
    let Some(device) = open_device(tmp.path()) else {
        return;
    };
    let become_nobody = move || {
        with_device(&device)?;
        become_user(NOBODY)
    };
    let Some((child, directory)) = orchestrator(&home, &mark(7), become_nobody) else {
        panic!("an ordinary user got no volume");
    };
    let others = hold(below(child.id()));
    let mut child = child;
    child.kill().unwrap();
    child.wait().unwrap();
    wait_gone(&others);
    assert_eq!(mounts_under(&directory), Vec::<String>::new());
    assert_eq!(
        fs::metadata(directory.join("export/file")).unwrap().uid(),
        NOBODY
    );
}

#[test]
fn a_command_that_hangs_in_the_kernel_is_freed_by_aborting_the_volume() {
    let Some(world) = volume() else { return };
    let server = world.processes()[0].1;
    let server = rustix::process::Pid::from_raw(server as i32).unwrap();
    rustix::process::kill_process(server, rustix::process::Signal::STOP).unwrap();
    let stuck = sh(&world, "stat file").limit(Duration::from_millis(300));
    let done = world.run(&stuck).unwrap();
    assert_eq!(done.ended, Ended::TimedOut);
    comes_up_anew(world);
}

/// Not a test by itself: an ordinary user's volume where no user namespace can be made, for the test below.
#[test]
fn has_a_volume_by_fusermount_when_told_to() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let world = volume().unwrap();
    let directory = world.workdir().to_owned();
    let user = world.run(&sh(&world, "id -u; echo text > file")).unwrap();
    assert_eq!(user.stdout, format!("{NOBODY}\n").as_bytes(), "{user:?}");
    assert_eq!(mounts_under(&directory).len(), 1);
    let (agent, mark) = (world.processes()[1].1, mark(8));
    let world = Arc::new(world);
    let running = {
        let (world, command) = (Arc::clone(&world), format!("sleep {mark} & sleep {mark}"));
        thread::spawn(move || world.run(&sh(&*world, &command)))
    };
    wait_until("both sleep", || marked(&mark).len() >= 2);
    let others = hold(below(agent).into_iter().chain(marked(&mark)));
    kill(agent);
    let lost = running.join().unwrap();
    assert!(matches!(lost, Err(StackError::Lost(_))), "{lost:?}");
    wait_gone(&others);
    let again = world.run(&sh(&*world, "cat file")).unwrap();
    assert_eq!(again.stdout, b"text\n", "{again:?}");
    drop(world);
    assert_eq!(mounts_under(&directory), Vec::<String>::new());
    assert!(!directory.exists());
}

#[test]
fn an_ordinary_user_without_user_namespaces_has_fusermount() {
    if !nix::unistd::geteuid().is_root() || !Path::new("/usr/bin/fusermount3").exists() {
        eprintln!("skipped: this takes root, to become another user, and fusermount3");
        return;
    }
    let (tmp, home) = homes();
    let Some(device) = open_device(tmp.path()) else {
        return;
    };
    let root = tmp.path().join("root");
    fs::create_dir(&root).unwrap();
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", "has_a_volume_by_fusermount_when_told_to"])
        .env(HOLD, "1")
        .env("TMPDIR", &home);
    let prepare = move || {
        with_device(&device)?;
        let none: Option<&str> = None;
        let everything = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some("/"), &root, none, everything, none)?;
        // A process with another root may make no user namespace.
        nix::unistd::chroot(&root)?;
        nix::unistd::chdir("/")?;
        become_user(NOBODY)
    };
    // SAFETY: system calls only.
    unsafe { command.pre_exec(prepare) };
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}
