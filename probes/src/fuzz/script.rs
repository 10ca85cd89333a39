//! A sequence as a program of Python's standard library, which shows the same without probe9p.

use std::fmt::Write as _;

use super::op::{Op, Whence};

/// The program: run it in an empty directory; it prints what each operation returns, and the state at the end.
pub fn python(ops: &[Op]) -> String {
    let mut text = String::from(HEAD);
    for (number, op) in ops.iter().enumerate() {
        let letter = char::from(b'A' + (number % 26) as u8);
        let _ = writeln!(
            text,
            "step({:?}, lambda: {})",
            op.to_string(),
            call(op, letter)
        );
    }
    text.push_str("state()\n");
    text
}

const HEAD: &str = "import errno, os
os.umask(0o22); os.mkdir('a'); os.mkdir('b'); open('a/x', 'wb').write(b'hello'); h = {}
def put(i, fd): h[i] = fd; return 'opened'
def reopen(i, *args):
    if i in h: os.close(h.pop(i))
    return put(i, os.open(*args))
def shown(s): return '%o links %d size %d modified %d' % (s.st_mode, s.st_nlink, s.st_size, s.st_mtime)
def step(name, call):
    try: print(name, '=', call())
    except KeyError: print(name, '= the handle is closed')
    except OSError as e: print(name, '=', errno.errorcode[e.errno])
def state():
    for i in sorted(h): step('handle %d' % i, lambda: shown(os.fstat(h[i])))
    for top, dirs, files in sorted(os.walk('.')):
        for name in sorted(dirs + files):
            path = os.path.join(top, name); step(path, lambda: shown(os.lstat(path)))
            if os.path.isfile(path): step(path, lambda: open(path, 'rb').read())
";

fn call(op: &Op, letter: char) -> String {
    let flags = |flags: super::op::Flags| format!("{:#o} | os.O_NONBLOCK", flags.0);
    let data = |count: u32| format!("b'{letter}' * {count}");
    match op {
        Op::Mkdir(path, mode) => format!("os.mkdir('{path}', 0o{mode})"),
        Op::Rmdir(path) => format!("os.rmdir('{path}')"),
        Op::Unlink(path) => format!("os.unlink('{path}')"),
        Op::Rename(old, new) => format!("os.rename('{old}', '{new}')"),
        Op::Link(old, new) => format!("os.link('{old}', '{new}', follow_symlinks=False)"),
        Op::Symlink(target, path) => {
            let up = if path.text().contains('/') { "../" } else { "" };
            format!("os.symlink('{up}{target}', '{path}')")
        }
        Op::Readlink(path) => format!("os.readlink('{path}')"),
        Op::Open(handle, path, how, mode) => {
            format!("reopen({handle}, '{path}', {}, 0o{mode})", flags(*how))
        }
        Op::Openat(handle, dir, name, how, mode) => format!(
            "put({handle}, os.open('{name}', {}, 0o{mode}, dir_fd=h[{dir}]))",
            flags(*how)
        ),
        Op::Close(handle) => format!("os.close(h.pop({handle}))"),
        Op::Read(handle, count) => format!("os.read(h[{handle}], {count})"),
        Op::Pread(handle, count, offset) => format!("os.pread(h[{handle}], {count}, {offset})"),
        Op::Write(handle, count) => format!("os.write(h[{handle}], {})", data(*count)),
        Op::Pwrite(handle, count, offset) => {
            format!("os.pwrite(h[{handle}], {}, {offset})", data(*count))
        }
        Op::Seek(handle, offset, whence) => {
            let whence = match whence {
                Whence::Set => "SET",
                Whence::Cur => "CUR",
                Whence::End => "END",
            };
            format!("os.lseek(h[{handle}], {offset}, os.SEEK_{whence})")
        }
        Op::List(handle) => format!("sorted(os.listdir(h[{handle}]))"),
        Op::Ftruncate(handle, size) => format!("os.ftruncate(h[{handle}], {size})"),
        Op::Truncate(path, size) => format!("os.truncate('{path}', {size})"),
        Op::Fchmod(handle, mode) => format!("os.fchmod(h[{handle}], 0o{mode})"),
        Op::Chmod(path, mode) => format!("os.chmod('{path}', 0o{mode})"),
        Op::Stat(path) => format!("shown(os.stat('{path}'))"),
        Op::Lstat(path) => format!("shown(os.lstat('{path}'))"),
        Op::Fstat(handle) => format!("shown(os.fstat(h[{handle}]))"),
        Op::Access(path, mode) => format!("os.access('{path}', {mode})"),
        Op::Utimens(path, seconds) => format!("os.utime('{path}', ({seconds}, {seconds}))"),
        Op::Futimens(handle, seconds) => format!("os.utime(h[{handle}], ({seconds}, {seconds}))"),
        Op::Fsync(handle) => format!("os.fsync(h[{handle}])"),
        Op::Setxattr(path, name, size) => {
            format!("os.setxattr('{path}', '{name}', {})", data(*size))
        }
        Op::Getxattr(path, name) => format!("os.getxattr('{path}', '{name}')"),
        Op::Removexattr(path, name) => format!("os.removexattr('{path}', '{name}')"),
        Op::Fsetxattr(handle, name, size) => {
            format!("os.setxattr(h[{handle}], '{name}', {})", data(*size))
        }
        Op::Copy(from, to, count) => {
            format!("os.copy_file_range(h[{from}], h[{to}], {count})")
        }
        Op::Unlinkat(dir, name) => format!("os.unlink('{name}', dir_fd=h[{dir}])"),
        Op::Linkfd(handle, path) => {
            format!("os.link('/proc/self/fd/%d' % h[{handle}], '{path}', follow_symlinks=True)")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{super::op::from_text, *};

    #[test]
    fn the_program_does_what_the_sequence_does() {
        let ops = from_text(
            "open 0 a/x rdwr 0; write 0 3; rename a/x b/y; unlink a/x; lstat b/y; close 1",
        )
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ran = Command::new("python3")
            .args(["-c", &python(&ops)])
            .current_dir(dir.path())
            .output();
        let Ok(ran) = ran else {
            println!("skipped: the_program_does_what_the_sequence_does: python3 is not installed");
            return;
        };
        let said = String::from_utf8_lossy(&ran.stdout);
        for line in [
            "open 0 a/x rdwr 0 = opened",
            "write 0 3 = 3",
            "unlink a/x = ENOENT",
            "close 1 = the handle is closed",
            "./b/y = b'BBBlo'",
        ] {
            assert!(
                said.contains(line),
                "{line} is not in {said}{}",
                String::from_utf8_lossy(&ran.stderr)
            );
        }
    }
}
