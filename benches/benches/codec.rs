//! How long it takes to take messages apart and to put them together.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rs9p::{Data, FCall, GetAttrMask, MsgType, QId};
use server9p::wire::{self, READ_HEADER, Reply};

fn requests() -> Vec<(&'static str, FCall)> {
    let walk = |names: &[&[u8]]| FCall::TWalk {
        fid: 1,
        newfid: 2,
        wnames: names.iter().map(|name| wire::from_wire(name)).collect(),
    };
    vec![
        ("walk_3", walk(&[b"usr", b"share", b"doc"])),
        ("walk_non_utf8", walk(&[b"caf\xe9"])),
        (
            "getattr",
            FCall::TGetAttr {
                fid: 1,
                req_mask: GetAttrMask::BASIC,
            },
        ),
        (
            "write_4k",
            FCall::TWrite {
                fid: 1,
                offset: 0,
                data: Data(vec![7; 4096]),
            },
        ),
    ]
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, call) in requests() {
        let frame = wire::encode_request(1, call);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| wire::decode_request(&frame))
        });
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let walked = || FCall::RWalk {
        wqids: vec![QId::default(); 3],
    };
    group.bench_function("walk_3", |bencher| {
        bencher.iter_batched(
            walked,
            |call| wire::encode_reply(1, Reply::Call(call)),
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Bytes(4096));
    let read = || Reply::Payload {
        kind: MsgType::RRead,
        frame: vec![7; READ_HEADER + 4096],
    };
    group.bench_function("read_4k", |bencher| {
        bencher.iter_batched(
            read,
            |reply| wire::encode_reply(1, reply),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
