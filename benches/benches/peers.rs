//! Our server beside its peers: diod, unpfs, and an echo that looks at no file.
//!
//! Every server is a process of its own and serves the same directory over a unix socket; where files are made, removed and
//! listed, one in memory, as the work of a disk's file system would be most of what is measured there. What is measured is the
//! median of five rounds; in each round every server has its turn with every workload, in an order that rotates, so
//! that a machine that grows slow does so for all. Not criterion: that measures one thing after another.
//!
//! `cargo bench -p benches --bench peers` prints the table; `-- walk` only the workloads with that in their names, and
//! `-- --markdown` also the table as the README has it. A server that is not installed is named and left out.

use std::{fs, path::Path, process::ExitCode, thread, time::Duration};

use benches::{
    load::{CROWD, Connection, ENTRIES, FILE, FILE_SIZE, Kind, Load, LoadError, MADE, Workload},
    place,
    server::{self, Server},
};
use rs9p::MsgType;
use server9p::profile::Profile;

/// Rounds; the median of them counts.
const ROUNDS: usize = 5;

/// How long a server has one workload in one round.
const TURN: Duration = Duration::from_millis(400);

/// How long it has it before that, unmeasured.
const WARM_UP: Duration = Duration::from_millis(50);

/// The message size that is asked for, bytes: 512 KiB of data and Twrite's or Rread's header.
const MSIZE: u32 = (512 << 10) + 24;

/// What a server answers to a message that it does not have.
const EOPNOTSUPP: u32 = 95;

/// What the results are held against.
#[derive(Clone, Copy)]
struct Row {
    workload: Workload,
    /// What the better peer is to be exceeded by.
    over_peers: f64,
    /// The share of the echo's rate that is to be reached.
    of_echo: Option<f64>,
}

const fn row(
    name: &'static str,
    kind: Kind,
    depth: u16,
    over_peers: f64,
    of_echo: Option<f64>,
) -> Row {
    Row {
        workload: Workload { name, kind, depth },
        over_peers,
        of_echo,
    }
}

const ROWS: &[Row] = &[
    row(
        "sequential read, 512 KiB, 4 in flight",
        Kind::SequentialRead,
        4,
        1.15,
        None,
    ),
    row(
        "sequential write, 512 KiB, 4 in flight",
        Kind::SequentialWrite,
        4,
        1.2,
        None,
    ),
    row(
        "random 4 KiB read, 1 in flight",
        Kind::RandomRead,
        1,
        1.0,
        Some(0.9),
    ),
    row(
        "random 4 KiB read, 32 in flight",
        Kind::RandomRead,
        32,
        2.0,
        Some(0.6),
    ),
    row(
        "walk + getattr + clunk, 1 in flight",
        Kind::Stat,
        1,
        1.05,
        None,
    ),
    row(
        "walk + getattr + clunk, 16 in flight",
        Kind::Stat,
        16,
        2.0,
        None,
    ),
    row(
        "create + write 4 KiB + clunk + unlink",
        Kind::Create,
        1,
        1.5,
        None,
    ),
    row("readdir of 2,000 entries", Kind::List, 1, 1.1, None),
];

fn main() -> ExitCode {
    if let Some(code) = server::dispatch() {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    // As criterion's benchmarks: run by `cargo test` once and briefly, by `cargo bench` when the filter fits.
    let brief = args.iter().any(|arg| arg == "--test") || !args.iter().any(|arg| arg == "--bench");
    if args.iter().any(|arg| arg == "--list") {
        println!("peers: benchmark");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let whole = filters.is_empty() || filters.iter().any(|filter| "peers".contains(filter));
    let rows: Vec<Row> = ROWS
        .iter()
        .filter(|row| whole || filters.iter().any(|part| row.workload.name.contains(part)))
        .copied()
        .collect();
    if rows.is_empty() {
        return ExitCode::SUCCESS;
    }
    let plan = Plan {
        rows,
        whole,
        markdown: args.iter().any(|arg| arg == "--markdown"),
    };
    match compare(
        &plan,
        if brief { 1 } else { ROUNDS },
        if brief { WARM_UP } else { TURN },
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be measured and printed.
struct Plan {
    rows: Vec<Row>,
    /// Whether all of it is, connections and memory too.
    whole: bool,
    markdown: bool,
}

/// A server and what it has shown: for each row, one load a round.
struct Contestant {
    kind: server::Kind,
    on_disk: Server,
    in_memory: Server,
    loads: Vec<Vec<Load>>,
    /// Has no Tunlinkat.
    no_unlinkat: bool,
}

fn compare(plan: &Plan, rounds: usize, turn: Duration) -> Result<(), LoadError> {
    let rows = &plan.rows;
    let (disk, memory) = (tempfile::tempdir()?, place::in_memory()?);
    let places = [&disk, &memory].map(|place| place.path());
    let dirs = places.map(|place| place.join("export"));
    for dir in &dirs {
        fill(dir)?;
    }
    println!(
        "what all serve: {}; for what makes, removes and lists files {}",
        dirs[0].display(),
        dirs[1].display()
    );
    let mut contestants = Vec::new();
    for kind in [
        server::Kind::Own(Profile::Golem),
        server::Kind::Own(Profile::Posix),
        server::Kind::Diod,
        server::Kind::Unpfs,
        server::Kind::Echo,
        server::Kind::BatchingEcho,
    ] {
        if let Some(why) = kind.missing() {
            println!("skipped: {}: {why}", kind.name());
            continue;
        }
        contestants.push(Contestant {
            kind,
            on_disk: kind.start(&dirs[0], places[0])?,
            in_memory: kind.start(&dirs[1], places[1])?,
            loads: vec![Vec::new(); rows.len()],
            no_unlinkat: false,
        });
    }
    for round in 0..rounds {
        for (index, row) in rows.iter().enumerate() {
            for turn_of in 0..contestants.len() {
                let count = contestants.len();
                let contestant = &mut contestants[(round + turn_of) % count];
                if contestant.kind.is_echo()
                    && row.of_echo.is_none()
                    && !row.workload.kind.moves_data()
                {
                    continue;
                }
                let load = match measure(contestant, &row.workload, turn) {
                    Err(LoadError::Refused { asked, errno })
                        if asked == MsgType::TUnlinkAt as u8 && errno == EOPNOTSUPP =>
                    {
                        remove_made(&dirs[1])?;
                        contestant.no_unlinkat = true;
                        measure(contestant, &row.workload, turn)?
                    }
                    load => load?,
                };
                contestant.loads[index].push(load);
            }
        }
    }
    table(rows, &contestants);
    if plan.markdown {
        markdown(rows, &contestants);
    }
    if !plan.whole {
        return Ok(());
    }
    connections(&contestants[0], turn)?;
    drop(contestants);
    peak_memory(&dirs[0], places[0])
}

fn fill(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let crowd = dir.join(CROWD);
    fs::create_dir_all(&crowd)?;
    for number in 0..ENTRIES {
        fs::write(crowd.join(format!("entry-{number:04}")), "")?;
    }
    let file = dir.join(FILE);
    fs::write(&file, vec![7; FILE_SIZE as usize])?;
    // A server that drops to another user may write there too.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o666))?;
    fs::set_permissions(
        dir.parent().expect("a temporary directory"),
        fs::Permissions::from_mode(0o755),
    )
}

/// Removes what an operation that was refused halfway has left.
fn remove_made(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(MADE) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn measure(
    contestant: &Contestant,
    workload: &Workload,
    turn: Duration,
) -> Result<Load, LoadError> {
    let server = match workload.kind {
        Kind::Create | Kind::CreateRemove | Kind::List => &contestant.in_memory,
        _ => &contestant.on_disk,
    };
    let workload = match workload.kind {
        Kind::Create if contestant.no_unlinkat => Workload {
            kind: Kind::CreateRemove,
            ..*workload
        },
        _ => *workload,
    };
    let mut connection = Connection::attach(server.connect()?, &server.aname, MSIZE)?;
    let mut lanes = workload.lanes(&mut connection)?;
    connection.run(&mut lanes, WARM_UP)?;
    let before = server.processor_time();
    let mut load = connection.run(&mut lanes, turn)?;
    load.processor_time = server.processor_time() - before;
    Ok(load)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Contestant {
    fn rate(&self, row: usize) -> Option<f64> {
        let rates: Vec<_> = self.loads[row].iter().map(Load::rate).collect();
        (!rates.is_empty()).then(|| median(rates))
    }

    fn median_of(&self, row: usize, figure: impl Fn(&Load) -> f64) -> f64 {
        median(self.loads[row].iter().map(figure).collect())
    }
}

/// The rates that a row's own are held against: the better peer's, the echo's, and the batching echo's.
fn rivals(contestants: &[Contestant], row: usize) -> [Option<f64>; 3] {
    let best = |which: fn(server::Kind) -> bool| {
        let rates = contestants
            .iter()
            .filter(|one| which(one.kind))
            .filter_map(|one| one.rate(row));
        rates.max_by(f64::total_cmp)
    };
    [
        best(|kind| matches!(kind, server::Kind::Diod | server::Kind::Unpfs)),
        best(|kind| kind == server::Kind::Echo),
        best(|kind| kind == server::Kind::BatchingEcho),
    ]
}

fn table(rows: &[Row], contestants: &[Contestant]) {
    for (index, row) in rows.iter().enumerate() {
        println!("\n{}", row.workload.name);
        let [peers, echo, batching] = rivals(contestants, index);
        for contestant in contestants {
            let Some(rate) = contestant.rate(index) else {
                continue;
            };
            let mut line = format!(
                "  {:24} {:>18}  p50 {:>6.0} µs  p99 {:>7.0} µs  CPU {:>7.1} µs, generator {:>5.1} µs",
                contestant.kind.name(),
                row.workload.kind.rate(rate),
                contestant.median_of(index, |load| f64::from(load.percentile(0.5))),
                contestant.median_of(index, |load| f64::from(load.percentile(0.99))),
                contestant.median_of(index, Load::cost),
                contestant.median_of(index, Load::own_cost)
            );
            if matches!(contestant.kind, server::Kind::Own(_)) {
                if let Some(peers) = peers {
                    line += &format!(
                        "  {:.2}× the better peer (wanted {:.2}×)",
                        rate / peers,
                        row.over_peers
                    );
                }
                if let (Some(echo), Some(batching), Some(wanted)) = (echo, batching, row.of_echo) {
                    line += &format!(
                        ", {:.2}× the echo (wanted {wanted:.2}×), {:.2}× the batching one",
                        rate / echo,
                        rate / batching
                    );
                }
            }
            if contestant.no_unlinkat && row.workload.kind == Kind::Create {
                line += "  (has no Tunlinkat: Twalk and Tremove, as v9fs does)";
            }
            println!("{line}");
        }
    }
}

/// The same in the README's form: a line a workload, the medians, and the lower of both profiles' ratios.
fn markdown(rows: &[Row], contestants: &[Contestant]) {
    let kinds = contestants.iter().filter(|one| !one.kind.is_echo());
    let names: Vec<String> = kinds.clone().map(|one| one.kind.name()).collect();
    println!("\n| workload | {} | ratio | wanted |", names.join(" | "));
    println!("| --- |{} --- | --- |", " --: |".repeat(names.len()));
    for (index, row) in rows.iter().enumerate() {
        let shown = |one: &Contestant| {
            one.rate(index)
                .map_or("–".into(), |rate| row.workload.kind.rate(rate))
        };
        let cells: Vec<String> = kinds.clone().map(shown).collect();
        let own = contestants
            .iter()
            .filter(|one| matches!(one.kind, server::Kind::Own(_)))
            .filter_map(|one| one.rate(index))
            .min_by(f64::total_cmp);
        let [peers, echo, _] = rivals(contestants, index);
        let ratio = |other: Option<f64>| match (own, other) {
            (Some(own), Some(other)) => format!("{:.2}×", own / other),
            _ => "–".into(),
        };
        let (mut ratios, mut wanted) = (ratio(peers), format!("{:.2}×", row.over_peers));
        if let Some(share) = row.of_echo {
            ratios += &format!(", {} of an echo", ratio(echo));
            wanted += &format!(", {share:.2}× of an echo");
        }
        println!(
            "| {} | {} | {ratios} | {wanted} |",
            row.workload.name,
            cells.join(" | ")
        );
    }
}

/// Eight connections beside one, with requests that follow each other.
fn connections(contestant: &Contestant, turn: Duration) -> Result<(), LoadError> {
    let workload = Workload {
        name: "random 4 KiB read",
        kind: Kind::RandomRead,
        depth: 1,
    };
    let rate = |count: usize| -> Result<f64, LoadError> {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..count)
                .map(|_| scope.spawn(|| measure(contestant, &workload, turn)))
                .collect();
            let loads = threads
                .into_iter()
                .map(|thread| thread.join().expect("a load that does not panic"));
            loads.map(|load| load.map(|load| load.rate())).sum()
        })
    };
    let (one, eight) = (rate(1)?, rate(8)?);
    println!(
        "\nconnections, {}: one {one:.0}/s, eight {eight:.0}/s, {:.2}×, on {} processors",
        workload.name,
        eight / one,
        thread::available_parallelism()?
    );
    Ok(())
}

/// The memory of a server that 64 connections fill with writes of 1 MiB.
fn peak_memory(dir: &Path, scratch: &Path) -> Result<(), LoadError> {
    const CONNECTIONS: usize = 64;
    const WINDOW: u16 = 16;
    let server = server::Kind::Own(Profile::Golem).start(dir, scratch)?;
    let workload = Workload {
        name: "writes of 1 MiB",
        kind: Kind::HugeWrite,
        depth: WINDOW,
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| -> Result<(), LoadError> {
                    let mut connection =
                        Connection::attach(server.connect()?, &server.aname, 1 << 20)?;
                    let mut lanes = workload.lanes(&mut connection)?;
                    connection.run(&mut lanes, TURN).map(drop)
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a load that does not panic"))
    })?;
    let peak = server.peak_memory() >> 10;
    println!(
        "\nmemory of server9p at most, with {CONNECTIONS} connections that each have {WINDOW} {} in flight: {peak} MiB (wanted: below 200 MiB)",
        workload.name
    );
    Ok(())
}
