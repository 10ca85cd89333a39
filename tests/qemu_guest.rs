//! Guests of QEMU with real kernels: the reference, and our own server under the same client.

use std::{path::PathBuf, time::Duration};

use server9p::{
    profile::Profile,
    stack::{
        CommandSpec, Ended, Finished, Series, StackError, VolumeOptions, World, process,
        qemu::{Emulator, QemuClient, kernels},
        server::Server,
        volume::{Source, VolumeWorld},
    },
};

/// A volume, or `None` with the reason on standard error where the machine has not what it needs.
fn volume(server: Source, series: Series) -> Option<VolumeWorld> {
    process::use_program(env!("CARGO_BIN_EXE_probe9p"));
    let emulator = kernels::find(series).and_then(|kernel| Emulator::new(None, kernel));
    let emulator = match emulator {
        Ok(emulator) => emulator,
        Err(why) => {
            eprintln!("skipped: {why}");
            return None;
        }
    };
    let mut options = VolumeOptions::new(Profile::Golem);
    options.series = series;
    Some(
        VolumeWorld::new(
            &options,
            server,
            Box::new(QemuClient::new(emulator).unwrap()),
        )
        .unwrap(),
    )
}

fn shell(volume: &VolumeWorld, script: &str) -> Finished {
    let mut command = CommandSpec::new(["/bin/sh", "-c", script], volume.path());
    command.limit = Duration::from_secs(60);
    volume.run(&command).unwrap()
}

fn said(finished: &Finished) -> String {
    let text = [&finished.stdout[..], &finished.stderr[..]].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[test]
fn the_reference_is_the_runtimes_volume_on_its_own_kernel() {
    let Some(volume) = volume(Source::Qemu, Series::Linux5_10) else {
        return;
    };
    let mounted = volume.mounted();
    assert_eq!(
        (mounted.client.as_str(), mounted.server.as_str()),
        ("qemu", "qemu")
    );
    assert!(mounted.kernel.starts_with("5.10."), "{mounted:?}");
    assert_eq!(mounted.msize, Some(512_000), "{mounted:?}");
    assert!(mounted.options.contains("trans=virtio"), "{mounted:?}");

    let finished = shell(&volume, "echo hi > a && ln a b && stat -c %h b && cat b");
    assert_eq!(finished.ended, Ended::Code(0), "{}", said(&finished));
    assert_eq!(said(&finished), "2\nhi");
    assert!(volume.export().join("b").exists());

    // QEMU before 9.2 refuses special files.
    let finished = shell(&volume, "mkfifo f");
    assert_eq!(finished.ended, Ended::Code(1));
    assert!(said(&finished).contains("No such device or address"));

    // The runtime's root: nobody but root reaches anything.
    let finished = shell(&volume, "stat -c '%U %a' /");
    assert_eq!(said(&finished), "root 700");
    let mut nobody = CommandSpec::new(["/bin/true"], "/");
    nobody.user = Some((65534, 65534));
    assert_eq!(volume.run(&nobody).unwrap().ended, Ended::Code(126));
}

#[test]
fn our_own_server_serves_the_same_client() {
    let server = Source::Server(Server::Own);
    let Some(volume) = volume(server, Series::Linux6_1) else {
        return;
    };
    let mounted = volume.mounted();
    assert_eq!(mounted.server, "server9p");
    assert!(mounted.kernel.starts_with("6.1."), "{mounted:?}");
    assert!(mounted.options.contains("trans=fd"), "{mounted:?}");
    let script = "head -c 3000000 /dev/zero | tr '\\0' x > big && wc -c < big && cksum < big";
    let finished = shell(&volume, script);
    assert_eq!(finished.ended, Ended::Code(0), "{}", said(&finished));
    let big = std::fs::read(volume.export().join("big")).unwrap();
    assert!(big.len() == 3_000_000 && big.iter().all(|&byte| byte == b'x'));
}

#[test]
fn a_guest_that_panics_is_a_crash_and_the_next_one_boots() {
    let Some(volume) = volume(Source::Qemu, Series::Linux6_1) else {
        return;
    };
    let finished = shell(&volume, "sync; echo c > /proc/sysrq-trigger; sleep 60");
    assert_eq!(finished.ended, Ended::Crashed, "{}", said(&finished));
    assert!(said(&finished).contains("panic"), "{}", said(&finished));
    let finished = shell(&volume, "uname -r");
    assert_eq!(finished.ended, Ended::Code(0), "{}", said(&finished));
}

#[test]
fn what_is_missing_is_named() {
    let kernel = kernels::Kernel {
        image: PathBuf::from("/nonexistent/vmlinuz"),
        modules: PathBuf::from("/nonexistent/modules"),
        release: "5.10.0".into(),
    };
    let why = Emulator::new(Some("/nonexistent/qemu".as_ref()), kernel).unwrap_err();
    let StackError::Unavailable(why) = why else {
        panic!("{why}")
    };
    assert!(
        why.contains("/nonexistent/qemu") && why.contains("--qemu"),
        "{why}"
    );
}
