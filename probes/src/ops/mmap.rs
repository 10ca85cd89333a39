//! Files mapped into memory: which sharing and protection a volume grants, and whether writes arrive.

use super::prelude::*;

submit!(
    Case::new(
        "mmap.shared_write",
        "a mapping shared for writing is granted, and what is stored in it is read from the file",
        shared_write,
    )
    .source("POSIX mmap(); linux fs/9p/vfs_file.c, generic_file_readonly_mmap with cache=none")
    .needed_by(&[
        "sqlite in WAL mode",
        "LMDB",
        "bbolt, etcd",
        "Kafka",
        "Prometheus",
        "dotnet build"
    ])
    .cache_remedies(&[Cache::Mmap, Cache::Loose])
);

fn shared_write(_: &mut Ctx) -> CaseOutcome {
    let fd = create("data", &[b'.'; 4096])?;
    let map = Map::new(&fd, "data", 4096, READ | WRITE, SHARED)?;
    map.store(100, b"shown");
    map.sync()?;
    same_bytes("mmap", "data", &read("data")?[98..107], b"..shown..")
}
