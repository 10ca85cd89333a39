//! The machine that QEMU emulates, as its command line.

use std::{
    ffi::OsString,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

use super::initramfs::LIBRARIES;
use crate::stack::guest::virtio::{AGENT_PORT, HOST_TAG, SERVER_PORT, VOLUME_TAG};

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator, which every machine has.
    Tcg,
}

impl Accelerator {
    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "TCG",
        }
    }

    fn options(self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg,thread=multi",
        }
    }

    /// The guest's processor. What the translator has by itself is of 2003, and pyarrow (x86-64-v2), DuckDB (v3) and others are
    /// built for newer ones. Five levels of page tables, which are nobody's need here, would cost each fault one more.
    fn processor(self) -> &'static str {
        match self {
            Accelerator::Kvm => "host",
            Accelerator::Tcg => "max,la57=off",
        }
    }
}

/// What a machine is made of. QEMU inherits the descriptors.
#[derive(Debug)]
pub struct Machine<'a> {
    /// What runs it.
    pub accelerator: Accelerator,
    /// The guest's memory, in MiB.
    pub memory: u32,
    /// The kernel.
    pub kernel: BorrowedFd<'a>,
    /// The first root.
    pub initramfs: BorrowedFd<'a>,
    /// A stream socket: the agent's link.
    pub agent: BorrowedFd<'a>,
    /// Where the volume is served.
    pub volume: Volume<'a>,
    /// Where QEMU's own server writes what it is asked.
    pub trace: Option<BorrowedFd<'a>>,
}

/// Who serves the volume.
#[derive(Debug)]
pub enum Volume<'a> {
    /// QEMU's own server, with this directory.
    Qemu {
        /// The export.
        export: &'a Path,
        /// Whether it answers every change with EROFS.
        read_only: bool,
    },
    /// Another, at the other end of this stream socket.
    Other(BorrowedFd<'a>),
    /// Nobody: it is on a block device with this file.
    Disk(BorrowedFd<'a>),
    /// Nobody: it needs nothing of the machine's.
    None,
}

impl Machine<'_> {
    /// QEMU's arguments.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut list = Arguments::default();
        list.flags(&["-nodefaults", "-no-user-config", "-no-reboot"]);
        list.add("-display", "none");
        list.add("-machine", "pc");
        list.add("-accel", self.accelerator.options());
        list.add("-cpu", self.accelerator.processor());
        // A second processor would spend more of the host's than it gives: under TCG both spin.
        list.add("-smp", "1");
        list.add("-m", self.memory.to_string());
        list.add("-kernel", descriptor(self.kernel));
        list.add("-initrd", descriptor(self.initramfs));
        list.add("-append", command_line());
        list.add("-chardev", "stdio,id=console,signal=off");
        list.add("-serial", "chardev:console");
        list.add("-device", "virtio-serial-pci");
        list.port("agent", self.agent, AGENT_PORT);
        let root = local(HOST_TAG, Path::new("/"), HOST_TAG);
        list.add("-virtfs", with(root, ",readonly=on,multidevs=remap"));
        match &self.volume {
            Volume::Qemu { export, read_only } => {
                // Nothing but this: it is how the VM runtime has it.
                let options = local("mnt0", export, VOLUME_TAG);
                let more = if *read_only { ",readonly=on" } else { "" };
                list.add("-virtfs", with(options, more));
            }
            Volume::Other(socket) => list.port("server", *socket, SERVER_PORT),
            Volume::Disk(file) => {
                let file = descriptor(*file);
                list.add(
                    "-drive",
                    format!("file={file},format=raw,media=disk,id=vol-0,if=none"),
                );
                list.add("-device", "virtio-blk-pci,drive=vol-0,serial=vol-0");
            }
            Volume::None => {}
        }
        if let Some(trace) = self.trace {
            list.add("-msg", "timestamp=on");
            list.add("-trace", format!("v9fs_*,file={}", descriptor(trace)));
        }
        list.0
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flags(&mut self, flags: &[&str]) {
        self.0.extend(flags.iter().map(OsString::from));
    }

    fn add(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }

    fn port(&mut self, id: &str, socket: BorrowedFd, name: &str) {
        let fd = socket.as_raw_fd();
        self.add("-chardev", format!("socket,id={id},fd={fd}"));
        self.add(
            "-device",
            format!("virtserialport,chardev={id},name={name}"),
        );
    }
}

/// What the kernel is told; what it does not know itself is its first process's environment and arguments. The
/// check of the timer, which must tick within some time of its own, fails now and then on a busy host.
fn command_line() -> String {
    format!(
        "console=ttyS0 quiet panic=-1 mitigations=off audit=0 no_timer_check cryptomgr.notests \
         random.trust_cpu=on LD_LIBRARY_PATH={LIBRARIES} -- @guest-virtio {{}}"
    )
}

/// A file that QEMU opens by the descriptor that it inherits, whoever may reach its path.
fn descriptor(file: BorrowedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// `-virtfs` for a directory, with the security model of the VM runtime. A comma in the path is doubled.
fn local(id: &str, path: &Path, tag: &str) -> OsString {
    let mut option = OsString::from(format!("local,id={id},path="));
    let path = path.as_os_str().as_encoded_bytes();
    let doubled: Vec<u8> = path
        .iter()
        .flat_map(|&byte| std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 }))
        .collect();
    option.push(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&doubled));
    with(option, &format!(",security_model=none,mount_tag={tag}"))
}

fn with(mut option: OsString, more: &str) -> OsString {
    option.push(more);
    option
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use super::*;

    #[test]
    fn the_reference_is_served_as_the_runtime_has_it() {
        let null = File::open("/dev/null").unwrap();
        let fd = null.as_fd();
        let machine = Machine {
            accelerator: Accelerator::Tcg,
            memory: 768,
            kernel: fd,
            initramfs: fd,
            agent: fd,
            volume: Volume::Qemu {
                export: Path::new("/a,b"),
                read_only: false,
            },
            trace: None,
        };
        let arguments = machine.arguments();
        let wanted = "local,id=mnt0,path=/a,,b,security_model=none,mount_tag=mnt0";
        assert!(arguments.contains(&wanted.into()), "{arguments:?}");
    }
}
