#!/usr/bin/env bash
# Measures the API: start-up, memory, creates, gets, lists of 10,000 pods, 1,000 watchers, rollouts of 100 and 500 fake pods.
#
#   scripts/bench-api.sh              # 3 rounds
#   scripts/bench-api.sh --rounds 5
#   scripts/bench-api.sh --short      # once, and little of everything: to see that it works
#
# Upstream is measured beside it, in the same rounds, where these say where its programs are: ETCD, KUBE_APISERVER,
# KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER, KWOK. Ctrl-C ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1-} in
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
esac
cargo build --quiet --release --locked -p coracle -p coracle-tests --bin coracle --bin bench-api
exec target/release/bench-api "$@"
