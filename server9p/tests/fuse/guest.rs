//! The same under a kernel that lets root refuse mappings, in a guest, whatever the kernel of this machine lets it do.

use std::{env, time::Duration};

use server9p::{
    profile::Profile,
    stack::{
        CommandSpec, Ended, StackError, VolumeOptions, World, process,
        qemu::{Emulator, QemuClient, kernels},
        server::Server,
        volume::VolumeWorld,
    },
};

/// What `scripts/setup --kernel` brings: it has FUSE, its security modules and the description of its types built in.
const KERNEL: &str = "6.12";

fn guest() -> Result<VolumeWorld, StackError> {
    let kernel = KERNEL.parse().map_err(StackError::Unavailable)?;
    let kernel = kernels::choose(Some(&kernel), Profile::Posix)?;
    let client = QemuClient::new(Emulator::new(None, kernel)?)?;
    let options = VolumeOptions::new(Profile::Posix);
    VolumeWorld::new(&options, Server::Own, Box::new(client))
}

#[test]
fn mappings_are_refused_by_a_kernel_that_lets_root() {
    process::use_program(env!("CARGO_BIN_EXE_server9p"));
    let guest = match guest() {
        Ok(guest) => guest,
        Err(why @ StackError::Unavailable(_)) => {
            eprintln!("skipped: {why}");
            return;
        }
        Err(why) => panic!("{why}"),
    };
    let this = env::current_exe().unwrap();
    // Within its own file system: on the volume nothing can be mounted.
    let mut tests = CommandSpec::new([this.as_os_str()], "/tmp");
    tests
        .argv
        .extend(["mappings::", "--nocapture"].map(Into::into));
    tests.limit = Duration::from_secs(120);
    let done = guest.run(&tests).unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.ended, Ended::Code(0), "{said}");
    assert!(
        said.contains("3 passed") && !said.contains("skipped"),
        "{said}"
    );
}
