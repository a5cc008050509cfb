#!/usr/bin/env bash
# Lets the informers of the Python client, of @kubernetes/client-node and of kube-rs follow ConfigMaps that are written all
# the time, while the history that they need is compacted away and the server is killed (-9). Then it compares what each was
# told with every write. Exit code 0: none missed a write, was told one twice or one that was not.
#
#   scripts/client-watch.sh                # an hour
#   scripts/client-watch.sh --minutes 5
#   scripts/client-watch.sh --short        # a quarter of a minute in all; the tests run this form, too
#
# Needs cargo, python3 and node; as root it installs what is missing. Ctrl-C ends it, and leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

case ${1-} in
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
esac
scripts/install.sh
cargo build --quiet --release --locked -p coracle -p coracle-tests
exec target/release/client-watch "$@"
