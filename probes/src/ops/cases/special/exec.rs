//! Running programs whose file is on the volume.

use std::{fs, process::Command};

use super::super::prelude::*;

/// Copies a real program to the volume, of which the kernel has to map code and data.
fn copy_cat(to: &str) -> CaseOutcome {
    fs::copy("/bin/cat", to).call("copy", format_args!("/bin/cat, {to}"))?;
    chmod(to, 0o755)
}

/// Runs the copied cat on a file, and compares what it prints.
fn cat_works(program: &str) -> CaseOutcome {
    fs::write("text", "printed").call("write", "text")?;
    let done = Command::new(program)
        .arg("text")
        .output()
        .call("execve", program)?;
    expect(
        "execve",
        "what the copied program prints",
        String::from_utf8_lossy(&done.stdout).into_owned(),
        "printed".into(),
    )
}

/// Writes a script that is closed again before it is run.
fn script(path: &str, text: &str) -> CaseOutcome {
    create_mode(path, 0o755, text.as_bytes()).map(drop)
}

fn output(program: &str) -> CaseOutcome<Vec<u8>> {
    let done = Command::new(program).output().call("execve", program)?;
    ensure(
        "execve",
        done.status.success(),
        format_args!("{program} ended with {}", done.status),
    )?;
    Ok(done.stdout)
}

submit!(
    Case::new(
        "special.exec",
        "a program that was copied to the volume runs from there",
        exec
    )
    .source("POSIX execve()")
    .needed_by(&[
        "npm and pip (native modules)",
        "cargo run, go run",
        "uploaded binaries"
    ])
);

fn exec(_: &mut Ctx) -> CaseOutcome {
    copy_cat("./cat")?;
    cat_works("./cat")
}

submit!(
    Case::new(
        "special.shebang",
        "a script with an interpreter line runs",
        shebang
    )
    .source("execve(2): interpreter scripts")
    .needed_by(&["npm (bin scripts)", "Python entry points", "git hooks"])
);

fn shebang(_: &mut Ctx) -> CaseOutcome {
    script("./hook", "#!/bin/sh\necho ran \"$0\"\n")?;
    expect(
        "execve",
        "what the script prints",
        String::from_utf8_lossy(&output("./hook")?).into_owned(),
        "ran ./hook\n".into(),
    )
}

submit!(
    Case::new(
        "special.exec_mode",
        "a file without execute permission does not run, not for root either: EACCES",
        exec_mode
    )
    .source("POSIX execve(): EACCES")
    .needed_by(&["shells", "every launcher that looks along PATH"])
);

fn exec_mode(_: &mut Ctx) -> CaseOutcome {
    write("./script", b"#!/bin/sh\necho ran\n")?;
    Command::new("./script")
        .output()
        .refused("execve", "./script (0644)", Errno::EACCES)?;
    chmod("./script", 0o755)?;
    expect(
        "execve",
        "what the script prints",
        output("./script")?,
        b"ran\n".to_vec(),
    )
}

submit!(
    Case::new(
        "special.exec_format",
        "an executable file that is no program gives ENOEXEC",
        exec_format
    )
    .source("POSIX execve(): ENOEXEC")
    .needed_by(&["shells (which then run it as a script)"])
);

fn exec_format(_: &mut Ctx) -> CaseOutcome {
    script("./text", "echo from a file without an interpreter line\n")?;
    Command::new("./text")
        .output()
        .refused("execve", "./text", Errno::ENOEXEC)
}

submit!(
    Case::new(
        "special.text_busy",
        "a program that is open for writing does not run: ETXTBSY",
        text_busy
    )
    .source("POSIX execve(): ETXTBSY")
    .needed_by(&[
        "go test and cargo (which retry)",
        "installers that replace running programs"
    ])
);

fn text_busy(_: &mut Ctx) -> CaseOutcome {
    copy_cat("./cat")?;
    let writer = open("cat", OFlags::RDWR)?;
    Command::new("./cat")
        .output()
        .refused("execve", "./cat, open for writing", Errno::ETXTBSY)?;
    drop(writer);
    cat_works("./cat")
}

submit!(
    Case::new(
        "special.text_busy_running",
        "a program that runs is not opened for writing: ETXTBSY, and is once it has ended",
        text_busy_running
    )
    .source("POSIX open(): ETXTBSY; open(2)")
    .needed_by(&[
        "cp over a running program",
        "go build -o",
        "package managers that unlink first"
    ])
);

fn text_busy_running(_: &mut Ctx) -> CaseOutcome {
    use std::process::Stdio;
    copy_cat("./program")?;
    let mut running = Command::new("./program")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .call("execve", "./program")?;
    let opened = opened_for_writing();
    // It ends with its input, whatever came of the open.
    drop(running.stdin.take());
    running.wait().call("wait4", "./program")?;
    opened.refused("open", "program, O_WRONLY, while it runs", Errno::ETXTBSY)?;
    opened_for_writing().call("open", "program, O_WRONLY, after it ended")?;
    cat_works("./program")
}

fn opened_for_writing() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open("program", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

submit!(
    Case::new(
        "special.exec_replaced",
        "a running program's file is replaced by rename, and the new one runs",
        exec_replaced
    )
    .source("POSIX rename()")
    .needed_by(&["package managers", "self-updating programs", "rustup"])
);

fn exec_replaced(_: &mut Ctx) -> CaseOutcome {
    use std::{io::Write, process::Stdio};
    copy_cat("./program")?;
    let mut running = Command::new("./program")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .call("execve", "./program")?;
    script("./next", "#!/bin/sh\necho next\n")?;
    rename("next", "program")?;
    expect(
        "rename",
        "what the new program prints",
        output("./program")?,
        b"next\n".to_vec(),
    )?;
    // The old one still has pages to read from its file, which has no name any more.
    if let Some(mut stdin) = running.stdin.take() {
        stdin
            .write_all(b"still running")
            .call("write", "the running program")?;
    }
    let done = running
        .wait_with_output()
        .call("waitpid", "the running program")?;
    expect(
        "rename",
        "what the replaced program prints",
        String::from_utf8_lossy(&done.stdout).into_owned(),
        "still running".into(),
    )
}

submit!(
    Case::new(
        "special.fexecve",
        "a program runs by its open descriptor",
        fexecve
    )
    .source("fexecve(3); execveat(2)")
    .needed_by(&["runc, crun", "systemd", "sudo"])
);

fn fexecve(_: &mut Ctx) -> CaseOutcome {
    script("./hook", "#!/bin/sh\necho ran\n")?;
    let fd = rustix::fs::open("hook", OFlags::RDONLY, Mode::empty()).call("open", "hook")?;
    // The descriptor stays open over exec, because the interpreter reads the script by it.
    let done = Command::new(proc_fd(&fd))
        .output()
        .call("execve", "/proc/self/fd/N of hook")?;
    expect(
        "execve",
        "what the script prints",
        done.stdout,
        b"ran\n".to_vec(),
    )
}

submit!(
    Case::new(
        "special.suid_exec",
        "a set-user-id program runs as its owner, not as who started it",
        suid_exec
    )
    .source("POSIX execve(): set-user-ID")
    .needed_by(&["sudo, su, ping on a volume used as a root filesystem"])
    .needs(&[Need::SecondUser])
);

fn suid_exec(_: &mut Ctx) -> CaseOutcome {
    open_to_all()?;
    fs::copy("/bin/cat", "cat").call("copy", "/bin/cat, cat")?;
    chmod("cat", 0o4755)?;
    create_mode("secret", 0o600, b"for the owner alone")?;
    as_user(THIRD, || {
        rustix::fs::open("secret", OFlags::RDONLY, Mode::empty()).refused(
            "open",
            "secret (0600), by another user",
            Errno::EACCES,
        )?;
        let done = Command::new("./cat")
            .arg("secret")
            .output()
            .call("execve", "./cat (4755)")?;
        expect(
            "execve",
            "what the set-user-id program read",
            String::from_utf8_lossy(&done.stdout).into_owned(),
            "for the owner alone".into(),
        )
    })
}

submit!(
    Case::new(
        "special.shared_library",
        "a shared library on the volume is loaded and used",
        shared_library
    )
    .source("dlopen(3), ld.so(8)")
    .needed_by(&[
        "Python extension modules",
        "Node.js addons",
        "JNI",
        "plug-ins"
    ])
);

fn shared_library(ctx: &mut Ctx) -> CaseOutcome {
    // Whatever C library this process uses, found by its mapping; a static program has none. In a guest it may have
    // been loaded from a root that is gone by now: then the same library of the root that is there.
    let maps = fs::read_to_string("/proc/self/maps").call("read", "/proc/self/maps")?;
    let is_libc = |word: &&str| {
        word.starts_with('/') && (word.contains("/libc.so") || word.contains("/libc-"))
    };
    let Some(mapped) = maps.split_whitespace().find(is_libc) else {
        return Err(Stop::NotRun(
            "needs a dynamically linked probe9p: this one has no C library to load".into(),
        ));
    };
    let usual = [
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib/aarch64-linux-gnu/libc.so.6",
        "/lib64/libc.so.6",
    ];
    let mut places = std::iter::once(mapped).chain(usual);
    let Some(library) = places.find(|path| fs::metadata(path).is_ok()) else {
        return Err(Stop::NotRun(format!(
            "needs the C library, which is neither at {mapped} nor where Linux distributions keep it"
        )));
    };
    fs::copy(library, "libcopy.so").call("copy", format_args!("{library}, libcopy.so"))?;
    let path = std::ffi::CString::new(
        ctx.dir
            .join("libcopy.so")
            .into_os_string()
            .into_encoded_bytes(),
    )
    .map_err(|_| Stop::NotRun("the directory's name has a NUL".into()))?;
    fork(|_| {
        // SAFETY: the file is a copy of a library that is loaded already; loading it runs its constructors,
        // in a process that ends right after.
        let handle = unsafe { libc::dlmopen(libc::LM_ID_NEWLM, path.as_ptr(), libc::RTLD_NOW) };
        ensure(
            "dlopen",
            !handle.is_null(),
            "the copied library was not loaded",
        )?;
        // SAFETY: the handle is a library's, and the name is a C string.
        let symbol = unsafe { libc::dlsym(handle, c"strlen".as_ptr()) };
        ensure(
            "dlsym",
            !symbol.is_null(),
            "strlen was not found in the copied library",
        )
    })?
    .join()
}
