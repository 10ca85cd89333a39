# Everyday commands; `just` lists them.

_default:
    @just --list

# What CI runs
ci:
    .ci/run

# Every test
test:
    cargo test --workspace

# The tests of one crate, by a part of their names
test-one crate filter="":
    cargo test -p {{crate}} {{filter}}

# Formatting and lints
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings

# Benchmarks of codec, session and server
bench:
    cargo bench -p benches

# The main job
sqlite *args:
    cargo run --release -- run --tool sqlite {{args}}

# What this machine lacks, installed
setup *args:
    scripts/setup {{args}}

# The published matrix: every run of results/published/plan.toml that was not made yet, then the site of all
publish *args:
    cargo run --release -- publish {{args}}

# A site of the published runs
site out="target/site":
    cargo run --release -- report results/published/*/report.json --out {{out}}
