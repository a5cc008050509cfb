#!/usr/bin/env bash
# All checks and tests, on a machine that may have nothing but a Rust toolchain.
#
#   scripts/test.sh          # everything
#   scripts/test.sh --quick  # without the end-to-end tests
#
# Installs what is missing and can be installed: see install.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

run_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --no-tests=pass "$@"
    else
        # One at a time: the end-to-end tests judge how load is answered.
        cargo test "$@" -- --test-threads=1
    fi
}

say "format"
cargo fmt --all --check

say "clippy"
cargo clippy --workspace --all-targets --locked -- -D warnings

say "build"
cargo build --workspace --locked

if cargo deny --version >/dev/null 2>&1; then
    say "dependencies: licences, bans, sources"
    cargo deny check licenses bans sources
else
    say "dependencies are not checked: cargo-deny is not installed"
fi

say "unit tests"
run_tests --workspace --exclude coracle-tests --locked

if [ "${1-}" = --quick ]; then
    say "the end-to-end tests are left out"
    exit 0
fi
scripts/install.sh
say "end-to-end tests"
run_tests --package coracle-tests --locked
say "all passed"
