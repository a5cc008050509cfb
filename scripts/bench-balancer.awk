# The table of bench-balancer.sh, from lines `measure TAB name TAB round TAB value`.
# Variables: names (of all that were measured, in order), rounds.

function sort(list, count,    i, j, value) {
    for (i = 2; i <= count; i++) {
        value = list[i]
        for (j = i - 1; j > 0 && list[j] > value; j--) list[j + 1] = list[j]
        list[j + 1] = value
    }
}

function median(list, count) {
    return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
}

# What is required of a name: an upper limit, or a lower one if it begins with ">".
function limit(name, opaque, http) {
    return name == "opaque" ? opaque : name == "http" || name == "detect" ? http : ""
}

function judge(value, bar) {
    if (bar == "") return " "
    if (bar ~ /^>/) return value >= substr(bar, 2) + 0 ? "+" : "-"
    return value <= bar + 0 ? "+" : "-"
}

# One line of ratios to haproxy, the first column haproxy's own value.
function ratios(title, measure, unit, opaque, http,    i, r, n, list, m, line) {
    n = 0
    for (r = 0; r < rounds; r++) if ((measure, "haproxy", r) in value) list[++n] = value[measure, "haproxy", r]
    if (n == 0) return
    sort(list, n)
    line = sprintf("%-26s %6s %6s %12s", title, opaque, http, sprintf("%.4g %s", median(list, n), unit))
    for (i = 1; i <= count; i++) {
        if (name[i] == "haproxy") continue
        n = 0
        for (r = 0; r < rounds; r++)
            if ((measure, name[i], r) in value) list[++n] = value[measure, name[i], r] / value[measure, "haproxy", r]
        if (n == 0) { line = line sprintf(" %19s", ""); continue }
        sort(list, n)
        m = sprintf("%.2f", median(list, n)) + 0
        line = line sprintf(" %19s", sprintf("%.2f (%.2f-%.2f) %s", m, list[1], list[n], judge(m, limit(name[i], opaque, http))))
    }
    print line
}

# One line of single values.
function values(title, measure, unit, opaque, http,    i, v, line) {
    if (!((measure, "haproxy", 0) in value)) return
    line = sprintf("%-26s %6s %6s %12s", title, opaque, http, value[measure, "haproxy", 0] " " unit)
    for (i = 1; i <= count; i++) {
        if (name[i] == "haproxy") continue
        v = value[measure, name[i], 0]
        line = line sprintf(" %19s", v == "" ? "" : v " " unit " " judge(v, limit(name[i], opaque, http)))
    }
    print line
}

{ value[$1, $2, $3] = $4 }

END {
    count = split(names, name, " ")
    line = sprintf("%-26s %6s %6s %12s", "", "bar:", "bar:", "haproxy tcp")
    for (i = 1; i <= count; i++) if (name[i] != "haproxy") line = line sprintf(" %17s  ", name[i])
    print line
    print sprintf("%-26s %6s %6s", "ratio to haproxy", "opaque", "http")
    ratios("keep-alive: CPU/request", "keep-alive/cpu", "us", "0.93", "0.95")
    ratios("keep-alive: requests/s", "keep-alive/rate", "", ">1.0", ">1.0")
    ratios("fixed rate: p99", "fixed-rate/p99", "us", "0.9", "1.0")
    ratios("close: CPU/request", "close/cpu", "us", "0.90", "0.90")
    ratios("close: requests/s", "close/rate", "", "", "")
    ratios("1 MiB: CPU/request", "large/cpu", "us", "0.5", "0.5")
    ratios("1 MiB: requests/s", "large/rate", "", ">1.5", ">1.5")
    values("idle connection: memory", "idle/bytes", "B", "256", "512")
    values("all idle: CPU, ticks/s", "idle/cpu", "", "0", "0")
    print "(least-greatest of " rounds " rounds); + the bar is met, - it is not; detect: HTTP recognised by its first bytes, http: declared"
}
