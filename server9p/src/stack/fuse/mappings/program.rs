//! The program: which mappings it refuses.
//!
//! It is called with `security_mmap_file`'s arguments: the file (null for anonymous memory), the protection asked for and
//! given, and mmap(2)'s flags. It reads the kernel's structures by `bpf_probe_read_kernel` alone, which fails where a pointer
//! leads nowhere: some kernels tell their verifier that there always is a file, so that it takes a comparison with null for
//! idle and leaves it out.

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Instruction {
    code: u8,
    /// The destination in the low half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Where the program looks: offsets in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// `f_mode` in `struct file`.
    pub mode: u32,
    /// `f_inode` in it.
    pub inode: u32,
    /// `i_sb` in `struct inode`.
    pub superblock: u32,
    /// `s_dev` in `struct super_block`.
    pub device: u32,
}

/// Codes of instructions, from `linux/bpf.h`.
const ADD: u8 = 0x07;
const AND: u8 = 0x57;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const LOAD_32: u8 = 0x61;
const LOAD_64: u8 = 0x79;
const JUMP_IF: u8 = 0x15;
const JUMP_IF_NOT: u8 = 0x55;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// `bpf_probe_read_kernel`.
const PROBE_READ: i32 = 113;

/// `FMODE_READ` and `FMODE_WRITE`.
const READS_AND_WRITES: i32 = 3;

/// Registers: 0 is the result, 1 to 3 are arguments of calls, 6 and 7 survive calls, 10 is the end of the stack.
const RESULT: u8 = 0;
const ARGUMENTS: u8 = 6;
const AT: u8 = 7;
const STACK: u8 = 10;

/// Arguments of the hook, in bytes from the first.
const FILE: i16 = 0;
const FLAGS: i16 = 24;

/// Where on the stack lies what was read.
const READ: i16 = -8;

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: from << 4 | to,
        offset,
        immediate,
    }
}

/// Changes or fills a register.
const fn put(code: u8, to: u8, immediate: i32) -> Instruction {
    instruction(code, to, 0, 0, immediate)
}

const fn load(code: u8, to: u8, from: u8, offset: i16) -> Instruction {
    instruction(code, to, from, offset, 0)
}

/// Where a jump leads that lets the mapping pass; it gets its distance when the program is whole.
const PASS: i16 = i16::MAX;

/// Lets the mapping pass unless the register has this value.
const fn pass_unless(register: u8, value: i32) -> Instruction {
    instruction(JUMP_IF_NOT, register, 0, PASS, value)
}

/// Reads so many bytes, `offset` bytes from where [`AT`] leads, to [`READ`].
fn read(offset: u32, length: i32) -> [Instruction; 7] {
    [
        load(MOVE_REGISTER, 3, AT, 0),
        put(ADD, 3, offset as i32),
        load(MOVE_REGISTER, 1, STACK, 0),
        put(ADD, 1, READ.into()),
        put(MOVE, 2, length),
        put(CALL, 0, PROBE_READ),
        pass_unless(RESULT, 0),
    ]
}

/// Refuses, on the mount with this minor device number, shared mappings of files that are open for reading and writing.
/// What is open for writing alone the kernel refuses itself, with another errno.
pub(super) fn refuse_shared(places: &Places, minor: u32) -> Vec<Instruction> {
    let mut program = vec![
        load(MOVE_REGISTER, ARGUMENTS, 1, 0),
        // Whether it is shared, and of a file.
        load(LOAD_64, 1, ARGUMENTS, FLAGS),
        put(AND, 1, libc::MAP_TYPE | libc::MAP_ANONYMOUS),
        instruction(JUMP_IF, 1, 0, 4, libc::MAP_SHARED),
        pass_unless(1, libc::MAP_SHARED_VALIDATE),
        // Then, a flag that FUSE's files do not know, which the kernel says itself.
        load(LOAD_64, 1, ARGUMENTS, FLAGS),
        put(AND, 1, libc::MAP_SYNC),
        pass_unless(1, 0),
        load(LOAD_64, AT, ARGUMENTS, FILE),
    ];
    program.extend(read(places.mode, 4));
    program.extend([
        load(LOAD_32, 1, STACK, READ),
        put(AND, 1, READS_AND_WRITES),
        pass_unless(1, READS_AND_WRITES),
    ]);
    for pointer in [places.inode, places.superblock] {
        program.extend(read(pointer, 8));
        program.push(load(LOAD_64, AT, STACK, READ));
    }
    program.extend(read(places.device, 4));
    program.extend([
        load(LOAD_32, 1, STACK, READ),
        pass_unless(1, minor as i32),
        put(MOVE, RESULT, -libc::EINVAL),
        put(EXIT, 0, 0),
    ]);
    let pass = program.len();
    program.extend([put(MOVE, RESULT, 0), put(EXIT, 0, 0)]);
    for (at, step) in program.iter_mut().enumerate() {
        if step.offset == PASS {
            step.offset = (pass - at - 1) as i16;
        }
    }
    program
}
