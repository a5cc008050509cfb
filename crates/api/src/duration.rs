//! Durations as kubectl prints them, `5m30s`, `3d5h`.
//!
//! Flows in: seconds. Flows out: text. Upstream's `duration.HumanDuration`.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;
/// The start of the year 1: a time that nobody set.
const GO_ZERO: i64 = -62_135_596_800;

/// A duration of `seconds` with two or three significant digits. Clocks may differ: down to -2 s counts as zero.
#[must_use]
pub fn human(seconds: i64) -> String {
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds, MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds, HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds, DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds, YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// How long before `now` (Unix seconds) something happened; `<unknown>` if it is not known when.
#[must_use]
pub fn since(time: Option<jiff::Timestamp>, now: i64) -> String {
    let known = time.filter(|time| time.as_second() > GO_ZERO);
    known.map_or_else(|| "<unknown>".to_owned(), |time| human(now - time.as_second()))
}

/// Two units; the smaller one is left out when it is zero.
fn two(seconds: i64, large: i64, large_name: &str, small: i64, small_name: &str) -> String {
    match seconds % large / small {
        0 => format!("{}{large_name}", seconds / large),
        rest => format!("{}{large_name}{rest}{small_name}", seconds / large),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_kubectl_does() {
        let table = [
            (-3, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (90, "90s"),
            (119, "119s"),
            (120, "2m"),
            (330, "5m30s"),
            (600, "10m"),
            (2700, "45m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (108_000, "30h"),
            (277_200, "3d5h"),
            (2_592_000, "30d"),
            (2 * YEAR + 30 * DAY, "2y30d"),
            (9 * YEAR, "9y"),
        ];
        for (seconds, text) in table {
            assert_eq!(human(seconds), text, "{seconds} s");
        }
    }

    #[test]
    fn tells_unknown_from_zero() {
        assert_eq!(since(None, 5), "<unknown>");
        assert_eq!(since("0001-01-01T00:00:00Z".parse().ok(), 5), "<unknown>");
        assert_eq!(since(jiff::Timestamp::from_second(5).ok(), 5), "0s");
    }
}
