//! `probe9p serve` as another client meets it.

mod common;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::Stdio,
};

use common::{Place, entries};
use rustix::process::{Pid, Signal, kill_process};

/// Asks for a protocol version and returns what the server answers.
fn version(mut stream: impl std::io::Read + std::io::Write) -> String {
    let name = b"9P2000.L";
    let mut request = Vec::new();
    request.extend((4 + 1 + 2 + 4 + 2 + name.len() as u32).to_le_bytes());
    request.push(100);
    request.extend(u16::MAX.to_le_bytes());
    request.extend(65536u32.to_le_bytes());
    request.extend((name.len() as u16).to_le_bytes());
    request.extend(name);
    stream.write_all(&request).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut reply = vec![0; u32::from_le_bytes(size) as usize - 4];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply[0], 101, "an Rversion");
    String::from_utf8(reply[9..].to_vec()).unwrap()
}

#[test]
fn it_answers_on_a_unix_socket_and_on_tcp_and_removes_its_socket() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::new();
        let export = place.path().join("export");
        fs::create_dir(&export).unwrap();
        // Whoever it becomes must reach the export.
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let socket = place.path().join("run/socket");
        let unix = format!("unix:{}", socket.display());
        let args = [
            "serve",
            "--listen",
            &unix,
            "--listen",
            "tcp:127.0.0.1:0",
            export.to_str().unwrap(),
        ];
        let mut server = place.command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let places = [(); 2].map(|()| lines.next().unwrap().unwrap());
        assert_eq!(places[0], format!("listening on {unix}"));
        let port: u16 = places[1].rsplit(':').next().unwrap().parse().unwrap();
        assert_eq!(version(UnixStream::connect(&socket).unwrap()), "9P2000.L");
        assert_eq!(
            version(TcpStream::connect(("127.0.0.1", port)).unwrap()),
            "9P2000.L"
        );
        kill_process(Pid::from_child(&server), signal).unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0));
        assert!(!socket.exists(), "{:?}", entries(socket.parent().unwrap()));
    }
}

#[test]
fn what_cannot_be_served_is_named_with_the_remedy() {
    let place = Place::new();
    let dir = place.path().to_str().unwrap();
    let ran = place.run(&["serve", "--listen", "tcp:127.0.0.1:0", "/no/such/dir"]);
    ran.says(3, "/no/such/dir");
    let ran = place.run(&["serve", "--listen", "unix:/no/such/dir/socket", dir]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("/no/such/dir"), "{ran:?}");
    place
        .run(&["serve", "--listen", "carrier-pigeon:1", dir])
        .says(2, "carrier-pigeon");
}
