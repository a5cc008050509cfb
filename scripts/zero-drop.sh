#!/usr/bin/env bash
# The whole test plan against dropped requests: traffic of every shape, on nginx, the stand-in, Node and Python servers and
# such with bad habits, while rolling updates and worse happen. Prints a table (Markdown, too); exit code 0: every promise
# was kept.
#
#   scripts/zero-drop.sh                  # the long form: about 8 million requests, half an hour
#   scripts/zero-drop.sh --short          # a minute and a half; the tests run this form, too
#   scripts/zero-drop.sh --only 3,17      # some rows; --list says what they are
#   scripts/zero-drop.sh --seed 7         # other chances
#
# Needs cargo, kubectl, nginx, wrk, haproxy, node and python3; as root it installs what is missing. Ctrl-C ends it, and
# leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

case ${1-} in
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
esac
scripts/install.sh
cargo build --quiet --release --locked -p coracle -p coracle-tests
exec target/release/zero-drop "$@"
