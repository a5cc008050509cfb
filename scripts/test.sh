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

# "unit" or "end-to-end". Everything is built for either: for a part of the packages, dependencies would have other features,
# and be built once more.
run_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        local which='package(coracle-tests)'
        [ "$1" = end-to-end ] || which="not $which"
        cargo nextest run --workspace --locked --filterset "$which"
    else
        local which=(--package coracle-tests)
        [ "$1" = end-to-end ] || which=(--workspace --exclude coracle-tests)
        # One at a time: the end-to-end tests judge how load is answered.
        cargo test "${which[@]}" --locked -- --test-threads=1
    fi
}

say "format"
cargo fmt --all --check

say "clippy"
cargo clippy --workspace --all-targets --locked -- -D warnings

say "build"
cargo build --workspace --all-targets --locked

if cargo deny --version >/dev/null 2>&1; then
    say "dependencies: licences, bans, sources"
    cargo deny check licenses bans sources
else
    say "dependencies are not checked: cargo-deny is not installed"
fi

# Advisories are fetched, unless ADVISORY_DB names a folder that has them. Where they cannot be, that is no fault of ours.
look_into_advisories() {
    if ! cargo audit --version >/dev/null 2>&1; then
        say "advisories are not looked into: cargo-audit is not installed"
    elif [ -n "${ADVISORY_DB-}" ]; then
        say "dependencies: advisories in $ADVISORY_DB"
        cargo audit --db "$ADVISORY_DB" --no-fetch
    else
        local said status=0
        said=$(timeout 60 cargo audit 2>&1) || status=$?
        if [ $status -eq 124 ] || grep -q "couldn't fetch" <<<"$said"; then
            say "advisories are not looked into: they cannot be fetched; ADVISORY_DB=FOLDER names a checkout of them"
        else
            say "dependencies: advisories"
            printf '%s\n' "$said"
            return $status
        fi
    fi
}
look_into_advisories

say "unit tests"
run_tests unit

if [ "${1-}" = --quick ]; then
    say "the end-to-end tests are left out"
    exit 0
fi
scripts/install.sh
say "end-to-end tests"
run_tests end-to-end
say "all passed"
