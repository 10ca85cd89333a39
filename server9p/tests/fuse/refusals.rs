//! What v9fs refuses, and bad input.

use std::{
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    process::{Command, Stdio},
};

use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with};
use server9p::stack::{Series, process::inherit};

use crate::mounted::{Volume, Wish};

fn errno(result: std::io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn what_v9fs_lacks_is_refused_with_its_errno() {
    let Some(volume) = Volume::new() else { return };
    let mnt = volume.mnt();
    let path = mnt.join("f");
    let file = File::create(&path).unwrap();
    let tmpfile = File::options()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(&mnt);
    assert_eq!(errno(tmpfile), Some(libc::EOPNOTSUPP));
    let reserve = fallocate(&file, FallocateFlags::empty(), 0, 4096);
    assert_eq!(reserve, Err(rustix::io::Errno::OPNOTSUPP));
    for flags in [RenameFlags::NOREPLACE, RenameFlags::EXCHANGE] {
        let other = mnt.join("other");
        if flags == RenameFlags::EXCHANGE {
            File::create(&other).unwrap();
        }
        let renamed = renameat_with(CWD, &path, CWD, &other, flags);
        assert_eq!(renamed, Err(rustix::io::Errno::INVAL), "{flags:?}");
    }
    let direct = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path);
    assert!(direct.unwrap().read(&mut [0; 3]).is_ok());
}

#[test]
fn fstat_of_a_removed_file_goes_by_its_name_on_5_10_and_by_its_descriptor_later() {
    for (series, expected) in [
        (Series::Linux5_10, Some(libc::ENOENT)),
        (Series::Linux6_1, None),
    ] {
        let wish = Wish {
            profile: "golem",
            series,
            ..Wish::default()
        };
        let Some(volume) = Volume::mount(&wish) else {
            return;
        };
        let path = volume.mnt().join("f");
        let file = File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(errno(file.metadata()), expected, "Linux {series}");
        assert_eq!(errno(file.set_len(1)), Some(libc::ENOENT), "Linux {series}");
    }
}

#[test]
fn a_mount_that_cannot_be_made_is_refused_in_a_sentence() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(theirs);
    let (ready, told) = rustix::pipe::pipe().unwrap();
    let config = serde_json::json!({
        "socket": ours.as_raw_fd(), "ready": told.as_raw_fd(), "mountpoint": "/nonexistent/mnt",
        "aname": "", "series": "5.10", "cache": "none", "msize": 512_000, "read_only": false,
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_server9p"));
    command
        .args(["@fuse", &config.to_string()])
        .stderr(Stdio::null());
    inherit(&mut command, &[ours.as_fd(), told.as_fd()], false);
    let mut daemon = command.spawn().unwrap();
    drop((ours, told));
    let mut word = String::new();
    File::from(ready).read_to_string(&mut word).unwrap();
    let word: serde_json::Value = serde_json::from_str(&word).unwrap();
    let error = word["error"].as_str().unwrap();
    assert!(error.contains("/nonexistent/mnt") && error.contains("name an existing directory"));
    assert!(!daemon.wait().unwrap().success());
}
