//! Ranges locked by processes: POSIX fcntl locks.

use super::*;

submit!(
    Case::new(
        "lock.posix_exclusive",
        "a POSIX write lock keeps another process out until it is released",
        posix_exclusive
    )
    .source("POSIX fcntl(): F_SETLK")
    .needed_by(&["SQLite", "dpkg and apt", "Berkeley DB", "LMDB", "Samba"])
);

fn posix_exclusive(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_WRLCK")?;
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    set(&fd, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_UNLCK")?;
    other_process("lock", 0, 0, Ok(()))
}

submit!(
    Case::new(
        "lock.posix_ranges",
        "POSIX locks on different ranges of a file do not exclude each other",
        posix_ranges
    )
    .source("POSIX fcntl()")
    .needed_by(&[
        "SQLite (its lock bytes)",
        "Berkeley DB",
        "PostgreSQL tools",
        "Samba"
    ])
);

fn posix_ranges(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 10, 10).call("fcntl", "lock, F_SETLK, 10+10")?;
    other_process("lock", 0, 10, Ok(()))?;
    other_process("lock", 20, 0, Ok(()))?;
    other_process("lock", 19, 1, Err(Errno::EAGAIN))?;
    // SQLite locks bytes behind 1 GiB, wherever the file ends.
    set(&fd, libc::F_WRLCK, 0x4000_0000, 1).call("fcntl", "lock, F_SETLK, 0x40000000+1")?;
    other_process("lock", 0x4000_0000, 1, Err(Errno::EAGAIN))?;
    other_process("lock", 0x4000_0001, 1, Ok(()))
}

submit!(
    Case::new(
        "lock.posix_split",
        "unlocking the middle of a locked range leaves both ends locked",
        posix_split
    )
    .source("POSIX fcntl(): F_UNLCK of a part")
    .needed_by(&["SQLite", "Samba", "Berkeley DB"])
);

fn posix_split(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 30).call("fcntl", "lock, F_SETLK, 0+30")?;
    set(&fd, libc::F_UNLCK, 10, 10).call("fcntl", "lock, F_SETLK, F_UNLCK, 10+10")?;
    other_process("lock", 10, 10, Ok(()))?;
    other_process("lock", 9, 1, Err(Errno::EAGAIN))?;
    other_process("lock", 20, 1, Err(Errno::EAGAIN))
}

submit!(
    Case::new(
        "lock.posix_upgrade",
        "a POSIX read lock becomes a write lock when nobody else reads, is kept when somebody does, and is taken back to one",
        posix_upgrade
    )
    .source("POSIX fcntl(): a lock of another type replaces one's own")
    .needed_by(&["SQLite (SHARED to RESERVED to EXCLUSIVE)", "LMDB", "Samba"])
);

fn posix_upgrade(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    let read_by_another = |want: Result<(), Errno>| {
        fork(move |_| {
            let fd = open("lock", OFlags::RDONLY)?;
            let got = set(&fd, libc::F_RDLCK, 0, 0);
            expect("fcntl", "F_RDLCK by another process", got.map(drop), want)
        })?
        .join()
    };
    set(&fd, libc::F_RDLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_RDLCK")?;
    let mut reader = fork(|peer| {
        let fd = open("lock", OFlags::RDONLY)?;
        set(&fd, libc::F_RDLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_RDLCK by another process")?;
        peer.tell()?;
        peer.hear()
    })?;
    reader.hear()?;
    let refused = set(&fd, libc::F_WRLCK, 0, 0).map(drop);
    expect(
        "fcntl",
        "F_WRLCK while another process reads",
        refused,
        Err(Errno::EAGAIN),
    )?;
    reader.tell()?;
    reader.join()?;
    // What was refused has taken nothing away.
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_WRLCK after F_RDLCK")?;
    read_by_another(Err(Errno::EAGAIN))?;
    set(&fd, libc::F_RDLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_RDLCK after F_WRLCK")?;
    read_by_another(Ok(()))
}

submit!(
    Case::new(
        "lock.posix_shared",
        "POSIX read locks of two processes go together and keep a writer out",
        posix_shared
    )
    .source("POSIX fcntl(): F_RDLCK")
    .needed_by(&["SQLite (readers)", "rpm and dnf", "Samba"])
);

fn posix_shared(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_RDLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_RDLCK")?;
    fork(|_| {
        let fd = open("lock", OFlags::RDONLY)?;
        set(&fd, libc::F_RDLCK, 0, 0)
            .call("fcntl", "lock, F_SETLK, F_RDLCK by another process")
            .map(drop)
    })?
    .join()?;
    other_process("lock", 0, 0, Err(Errno::EAGAIN))
}

submit!(
    Case::new(
        "lock.posix_get",
        "F_GETLK tells who holds the lock that is in the way",
        posix_get
    )
    .source("POSIX fcntl(): F_GETLK; google/gvisor#5113")
    .needed_by(&["rpm and dnf", "SQLite (reserved lock)", "dovecot"])
);

fn posix_get(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 5, 10).call("fcntl", "lock, F_SETLK, 5+10")?;
    let holder = std::process::id() as i32;
    fork(move |_| {
        let fd = open("lock", OFlags::RDWR)?;
        let mut asked = range(libc::F_WRLCK, 0, 0);
        fcntl(&fd, libc::F_GETLK, &mut asked).call("fcntl", "lock, F_GETLK")?;
        expect(
            "fcntl",
            "l_type of F_GETLK",
            i32::from(asked.l_type),
            libc::F_WRLCK,
        )?;
        expect(
            "fcntl",
            "the range of F_GETLK",
            (asked.l_start, asked.l_len),
            (5, 10),
        )?;
        expect("fcntl", "l_pid of F_GETLK", asked.l_pid, holder)?;
        let mut free = range(libc::F_WRLCK, 20, 1);
        fcntl(&fd, libc::F_GETLK, &mut free).call("fcntl", "lock, F_GETLK")?;
        expect(
            "fcntl",
            "l_type of F_GETLK on a free range",
            i32::from(free.l_type),
            libc::F_UNLCK,
        )
    })?
    .join()
}

submit!(
    Case::new(
        "lock.posix_blocking",
        "who waits for a POSIX lock gets it when it is released",
        posix_blocking
    )
    .source("POSIX fcntl(): F_SETLKW")
    .needed_by(&["dpkg (frontend lock)", "Berkeley DB", "nix", "SVN"])
);

fn posix_blocking(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK")?;
    let mut waiter = fork(|parent| {
        let fd = open("lock", OFlags::RDWR)?;
        set(&fd, libc::F_WRLCK, 0, 0).refused("fcntl", "lock, F_SETLK", Errno::EAGAIN)?;
        parent.tell()?;
        fcntl(&fd, libc::F_SETLKW, &mut range(libc::F_WRLCK, 0, 0))
            .call("fcntl", "lock, F_SETLKW")?;
        expect(
            "fcntl",
            "whether the holder had released it",
            exists("released")?,
            true,
        )
    })?;
    waiter.hear()?;
    waiter.wait_until_blocked()?;
    write("released", b"")?;
    set(&fd, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_UNLCK")?;
    waiter.join()
}

submit!(
    Case::new(
        "lock.posix_interrupted",
        "waiting for a POSIX lock ends with EINTR when a signal is handled",
        posix_interrupted
    )
    .source("POSIX fcntl(): EINTR")
    .needed_by(&["programs that lock with alarm() as a time limit (dotlock, mutt, SVN)"])
);

extern "C" fn ignore_it(_: i32) {}

fn posix_interrupted(_: &mut Ctx) -> CaseOutcome {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK")?;
    let mut waiter = fork(|parent| {
        let action = SigAction::new(
            SigHandler::Handler(ignore_it),
            SaFlags::empty(),
            SigSet::empty(),
        );
        // SAFETY: the handler does nothing.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.call("sigaction", "SIGUSR1")?;
        let fd = open("lock", OFlags::RDWR)?;
        parent.tell()?;
        fcntl(&fd, libc::F_SETLKW, &mut range(libc::F_WRLCK, 0, 0)).refused(
            "fcntl",
            "lock, F_SETLKW",
            Errno::EINTR,
        )?;
        parent.tell()
    })?;
    waiter.hear()?;
    waiter.wait_until_blocked()?;
    kill(nix::unistd::Pid::from_raw(waiter.pid()), Signal::SIGUSR1).call("kill", "SIGUSR1")?;
    waiter.hear()?;
    waiter.join()
}

submit!(
    Case::new(
        "lock.posix_close",
        "closing any descriptor of a file drops the process's POSIX locks on it",
        posix_close
    )
    .source("POSIX close(): all locks of the process on the file")
    .needed_by(&["SQLite (which defers closing for this)"])
);

fn posix_close(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK")?;
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    drop(open("lock", OFlags::RDONLY)?);
    other_process("lock", 0, 0, Ok(()))
}

submit!(
    Case::new(
        "lock.posix_death",
        "the POSIX lock of a killed process is free, also for who waits",
        posix_death
    )
    .source("POSIX fcntl(): locks end with the process")
    .needed_by(&["SQLite (crash recovery)", "dpkg", "Berkeley DB"])
);

fn posix_death(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let mut holder = fork(|parent| {
        let fd = open("lock", OFlags::RDWR)?;
        set(&fd, libc::F_WRLCK, 0, 0).call("fcntl", "lock, F_SETLK")?;
        parent.tell()?;
        parent.hear()
    })?;
    holder.hear()?;
    other_process("lock", 0, 0, Err(Errno::EAGAIN))?;
    let mut waiter = fork(|parent| {
        let fd = open("lock", OFlags::RDWR)?;
        parent.tell()?;
        fcntl(&fd, libc::F_SETLKW, &mut range(libc::F_WRLCK, 0, 0))
            .call("fcntl", "lock, F_SETLKW")
            .map(drop)
    })?;
    waiter.hear()?;
    waiter.wait_until_blocked()?;
    holder.kill()?;
    waiter.join()
}

submit!(
    Case::new(
        "lock.posix_deadlock",
        "of two processes that wait for each other one gets EDEADLK",
        posix_deadlock
    )
    .source("POSIX fcntl(): EDEADLK")
    .needed_by(&[
        "Berkeley DB",
        "Samba",
        "database servers that recover from it"
    ])
);

fn posix_deadlock(_: &mut Ctx) -> CaseOutcome {
    let fd = create("lock", b"")?;
    set(&fd, libc::F_WRLCK, 0, 1).call("fcntl", "lock, F_SETLK, 0+1")?;
    let mut other = fork(|parent| {
        let fd = open("lock", OFlags::RDWR)?;
        set(&fd, libc::F_WRLCK, 1, 1).call("fcntl", "lock, F_SETLK, 1+1")?;
        parent.tell()?;
        match fcntl(&fd, libc::F_SETLKW, &mut range(libc::F_WRLCK, 0, 1)) {
            Err(Errno::EDEADLK) => parent.tell(),
            locked => locked.call("fcntl", "lock, F_SETLKW, 0+1").map(drop),
        }
    })?;
    other.hear()?;
    other.wait_until_blocked()?;
    match fcntl(&fd, libc::F_SETLKW, &mut range(libc::F_WRLCK, 1, 1)) {
        Err(Errno::EDEADLK) => {
            set(&fd, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_UNLCK")?;
        }
        // Where a request sleeps on its way already, the other may be the one that closes the circle.
        Ok(_) => other.hear()?,
        Err(errno) => {
            return Err(errno).call("fcntl", "lock, F_SETLKW, 1+1, which the other waits behind");
        }
    }
    other.join()
}

submit!(
    Case::new(
        "lock.posix_needs_mode",
        "a write lock needs a descriptor opened for writing: EBADF",
        posix_needs_mode
    )
    .source("POSIX fcntl(): EBADF")
    .needed_by(&["programs that lock read-only databases"])
);

fn posix_needs_mode(_: &mut Ctx) -> CaseOutcome {
    write("lock", b"")?;
    let fd = open("lock", OFlags::RDONLY)?;
    set(&fd, libc::F_WRLCK, 0, 0).refused(
        "fcntl",
        "lock, O_RDONLY, F_SETLK, F_WRLCK",
        Errno::EBADF,
    )?;
    set(&fd, libc::F_RDLCK, 0, 0)
        .call("fcntl", "lock, O_RDONLY, F_SETLK, F_RDLCK")
        .map(drop)
}

submit!(
    Case::new(
        "lock.exclusion",
        "4 processes that add to a counter under a lock lose no addition",
        exclusion
    )
    .source("POSIX fcntl(): F_SETLKW; what locks are for")
    .needed_by(&["SQLite", "job queues by lock file", "package managers"])
);

fn exclusion(_: &mut Ctx) -> CaseOutcome {
    write("count", &0u32.to_le_bytes())?;
    write("lock", b"")?;
    let adders = (0..4)
        .map(|_| {
            fork(|_| {
                let lock = open("lock", OFlags::RDWR)?;
                for _ in 0..25 {
                    fcntl(&lock, libc::F_SETLKW, &mut range(libc::F_WRLCK, 0, 0))
                        .call("fcntl", "lock, F_SETLKW")?;
                    let fd = open("count", OFlags::RDWR)?;
                    let mut bytes = [0; 4];
                    bytes.copy_from_slice(&read_at(&fd, "count", 0, 4)?);
                    let sum = u32::from_le_bytes(bytes) + 1;
                    write_at(&fd, "count", 0, &sum.to_le_bytes())?;
                    set(&lock, libc::F_UNLCK, 0, 0).call("fcntl", "lock, F_SETLK, F_UNLCK")?;
                }
                Ok(())
            })
        })
        .collect::<CaseOutcome<Vec<_>>>()?;
    for adder in adders {
        adder.join()?;
    }
    contents("fcntl", "count", &100u32.to_le_bytes())
}
