//! A guest's network: the loopback, and one link to our process.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// Name of the interface that UML's vector driver makes.
const LINK: &str = "vec0";

/// Buffers for a whole message of the largest msize: Linux counts the frames' buffers rather than the bytes in
/// them, so that its usual ones hold two of our large frames, and then every message waits for timers.
const BUFFERS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv4/tcp_rmem", "4096 4194304 16777216"),
    ("/proc/sys/net/ipv4/tcp_wmem", "4096 4194304 16777216"),
];

/// Brings up the loopback.
///
/// # Errors
/// A sentence.
pub fn loopback() -> Result<(), String> {
    let socket = socket()?;
    let failed = |err| format!("interface lo cannot be set up: {err}");
    set_address(&socket, "lo", libc::SIOCSIFADDR, Ipv4Addr::LOCALHOST).map_err(failed)?;
    raise(&socket, "lo").map_err(failed)
}

/// Brings up the loopback, and the link with this address and a /24 around it.
///
/// # Errors
/// A sentence that names the interface.
pub fn up(address: Ipv4Addr) -> Result<(), String> {
    loopback()?;
    let socket = socket()?;
    let failed = |err| format!("interface {LINK} cannot be set up: {err}");
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    set_address(&socket, LINK, libc::SIOCSIFADDR, address).map_err(failed)?;
    set_address(&socket, LINK, libc::SIOCSIFNETMASK, mask).map_err(failed)?;
    raise(&socket, LINK).map_err(failed)?;
    for (sizes, bytes) in BUFFERS {
        fs::write(sizes, bytes).map_err(|err| format!("{sizes} cannot be set: {err}"))?;
    }
    Ok(())
}

fn socket() -> Result<OwnedFd, String> {
    // SAFETY: makes a descriptor that nothing else owns, or fails.
    unsafe {
        match libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) {
            -1 => {
                let err = io::Error::last_os_error();
                Err(format!("the guest's kernel has no network: {err}"))
            }
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: all zeroes is an ifreq without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn set_address(
    socket: &OwnedFd,
    name: &str,
    what: libc::c_ulong,
    address: Ipv4Addr,
) -> io::Result<()> {
    let mut request = request(name);
    let inet = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from(address).to_be(),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: both are 16 bytes, and a sockaddr_in is what an AF_INET sockaddr is read as.
    request.ifr_ifru.ifru_addr =
        unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(inet) };
    control(socket, what, &mut request)
}

fn raise(socket: &OwnedFd, name: &str) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    control(socket, libc::SIOCSIFFLAGS, &mut request)
}

fn control(socket: &OwnedFd, what: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: these requests read an ifreq, and it lives.
    match unsafe { libc::ioctl(socket.as_raw_fd(), what as _, request) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
