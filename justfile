# The habits of the project. `just` alone lists them.
default:
    @just --list

# Train the book's network on MNIST: a progress bar, then a folder under runs/
train *ARGS:
    cargo train {{ ARGS }}

# All tests
test:
    cargo test --workspace

# Formatting, lints, documentation: what the gate asks for besides tests
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The documentation, in a browser
doc:
    cargo doc --workspace --no-deps --open

# Everything the gate runs
ci:
    .ci/run

# Ours, one JSON line each: every workload on one thread and on two
bench *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release --quiet --package wengert-bench
    for workload in load record hosts irregular small-ops conv linalg; do
        target/release/wengert-bench $workload {{ ARGS }}
    done
    for threads in 1 2; do
        for workload in seed mlp-large cnn hvp gradcost-mlp gradcost-gmm; do
            target/release/wengert-bench $workload --threads $threads {{ ARGS }}
        done
    done

# The tests with plain loops instead of vector registers
test-portable:
    WENGERT_SIMD=portable cargo test --package wengert --package wengert-tests --lib --test all

# The tests without machine code: small programs as functions behind pointers, maps call by call
test-interpreted:
    WENGERT_JIT=off cargo test --package wengert --package wengert-tests --lib --test all

# Ours and NumPy, JAX and PyTorch in turn, as a table (PYTHON names an interpreter that has some of them)
[positional-arguments]
bench-peers *ARGS:
    cargo build --release --quiet --package wengert-bench --package wengert-cli
    "${PYTHON:-python3}" benches/peers/compare.py "$@"

# What the tape crate costs to build: CPU seconds of cold release builds, against those of ndarray alone
build-cost:
    #!/usr/bin/env bash
    set -euo pipefail
    cost() {
        local target
        target=$(mktemp -d)
        TIMEFORMAT="%U %S"
        { time cargo build --release --quiet --target-dir "$target" --package "$@"; } 2>&1 | awk '{ print $1 + $2 }'
        rm -rf "$target"
    }
    whole=$(cost wengert)
    bare=$(cost wengert --no-default-features)
    theirs=$(cost ndarray)
    awk -v a="$whole" -v b="$bare" -v n="$theirs" 'BEGIN {
        printf "wengert %.1f s, without default features %.1f s, ndarray %.1f s: %.2f and %.2f times\n", a, b, n, a / n, b / n
    }'

# Licences, sources and duplicate versions of dependencies (needs cargo-deny)
deny:
    cargo deny check licenses bans sources

# More cases of every law than the gate has time for, from another seed each time
soak CASES="4000":
    WENGERT_CASES={{ CASES }} WENGERT_SEED=$(date +%s) cargo test --release --package wengert-tests -- laws semantics

# Random tapes over all ops for so many seconds, from another seed each time
soak-tapes SECONDS="60":
    WENGERT_SECONDS={{ SECONDS }} cargo test --release --package wengert-tests --test all -- random_tapes --nocapture

# A training killed so many times and taken up again: the model must have the bits of one that ran through
torture N="100":
    WENGERT_KILLS={{ N }} cargo test --release --package wengert-cli --test cli -- killed_at_any_moment

# The tape's tests under the address sanitizer (needs the nightly toolchain)
asan:
    ASAN_OPTIONS=allocator_may_return_null=1 RUSTFLAGS="-Zsanitizer=address" cargo +nightly test --target x86_64-unknown-linux-gnu --target-dir target/asan \
        --package wengert --package wengert-tests --lib --test all -- --skip training --skip million

# Lay Fashion-MNIST beside MNIST, from Debian's package, without root: train with --data datasets/fashion-mnist
fashion-mnist:
    #!/usr/bin/env bash
    set -euo pipefail
    target=$PWD/datasets/fashion-mnist
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb unpacked)
    mkdir -p "$target"
    find "$work/unpacked" -name '*-ubyte*' -exec cp {} "$target" \;
    ls -l "$target"

# The tape of a training step as a picture (needs Graphviz)
graph:
    mkdir -p runs
    cargo run --release --quiet --package wengert-cli -- graph --format dot | dot -Tsvg > runs/tape.svg

# Look at a run's report.html in headless Chromium, wide and narrow, light and dark (needs chromium and chromium-driver, Debian's packages)
look-report RUN PICTURES="runs":
    python3 tests/browser/report.py {{ RUN }}/report.html {{ PICTURES }}

# Draw digits on the page of `wengert serve` in headless Chromium and read what the model takes them for (needs the same)
look-serve MODEL PICTURES="runs":
    cargo build --release --quiet --package wengert-cli
    python3 tests/browser/serve.py target/release/wengert {{ MODEL }} {{ PICTURES }}

# Networks of PyTorch whose weights are imported: the same probabilities (PYTHON names an interpreter that has torch)
torch-weights:
    cargo build --release --quiet --package wengert-cli
    "${PYTHON:-python3}" tests/reference/torch_weights.py runs/torch target/release/wengert

# Train what README's table of accuracies tells of, several seeds each: about an hour and a half (needs `just fashion-mnist`)
accuracies *ARGS:
    cargo build --release --quiet --package wengert-cli
    python3 benches/accuracy.py {{ ARGS }}
