#!/usr/bin/env bash
# The balancer's datapath against haproxy (tcp mode, 2 threads), nginx stream and no balancer at all.
#
#   scripts/bench-balancer.sh            # 7 rounds, about 6 minutes
#   scripts/bench-balancer.sh --short    # 3 rounds of half the length, under 2 minutes; coarse
#   scripts/bench-balancer.sh --tail     # the p99 alone, which varies most: 41 short rounds, about 10 minutes
#
# Every round measures each of them once, in turn, and a result is compared with haproxy's of the same round only; the
# table has the median of these ratios and, in brackets, the least and the greatest. CPU is the balancer's own (user and
# system, from /proc/PID/stat), and the figure to trust: requests a second depend on what else the machine does.
# Needs haproxy, nginx with its stream module, wrk and cargo; as root it installs what is missing. Changes no setting of
# the machine and leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

rounds=7 seconds=2 tail=
case ${1:-} in
    --short) rounds=3 seconds=1 ;;
    --tail) rounds=41 seconds=1 tail=yes ;;
    '') ;;
    *) sed -n 's/^# \{0,1\}//; 2,5p' "$0"; exit 2 ;;
esac

readonly host=127.66.0.1
readonly targets=(direct haproxy nginx opaque detect http)
declare -A port=([direct]=8001 [haproxy]=8002 [nginx]=8003 [opaque]=8004 [detect]=8005 [http]=8006)
declare -A pid=()
modules=/usr/lib/nginx/modules
tool=target/release/examples/bench_datapath
ulimit -n "$(ulimit -Hn)"

say() { printf '%s\n' "$*" >&2; }

install_packages() {
    local missing=()
    command -v haproxy >/dev/null || missing+=(haproxy)
    command -v wrk >/dev/null || missing+=(wrk)
    command -v nginx >/dev/null || missing+=(nginx-light)
    [ -e $modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        say "please install: ${missing[*]} (as root, this script does it with apt-get)"
        exit 1
    fi
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# What the three servers are told. nginx's settings are those of a server that is asked for speed.
write_configurations() {
    local user=''
    [ "$(id -u)" -ne 0 ] || user='user root;'
    head -c 1048576 /dev/zero >"$work/1m"
    cat >"$work/backend.conf" <<END
$user worker_processes 1; daemon off; pid $work/backend.pid; error_log $work/backend.log crit; worker_rlimit_nofile $(ulimit -n);
events { worker_connections $(($(ulimit -n) - 100)); multi_accept on; }
http {
    access_log off; sendfile on; tcp_nodelay on; keepalive_timeout 600s; keepalive_requests 1000000000;
    open_file_cache max=10 inactive=1h; open_file_cache_valid 1h;
    client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
    server { listen $host:${port[direct]} backlog=4096; root $work; location = / { default_type text/plain; return 200 "It works."; } }
}
END
    cat >"$work/nginx.conf" <<END
load_module $modules/ngx_stream_module.so;
$user worker_processes 2; daemon off; pid $work/nginx.pid; error_log $work/nginx.log crit; worker_rlimit_nofile $(ulimit -n);
events { worker_connections $(($(ulimit -n) - 100)); }
stream { server { listen $host:${port[nginx]} backlog=4096; proxy_pass $host:${port[direct]}; tcp_nodelay on; proxy_timeout 600s; } }
END
    cat >"$work/haproxy.cfg" <<END
global
    nbthread 2
    maxconn $((($(ulimit -n) - 200) / 2))
defaults
    mode tcp
    timeout connect 5s
    timeout client 600s
    timeout server 600s
listen bench
    bind $host:${port[haproxy]} backlog 4096
    server backend $host:${port[direct]}
END
}

# Starts NAME: a command in the background, until its port answers. It has no share in the pipe that, when this script
# ends in whatever way, tells the example to end.
start() {
    local name=$1 tries=100
    shift
    "$@" <"$work/hold" >"$work/$name.out" 2>&1 9>&- &
    pid[$name]=$!
    until (exec 8<>"/dev/tcp/$host/${port[$name]}") 2>/dev/null; do
        tries=$((tries - 1))
        if [ $tries -eq 0 ] || ! kill -0 "${pid[$name]}" 2>/dev/null; then
            say "$name does not start:"
            cat "$work/$name.out" >&2
            exit 1
        fi
        sleep 0.05
    done
}

start_all() {
    start direct nginx -p "$work" -e "$work/early.log" -c "$work/backend.conf"
    start haproxy haproxy -db -f "$work/haproxy.cfg"
    start nginx nginx -p "$work" -e "$work/early.log" -c "$work/nginx.conf"
    local protocol
    for protocol in opaque detect http; do
        start $protocol $tool serve $protocol "$host:${port[$protocol]}" "$host:${port[direct]}"
    done
}

finish() {
    local name
    for name in "${!pid[@]}"; do
        kill "${pid[$name]}" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
}

# NAME's process and its children, as nginx has them.
processes() { printf '%s\n' "${pid[$1]}"; cat "/proc/${pid[$1]}/task/${pid[$1]}/children"; }

# CPU time that NAME has used, in clock ticks.
ticks() {
    local process total=0 fields
    for process in $(processes "$1"); do
        fields=$(cat "/proc/$process/stat")
        # Fields are counted from behind the name, which may contain blanks.
        read -r -a fields <<<"${fields##*) }"
        total=$((total + fields[11] + fields[12]))
    done
    echo $total
}

# Private memory of NAME, in kB.
memory() {
    local process
    for process in $(processes "$1"); do
        cat "/proc/$process/smaps_rollup"
    done | awk '/^Private_Dirty/ { sum += $2 } END { print sum }'
}

note() { printf '%s\t%s\t%s\t%s\n' "$@" >>"$work/results"; }

# One measurement with wrk: SHAPE, NAME, ROUND, and wrk's arguments.
measure() {
    local shape=$1 name=$2 round=$3 before after requests
    shift 3
    before=$(ticks "$name")
    wrk -d "${seconds}s" "${@:2}" "http://$host:${port[$name]}/$1" >"$work/wrk.out"
    after=$(ticks "$name")
    requests=$(awk '$2 == "requests" { print $1 }' "$work/wrk.out")
    if grep -E 'Socket errors|Non-2xx' "$work/wrk.out" >&2; then
        say "  in $shape, $name, round $round"
    fi
    note "$shape/rate" "$name" "$round" "$(awk '/^Requests\/sec/ { print $2 }' "$work/wrk.out")"
    if [ "$name" != direct ]; then
        # Microseconds a request.
        note "$shape/cpu" "$name" "$round" \
            "$(awk -v t=$((after - before)) -v n="$requests" -v hz="$(getconf CLK_TCK)" 'BEGIN { print t / hz * 1e6 / n }')"
    fi
}

# SHAPE, and a command that takes SHAPE, a name and a round: all rounds of it, each beginning with another name.
interleave() {
    local shape=$1 round offset
    shift
    say "$shape ..."
    for ((round = 0; round < rounds; round++)); do
        for ((offset = 0; offset < ${#targets[@]}; offset++)); do
            "$1" "$shape" "${targets[$(((round + offset) % ${#targets[@]}))]}" "$round" "${@:2}"
        done
    done
}

# The 99th percentile of NAME at a fixed rate.
tail_latency() {
    local quantiles
    quantiles=$($tool rate "$host:${port[$2]}" "$4" $((seconds * 2)))
    note "$1/p99" "$2" "$3" "${quantiles#* }"
}

# Memory and CPU of NAME with connections that are idle after one request each.
idle() {
    local name=$1 count=$2 before client used
    before=$(memory "$name")
    coproc CLIENT { exec $tool idle "$host:${port[$name]}" "$count"; }
    client=$CLIENT_PID
    read -r -t 60 -u "${CLIENT[0]}" _
    used=$(ticks "$name")
    sleep 1
    note idle/cpu "$name" 0 $(($(ticks "$name") - used))
    note idle/bytes "$name" 0 $((($(memory "$name") - before) * 1024 / count))
    kill "$client"
    wait "$client" 2>/dev/null || true
}

# How busy others keep the machine, in percent.
busy() {
    local idle before
    read -r _ _ _ _ before _ </proc/stat
    sleep 1
    read -r _ _ _ _ idle _ </proc/stat
    echo $((100 - (idle - before) * 100 / $(getconf CLK_TCK) / $(nproc)))
}

report() {
    awk -F '\t' -v names="${targets[*]}" -v rounds="$rounds" -f scripts/bench-balancer.awk "$work/results"
}

# The last of the measurements, and all results.
fixed_rate() {
    half=$(awk -F '\t' '$1 == "keep-alive/rate" && $2 == "haproxy" { sum += $4; n++ } END { printf "%d", sum / n / 2 }' "$work/results")
    interleave fixed-rate tail_latency "$half"
    echo "Measured $(date -u +%F) on $(nproc) cores, Linux $(uname -r), others busy $load%; fixed rate $half requests/s; $connections idle connections"
    report
}

install_packages
say "building ..."
cargo build --quiet --release -p coracle-balancer --example bench_datapath
work=$(mktemp -d)
trap finish EXIT
trap 'exit 130' INT TERM
mkfifo "$work/hold"
exec 9<>"$work/hold"
write_configurations
start_all
load=$(busy) connections=0
[ "$load" -lt 10 ] || say "note: other programs keep the machine $load% busy; trust nothing but CPU, and that little"

if [ -n "$tail" ]; then
    # Half of haproxy's greatest rate, and nothing else that is not needed.
    for round in 0 1 2; do measure keep-alive haproxy $round '' -t 2 -c 64; done
    fixed_rate
    exit
fi

# Memory first, while no process has any to use again.
connections=$((($(ulimit -n) - 400) / 2))
[ $connections -lt 10000 ] || connections=10000
say "$connections idle connections ..."
for name in "${targets[@]:1}"; do
    idle "$name" $connections
done
interleave keep-alive measure '' -t 2 -c 64
interleave close measure '' -t 2 -c 64 -H 'Connection: close'
interleave large measure 1m -t 2 -c 16
fixed_rate
