//! Whether a time that is measured here says anything of a real guest's.
//!
//! Under QEMU's translator every instruction of a guest is translated, its kernel's, too, and in a user-mode Linux every
//! system call and page fault of a program goes through ptrace. A local directory then loses another part of its speed
//! than a volume does, whose time is spent in the server and on the way to it. cp(1)'s two hundred files are an example:
//! ten to thirty times slower than locally with both on the host's kernel, 43 to 46 times under the translator, and less than
//! ten times in a user-mode Linux.

/// Why no speed can be judged by this kernel, if so.
pub fn why() -> Option<&'static str> {
    if is_user_mode(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()) {
        return Some("a user-mode Linux sends each system call through ptrace");
    }
    (hypervisor() == *b"TCGTCGTCGTCG").then_some("this guest's processor is emulated")
}

/// By /proc/cpuinfo, of which only a user-mode Linux says so (`show_cpuinfo` in arch/um/kernel/um_arch.c).
fn is_user_mode(cpuinfo: &str) -> bool {
    let vendor = cpuinfo.lines().find(|line| line.starts_with("vendor_id"));
    vendor.is_some_and(|line| line.ends_with("User Mode Linux"))
}

/// The hypervisor's signature, by CPUID's leaf 0x40000000; zeros where there is none. QEMU's translator gives its own
/// (`cpu_x86_cpuid` in target/i386/cpu.c), and KVM is asked for KVM's.
#[cfg(target_arch = "x86_64")]
fn hypervisor() -> [u8; 12] {
    use std::arch::x86_64::__cpuid;
    const PRESENT: u32 = 1 << 31;
    #[allow(
        unused_unsafe,
        reason = "newer releases of Rust than 1.88 have it safe"
    )]
    let leaf = |number| {
        // SAFETY: every processor of this architecture has the instruction, which changes registers alone.
        unsafe { __cpuid(number) }
    };
    let [basic, leaf] = [leaf(1), leaf(0x4000_0000)];
    if basic.ecx & PRESENT == 0 {
        return [0; 12];
    }
    let mut signature = [0; 12];
    for (part, register) in signature
        .chunks_exact_mut(4)
        .zip([leaf.ebx, leaf.ecx, leaf.edx])
    {
        part.copy_from_slice(&register.to_le_bytes());
    }
    signature
}

/// On other processors none of our guests runs.
#[cfg(not(target_arch = "x86_64"))]
fn hypervisor() -> [u8; 12] {
    [0; 12]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_mode_linux_is_known_by_its_processor_s_vendor() {
        assert!(is_user_mode(
            "processor\t: 0\nvendor_id\t: User Mode Linux\nmodel name\t: UML\nmode\t\t: skas\n"
        ));
        assert!(!is_user_mode("processor\t: 0\nvendor_id\t: AuthenticAMD\n"));
        assert!(!is_user_mode(""));
    }
}
