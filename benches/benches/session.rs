//! A whole session in one process, over a socket pair: what a client could get at best.

use std::fs;

use benches::Peer;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rs9p::{Data, FCall, GetAttrMask};
use server9p::{profile::Profile, wire};

/// The message size that the VM runtime's guests get, bytes.
const MSIZE: u32 = 512_000;

/// Bytes that one message of that size carries in whole blocks.
const CHUNK: u32 = 507_904;

/// Bytes of the file that is read and written.
const FILE: u32 = 64 << 20;

fn data(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    fs::write(dir.path().join("file"), vec![7; FILE as usize]).expect("there is room for the file");
    let mut group = criterion.benchmark_group("session");
    for profile in [Profile::Golem, Profile::Posix] {
        let mut peer = Peer::new(dir.path(), profile, MSIZE);
        peer.call(FCall::TWalk {
            fid: 0,
            newfid: 1,
            wnames: vec!["file".into()],
        });
        peer.call(FCall::TlOpen { fid: 1, flags: 2 });

        group.throughput(Throughput::Bytes(u64::from(CHUNK) * 4));
        group.bench_function(
            format!("{profile}/sequential_read_4_in_flight"),
            |bencher| {
                let mut offset = 0;
                bencher.iter(|| {
                    for tag in 0..4 {
                        let read = FCall::TRead {
                            fid: 1,
                            offset,
                            count: CHUNK,
                        };
                        peer.send(&wire::encode_request(tag, read));
                        offset = (offset + u64::from(CHUNK)) % u64::from(FILE - CHUNK);
                    }
                    (0..4).map(|_| peer.receive().len()).sum::<usize>()
                });
            },
        );

        let write = |tag: u16| {
            let offset = u64::from(tag) * u64::from(CHUNK);
            let data = Data(vec![8; CHUNK as usize]);
            wire::encode_request(
                tag,
                FCall::TWrite {
                    fid: 1,
                    offset,
                    data,
                },
            )
        };
        let frames: Vec<_> = (0..4).map(write).collect();
        group.bench_function(
            format!("{profile}/sequential_write_4_in_flight"),
            |bencher| {
                bencher.iter(|| {
                    frames.iter().for_each(|frame| peer.send(frame));
                    frames.iter().map(|_| peer.receive().len()).sum::<usize>()
                });
            },
        );

        let read = |tag: u16| {
            let offset = u64::from(tag) << 14;
            wire::encode_request(
                tag,
                FCall::TRead {
                    fid: 1,
                    offset,
                    count: 4096,
                },
            )
        };
        for depth in [1u16, 32] {
            let batch: Vec<u8> = (0..depth).flat_map(read).collect();
            group.throughput(Throughput::Elements(u64::from(depth)));
            group.bench_function(format!("{profile}/read_4k_{depth}_in_flight"), |bencher| {
                bencher.iter(|| {
                    peer.send(&batch);
                    (0..depth).map(|_| peer.receive().len()).sum::<usize>()
                });
            });
        }
    }
}

fn names(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    for number in 0..2000 {
        fs::write(dir.path().join(format!("entry-{number}")), "").expect("there is room for it");
    }
    let mut group = criterion.benchmark_group("session");
    for profile in [Profile::Golem, Profile::Posix] {
        let mut peer = Peer::new(dir.path(), profile, MSIZE);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{profile}/walk_getattr_clunk"), |bencher| {
            bencher.iter(|| {
                let wnames = vec!["entry-7".into()];
                peer.call(FCall::TWalk {
                    fid: 0,
                    newfid: 1,
                    wnames,
                });
                peer.call(FCall::TGetAttr {
                    fid: 1,
                    req_mask: GetAttrMask::BASIC,
                });
                peer.call(FCall::TClunk { fid: 1 }).len()
            });
        });
        peer.call(FCall::TWalk {
            fid: 0,
            newfid: 2,
            wnames: vec![],
        });
        peer.call(FCall::TlOpen { fid: 2, flags: 0 });
        group.throughput(Throughput::Elements(2000));
        group.bench_function(format!("{profile}/readdir_2000"), |bencher| {
            let read = || FCall::TReadDir {
                fid: 2,
                offset: 0,
                count: MSIZE - 11,
            };
            bencher.iter(|| peer.call(read()).len());
        });
    }
}

criterion_group!(benches, data, names);
criterion_main!(benches);
