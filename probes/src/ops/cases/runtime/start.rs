//! How a command is started: what is in its environment, what ran before it, and which hosts have names.

use std::{
    env, fs,
    net::ToSocketAddrs as _,
    process::{Command, Stdio},
};

use super::super::prelude::*;
use crate::ops::case::{Remedy, Side};

submit!(
    Case::new(
        "runtime.no_environment",
        "a command finds HOME and PATH in its environment",
        environment
    )
    .source("golemfactory/ya-runtime-vm runtime/src/main.rs run_command: the environment is what the image's ENV says, nothing else")
    .needed_by(&[
        "git, ssh, npm, pip and others that keep files in $HOME",
        "go and cargo, which fail without HOME",
        "programs that start others by name"
    ])
    .needs(&[Need::Runtime])
    .remedies(&[Remedy::by_case(
        "env",
        "start the command with what it needs: /usr/bin/env HOME=/root PATH=/usr/bin:/bin COMMAND"
    )])
);

fn environment(ctx: &mut Ctx) -> CaseOutcome {
    if ctx.remedy().is_none() {
        return ["HOME", "PATH"].iter().try_for_each(|name| {
            let there = env::var_os(name).is_some_and(|value| !value.is_empty());
            ensure(
                "getenv",
                there,
                format_args!("{name} is not in the environment"),
            )
        });
    }
    let told = Command::new("/usr/bin/env")
        .args(["HOME=/root", "PATH=/usr/bin:/bin", "env"])
        .stdin(Stdio::null())
        .output()
        .call("execve", "/usr/bin/env")?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    ["HOME=/root", "PATH=/usr/bin:/bin"]
        .iter()
        .try_for_each(|wanted| {
            let there = told.lines().any(|line| line == *wanted);
            ensure(
                "getenv",
                there,
                format_args!("{wanted} did not reach the command"),
            )
        })
}

/// As the entry points of images do: makes what the program needs, then becomes the program.
const ENTRYPOINT: &str = "echo made by the entry point > prepared";

submit!(
    Case::new(
        "runtime.no_entrypoint",
        "what an image's ENTRYPOINT does has been done when a command runs",
        entrypoint
    )
    .source("golemfactory/ya-runtime-vm runtime/src/main.rs run_command: a command is run as it is, ENTRYPOINT and CMD are not")
    .needed_by(&[
        "images of databases, whose entry point makes the first data",
        "images whose entry point writes the configuration from variables",
        "services that the entry point starts"
    ])
    .needs(&[Need::Runtime])
    .entrypoint(ENTRYPOINT)
    .remedies(&[Remedy::by_case(
        "run-entrypoint",
        "run the image's entry point as the first command"
    )])
);

fn entrypoint(ctx: &mut Ctx) -> CaseOutcome {
    if ctx.remedy().is_some() {
        let ran = Command::new("/bin/sh").args(["-ec", ENTRYPOINT]).status();
        let ran = ran.call("execve", "the entry point")?;
        ensure(
            "execve",
            ran.success(),
            format_args!("the entry point ended with {ran}"),
        )?;
    }
    contents("open", "prepared", b"made by the entry point\n")
}

submit!(
    Case::new(
        "runtime.no_hostnames",
        "the machine's own name has an address",
        hostnames
    )
    .source("golemfactory/ya-runtime-vm runtime/init-container/src/init.c setup_network: /etc/hosts has localhost alone")
    .needed_by(&[
        "sudo (unable to resolve host)",
        "Hadoop, Spark, Erlang, MPI and others that bind to the host's name",
        "sendmail, Java (InetAddress.getLocalHost)"
    ])
    .needs(&[Need::Runtime])
    .remedies(&[Remedy::by_case(
        "etc-hosts",
        "write the names that are needed to /etc/hosts first, as root"
    )])
    .alone()
);

fn hostnames(ctx: &mut Ctx) -> CaseOutcome {
    // A machine without an answering name server shall not hold this up.
    // SAFETY: a case's process has one thread.
    unsafe { env::set_var("RES_OPTIONS", "timeout:1 attempts:1") };
    let address = |name: &str| (name, 0).to_socket_addrs().map(|mut found| found.next());
    let local = address("localhost").ok().flatten();
    ensure("getaddrinfo", local.is_some(), "localhost has no address")?;
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    let hosts = "/etc/hosts";
    let was = fs::read(hosts).call("open", hosts)?;
    let written = ctx.remedy().is_some() && ctx.side == Side::Volume;
    if written {
        let added = [was.as_slice(), format!("\n127.0.0.1\t{name}\n").as_bytes()].concat();
        fs::write(hosts, added).call("write", hosts)?;
    }
    let found = address(&name);
    if written {
        fs::write(hosts, &was).call("write", hosts)?;
    }
    match (found, ctx.side) {
        (Ok(Some(_)), _) => Ok(()),
        (_, Side::Native) => Err(Stop::NotRun(format!(
            "this machine's own name, {name}, has no address here either: write it to {hosts}"
        ))),
        (found, Side::Volume) => {
            let why = found
                .err()
                .map_or("no address".to_owned(), |error| error.to_string());
            ensure(
                "getaddrinfo",
                false,
                format_args!("the host's name {name} has no address ({why})"),
            )
        }
    }
}
