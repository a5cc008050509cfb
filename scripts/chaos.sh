#!/usr/bin/env bash
# Kills (-9) and stops the server, the balancer, keepers, pods' programs and nodes' agents, fills the disk and breaks the
# API's connections at random instants, while three Services are under load, rolled out and scaled, and objects are written
# all the time. Then it compares: what was acknowledged, what runs, and every dropped request with what was killed. Exit code
# 0: nothing is lost or left behind, and every dropped request was inside something that was killed.
#
#   scripts/chaos.sh             # the long form: 6 rounds, about 10 minutes
#   scripts/chaos.sh --short     # one short round; the tests run this form, too
#   scripts/chaos.sh --seed 7    # other chances; the seed decides all acts and their instants, so a round can be repeated
#
# Needs cargo, kubectl and nginx; as root it installs what is missing. Only root gets a disk to fill, a small one that
# nobody else sees. Ctrl-C ends it, and leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

case ${1-} in
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
esac
scripts/install.sh
cargo build --quiet --release --locked -p coracle -p coracle-tests
exec target/release/chaos "$@"
