//! Names are bytes.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
};

use crate::mounted::Volume;

#[test]
fn any_name_makes_the_round_trip() {
    let Some(volume) = Volume::new() else { return };
    let longest = [0xa9; 255];
    let names: [&[u8]; 7] = [
        b"caf\xe9",
        b"\xff\xfe\x80",
        b"a\nb",
        "h\u{e9}\u{20ac}".as_bytes(),
        b" lead",
        b"-rf",
        &longest,
    ];
    for name in names {
        let path = volume.mnt().join(OsStr::from_bytes(name));
        fs::write(&path, name).unwrap();
        let listed: Vec<_> = fs::read_dir(volume.mnt())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(listed, [OsStr::from_bytes(name)]);
        assert!(volume.export().join(OsStr::from_bytes(name)).exists());
        let link = volume.mnt().join("link");
        symlink(OsStr::from_bytes(name), &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap().as_os_str().as_bytes(), name);
        assert_eq!(fs::read(&link).unwrap(), name);
        fs::remove_file(&link).unwrap();
        let moved = volume.mnt().join("moved");
        fs::rename(&path, &moved).unwrap();
        fs::rename(&moved, &path).unwrap();
        fs::remove_file(&path).unwrap();
    }
    let too_long = volume.mnt().join(OsStr::from_bytes(&[b'a'; 256]));
    let error = fs::write(too_long, "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
}

#[test]
fn a_directory_of_many_entries_is_listed_whole_while_it_is_emptied() {
    let Some(volume) = Volume::new() else { return };
    for index in 0..5000 {
        fs::write(volume.export().join(format!("entry-{index:04}")), "").unwrap();
    }
    assert_eq!(fs::read_dir(volume.mnt()).unwrap().count(), 5000);
    let mut removed = 0;
    for entry in fs::read_dir(volume.mnt()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
        removed += 1;
    }
    assert_eq!(removed, 5000);
    assert_eq!(fs::read_dir(volume.mnt()).unwrap().count(), 0);
}
